#include "weir/measured.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "drivers/operation_table.hpp"
#include "measurements.hpp"
#include "misuse.hpp"
#include "resident_read.hpp"

namespace weir {
namespace detail {
namespace {

bool is_transfer(opcode op) noexcept {
  return op == opcode::read || op == opcode::write || op == opcode::readv || op == opcode::writev ||
         op == opcode::splice || op == opcode::copy_file_range;
}

/// Whether all are of one opcode, and answered 0.
///
/// Following a list takes the time to load one link after the other. So the next link is not waited
/// for, but guessed: operations made together lie evenly apart. The processor goes on from the
/// guess while it loads the link, and starts over only where the two differ.
bool are_alike_and_0(const operation_queue& finished) noexcept {
  const operation* at = &finished.front();
  const opcode op = at->args.op;
  std::int32_t answers = at->answer();
  auto here = reinterpret_cast<std::uintptr_t>(at);
  std::uintptr_t apart = reinterpret_cast<std::uintptr_t>(operation_queue::next(*at)) - here;
  for (std::size_t left = finished.size() - 1; left != 0; --left) {
    const auto next = reinterpret_cast<std::uintptr_t>(operation_queue::next(*at));
    std::uintptr_t guess = here + apart;
    if (guess != next) [[unlikely]] {
      apart = next - here;
      guess = next;
      // Or the compiler would see that the guess is the link either way, and wait for the link.
      __asm__("" : "+r"(guess));
    }
    here = guess;
    at = reinterpret_cast<const operation*>(here);
    if (at->args.op != op) return false;
    answers |= at->answer();
  }
  return answers == 0;
}

/// Completions one after the other, of one opcode, that were handed over at the same time.
struct completed_run {
  opcode op = opcode::nop;
  bool timed = true;
  std::uint64_t since = 0;
  std::uint64_t count = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t moved = 0;

  bool goes_on_with(const completed_run& next) const noexcept {
    return next.op == op && next.timed == timed && next.since == since;
  }
  void add(std::int32_t answer) noexcept {
    ++count;
    if (answer >= 0) moved += static_cast<std::uint32_t>(answer);
    if (answer < 0) ++(answer == -ECANCELED ? cancelled : failed);
  }
};

/// When an operation was handed over need not be noted while everything in flight was handed over
/// at once: then one time is enough for these first ones. What follows while they are in flight is
/// noted in a table, one by one.
class measured_driver final : public driver {
 public:
  measured_driver(std::unique_ptr<driver> inner, std::shared_ptr<measurements> into,
                  measurements::state& state, std::string_view route, unsigned queue_depth)
      : inner_(std::move(inner)),
        counters_(state.take_row(route)),
        at_once_(state.take_row(std::string(route) + " at once", false)),
        clock_(state.gauge.source()),
        noted_(2 * std::size_t{queue_depth}),
        into_(std::move(into)),
        state_(state) {}
  measured_driver(const measured_driver&) = delete;
  measured_driver& operator=(const measured_driver&) = delete;
  ~measured_driver() override {
    inner_.reset();
    state_.give_back(at_once_);
    state_.give_back(counters_);
  }

  void submit(operation_queue& staged) noexcept override {
    const std::uint64_t now = clock_.now();
    if (first_ones_ != 0) return submit_noted(staged, now);
    first_since_ = now;
    submit_unnoted(staged);
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    operation_queue finished;
    inner_->reap(finished, until);
    if (finished.empty()) return;
    const std::uint64_t now = clock_.now();
    if (only_first_ones_ && are_alike_and_0(finished)) {
      count_successes(finished.front().args.op, finished.size(), now);
    } else {
      count_each(finished, now);
    }
    completed.append(std::move(finished));
  }

  at_once try_at_once(operation& op) noexcept override {
    const std::uint64_t since = clock_.now();
    const at_once came = inner_->context_may_read() ? read_resident(op) : inner_->try_at_once(op);
    if (came == at_once::done) count_at_once(op, clock_.now() - since);
    return came;
  }

  void wake() noexcept override { inner_->wake(); }
  std::int64_t now_ns() const noexcept override { return inner_->now_ns(); }
  std::int32_t perform_now(const request& what) noexcept override {
    return inner_->perform_now(what);
  }
  result<std::uint64_t> random_bits() noexcept override { return inner_->random_bits(); }
  int fd() const noexcept override { return inner_->fd(); }

 private:
  void submit_unnoted(operation_queue& staged) noexcept;
  [[gnu::noinline]] void submit_noted(operation_queue& staged, std::uint64_t now) noexcept;
  void count_at_once(const operation& op, std::uint64_t took) noexcept;
  void count_successes(opcode op, std::size_t count, std::uint64_t now) noexcept;
  [[gnu::noinline]] void count_each(const operation_queue& finished, std::uint64_t now) noexcept;
  completed_run begin_run(const operation& first) noexcept;
  void record(const completed_run& run, std::uint64_t now) noexcept;
  std::size_t in_flight() const noexcept { return first_ones_ + noted_.size(); }
  void show_in_flight() noexcept {
    counters_.in_flight.set(in_flight());
    counters_.most_in_flight.raise_to(in_flight());
  }

