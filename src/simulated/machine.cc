#include "simulated/machine.hpp"

#include <algorithm>
#include <cerrno>
#include <ranges>
#include <utility>

namespace weir::detail::simulated {
namespace {

constexpr std::int32_t no_power = -ENODEV;

// What is not an operation on the disk.
bool is_aside(opcode op) noexcept {
  return op == opcode::nop || op == opcode::poll || op == opcode::timeout ||
         op == opcode::register_memory || op == opcode::forget_memory;
}

simulated_options after_power_failure(const simulated_options& of, const simulated_faults& faults) {
  simulated_options next = of;
  next.seed = mixed(of.seed);
  next.faults = faults;
  next.replay.reset();
  return next;
}

}  // namespace

machine::machine(simulated_options options)
    : options_(std::move(options)), disk_(options_, now_ns_) {}

machine::machine(const machine& other, simulated_options options)
    : options_(std::move(options)), now_ns_(other.now_ns_), disk_(other.disk_, options_, now_ns_) {}

// --- taking --------------------------------------------------------------------------------------

void machine::submit(client& from, operation_queue& staged) {
  while (!staged.empty()) {
    const opcode op = staged.front().args.op;
    if (takes_room(op) && from.taken >= from.queue_depth) return;
    operation& next = staged.pop_front();
    if (op == opcode::cancel) {
      next.set_answer(cancel(from, next.args));
      from.done.push_back(next);
      continue;
    }
    if (takes_room(op)) ++from.taken;
    ++from.in_flight;
    take(from, next);
  }
}

void machine::take(client& from, operation& op) {
  in_flight what{.at_ns = now_ns_, .order = ++ordered_, .number = 0, .op = &op, .from = &from};
  if (!on_) return answer(what, no_power);
  if (op.args.op == opcode::timeout) {
    what.at_ns = std::max(now_ns_, static_cast<std::int64_t>(op.args.offset));
  } else if (!is_aside(op.args.op)) {
    what.number = ++taken_;
    fate& faults = disk_.faults();
    what.at_ns += faults.latency(op.args.op, what.number);
    what.order = faults.random().draw(purpose::order, what.number);
    if (op.args.op != opcode::close && faults.befalls(simulated_fault::stalled, what.number)) {
      disk_.meet({what.number, 0, simulated_fault::stalled});
      what.at_ns += options_.latency.stall_ns;
    }
  }
  schedule(what);
}

void machine::schedule(const in_flight& what) {
  events_.push_back(what);
  std::ranges::push_heap(events_, &is_later);
}

// --- carrying out --------------------------------------------------------------------------------

bool machine::step(deadline until) {
  if (events_.empty() || events_.front().at_ns > until.monotonic_ns) return false;
  std::ranges::pop_heap(events_, &is_later);
  const in_flight next = events_.back();
  events_.pop_back();
  now_ns_ = std::max(now_ns_, next.at_ns);
  const bool is_last = next.number != 0 && ++carried_out_ == fails_after_;
  if (is_last) disk_.power_fails_now();
  const std::int32_t value = disk_.carry_out(next.op->args, next.number, next.from->number);
  if (is_last) {
    answer(next, no_power);  // nobody hears of it any more
    power_off();
  } else {
    answer(next, value);
  }
  return true;
}

bool machine::has_event_now() const noexcept {
  return !events_.empty() && events_.front().at_ns <= now_ns_;
}

void machine::answer(const in_flight& what, std::int32_t value) noexcept {
  client& to = *what.from;
  --to.in_flight;
  if (takes_room(what.op->args.op)) --to.taken;
  what.op->set_answer(value);
  to.done.push_back(*what.op);
}

std::int32_t machine::perform_now(const request& what) {
  return on_ ? disk_.carry_out(what, 0, 0) : no_power;
}

void machine::leave(const client& who) noexcept {
  std::erase_if(events_, [&](const in_flight& each) { return each.from == &who; });
  std::ranges::make_heap(events_, &is_later);
}

// --- cancelling ----------------------------------------------------------------------------------

// What has begun may be beyond recall, as with a real disk.
bool machine::withdraw(std::size_t index) noexcept {
  const in_flight what = events_[index];
  const bool begun = what.number != 0;
  if (begun && disk_.faults().random().below(2, purpose::stop, what.number) == 0) return false;
  events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(index));
  answer(what, -ECANCELED);
  return true;
}

std::int32_t machine::cancel(client& from, const request& what) noexcept {
  std::int32_t outcome = -ENOENT;
  std::ranges::sort(events_, {}, &in_flight::number);  // an order that repeats
  for (std::size_t i = events_.size(); i-- > 0;) {
    operation& op = *events_[i].op;
    if (events_[i].from != &from) continue;
    const bool meant = what.address != nullptr ? &op == what.address : names(what, op);
    if (!meant) continue;
    op.request_cancel();
    outcome = withdraw(i) ? 0 : -EALREADY;
  }
  std::ranges::make_heap(events_, &is_later);
  return what.address != nullptr ? outcome : 0;
}

// --- power ---------------------------------------------------------------------------------------

// Of what was in flight, some had happened.
void machine::finish_in_disorder() {
  disk_.power_fails_now();
  std::ranges::sort_heap(events_, &is_later);
  for (const in_flight& next : std::views::reverse(events_)) {
    if (next.number != 0) {
      if (disk_.faults().befalls(simulated_fault::lost, 0.5, next.number, whole_operation)) {
        disk_.meet({next.number, whole_operation, simulated_fault::lost});
      } else {
        disk_.carry_out(next.op->args, next.number, next.from->number);
      }
    }
    answer(next, no_power);
  }
  events_.clear();
}

void machine::power_off() {
  if (!std::exchange(on_, false)) return;
  finish_in_disorder();
  disk_.lose_power();
}

std::shared_ptr<machine> machine::power_on(const simulated_faults& faults) {
  power_off();
  auto next = std::make_shared<machine>(*this, after_power_failure(options_, faults));
  next->disk_.restart();
  return next;
}

std::shared_ptr<machine> machine::snapshot() const {
  return std::make_shared<machine>(*this, options_);
}

}  // namespace weir::detail::simulated