  // What the simplest turn needs, side by side.
  std::unique_ptr<driver> inner_;
  route_counters& counters_;
  route_counters& at_once_;     // what was done without the inner driver's queue
  std::size_t first_ones_ = 0;  // in flight, and not noted
  std::uint64_t first_since_ = 0;
  const tick_source clock_;
  bool only_first_ones_ = true;  // are in flight, and all of them since then
  bool some_untimed_ = false;    // of those not noted, and nobody knows which

  operation_table<std::uint64_t> noted_;
  // What was in flight when the inner driver last left something staged.
  std::size_t room_ = std::numeric_limits<std::size_t>::max();
  const std::shared_ptr<measurements> into_;
  measurements::state& state_;
};

// --- submission ----------------------------------------------------------------------------------

void measured_driver::submit_unnoted(operation_queue& staged) noexcept {
  const std::size_t before = staged.size();
  inner_->submit(staged);
  first_ones_ += before - staged.size();
  show_in_flight();
}

// Noted before they are submitted, because afterwards they are out of sight. As many at a time as
// there seems to be room for: those that are left staged were noted in vain.
void measured_driver::submit_noted(operation_queue& staged, std::uint64_t now) noexcept {
  constexpr std::size_t least = 8;
  only_first_ones_ = false;
  operation_queue part;
  while (part.empty() && !staged.empty() && !noted_.full()) {
    std::size_t most = std::max(least, room_ - std::min(room_, in_flight()));
    for (; most != 0 && !staged.empty() && !noted_.full(); --most) {
      noted_.insert(staged.front(), now);
      part.push_back(staged.pop_front());
    }
    inner_->submit(part);
  }
  for (const operation* left = part.empty() ? nullptr : &part.front(); left != nullptr;
       left = operation_queue::next(*left)) {
    noted_.take(*left);
  }
  show_in_flight();
  if (!part.empty()) {
    room_ = in_flight();
    part.append(std::move(staged));
    staged = std::move(part);
  } else if (!staged.empty()) {  // the table is full
    const std::size_t before = first_ones_;
    submit_unnoted(staged);
    some_untimed_ = some_untimed_ || first_ones_ != before;
  }
}

// --- completion ----------------------------------------------------------------------------------

void measured_driver::count_successes(opcode op, std::size_t count, std::uint64_t now) noexcept {
  operation_counters& to = counters_.operations[static_cast<unsigned>(op)];
  to.ticks.record(now - std::min(now, first_since_), count);
  first_ones_ -= count;
  counters_.in_flight.set(first_ones_);
}

void measured_driver::count_at_once(const operation& op, std::uint64_t took) noexcept {
  operation_counters& to = at_once_.operations[static_cast<unsigned>(op.args.op)];
  to.ticks.record(took, 1);
  if (op.answer() > 0) to.bytes.add(static_cast<std::uint32_t>(op.answer()));
}

void measured_driver::count_each(const operation_queue& finished, std::uint64_t now) noexcept {
  completed_run run;
  for (const operation* at = &finished.front(); at != nullptr; at = operation_queue::next(*at)) {
    const completed_run next = begin_run(*at);
    if (!run.goes_on_with(next)) {
      record(run, now);
      run = next;
    }
    run.add(at->answer());
  }
  record(run, now);
  if (first_ones_ == 0) some_untimed_ = false;
  only_first_ones_ = noted_.size() == 0 && !some_untimed_;
  show_in_flight();
}

completed_run measured_driver::begin_run(const operation& first) noexcept {
  const std::optional<std::uint64_t> noted = noted_.size() != 0 ? noted_.take(first) : std::nullopt;
  if (!noted) --first_ones_;
  return {
      .op = first.args.op, .timed = noted || !some_untimed_, .since = noted.value_or(first_since_)};
}

void measured_driver::record(const completed_run& run, std::uint64_t now) noexcept {
  if (run.count == 0) return;
  operation_counters& to = counters_.operations[static_cast<unsigned>(run.op)];
  if (run.timed) {
    to.ticks.record(now - std::min(now, run.since), run.count);
  } else {
    to.untimed.add(run.count);
  }
  if (run.failed != 0) to.failed.add(run.failed);
  if (run.cancelled != 0) to.cancelled.add(run.cancelled);
  if (run.moved != 0 && is_transfer(run.op)) to.bytes.add(run.moved);
}

}  // namespace
}  // namespace detail

std::unique_ptr<driver> make_measured(std::unique_ptr<driver> inner,
                                      std::shared_ptr<measurements> into, std::string_view route,
                                      unsigned queue_depth) {
  if (!inner || !into) {
    detail::misuse("make_measured was given no driver, or nothing to count into");
  }
  measurements::state& state = *into->state_;
  return std::make_unique<detail::measured_driver>(std::move(inner), std::move(into), state, route,
                                                   queue_depth);
}

}  // namespace weir
