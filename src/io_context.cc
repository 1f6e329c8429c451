#include "weir/io_context.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "file_state.hpp"
#include "fork_guard.hpp"
#include "misuse.hpp"
#include "resident_read.hpp"

namespace weir {
namespace {

// Stands in `posted_` while the context may be waiting: whoever replaces it wakes the driver.
// An address that no operation can have.
operation* asleep() noexcept { return reinterpret_cast<operation*>(std::uintptr_t{1}); }

// What is read at once in one turn, in bytes, shared out among those whom the turn calls; a read
// costs as much as this many bytes more. Where so many are called that nobody can have a share, the
// queue is as cheap.
constexpr std::uint64_t at_once_in_a_turn = 2 << 20;
constexpr std::uint64_t cost_of_a_call = 2048;

}  // namespace

io_context::io_context(std::unique_ptr<driver> driver) noexcept
    : driver_(std::move(driver)), fork_generation_(detail::fork_generation()), posted_(asleep()) {
  if (!driver_)
    detail::misuse("an io_context was made without a driver; check open_driver's result");
  may_read_ = driver_->context_may_read();
}

std::int64_t io_context::now_ns() const noexcept { return driver_->now_ns(); }

io_context::~io_context() {
  if (fork_generation_ == detail::fork_generation()) shut_down();
}

// Refused to who has had its share, since what else waits for the loop comes first.
inline bool io_context::spend_on(std::uint64_t bytes) noexcept {
  const std::uint64_t cost = bytes + cost_of_a_call;
  if (cost > at_once_left_ || !on_own_thread()) return false;
  at_once_left_ -= cost;
  return true;
}

// --- starting ------------------------------------------------------------------------------------

void io_context::start(operation& op) noexcept {
  op.set_state(operation::in_flight_state);
  op.fork_generation_ = static_cast<std::uint8_t>(fork_generation_);
  op.withdrawal_ = operation::withdrawal::none;
  stager_.load(std::memory_order_relaxed) == this_thread() ? stage(op) : post(op);
}

void io_context::stage(operation& op) noexcept {
  ++outstanding_;
  if (takes_room(op.args.op)) return staged_.push_back(op);
  (op.args.op == opcode::cancel ? cancels_ : watches_).push_back(op);
}

void io_context::post(operation& op) noexcept {
  operation* newest = posted_.load(std::memory_order_relaxed);
  do {
    op.next_ = newest == asleep() ? nullptr : newest;
  } while (!posted_.compare_exchange_weak(newest, &op, std::memory_order_release,
                                          std::memory_order_relaxed));
  if (newest == asleep()) driver_->wake();
}

// Also marks the context as awake, so that further posts cost no system call.
void io_context::take_posted() noexcept {
  operation* newest = posted_.exchange(nullptr, std::memory_order_acquire);
  if (newest == nullptr || newest == asleep()) return;
  operation* oldest = nullptr;
  while (newest != nullptr) {
    operation* next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    operation* next = oldest->next_;
    stage(*oldest);
    oldest = next;
  }
}

// False where something was posted meanwhile: then there is work, and no reason to wait.
bool io_context::fall_asleep() noexcept {
  operation* nothing = nullptr;
  return posted_.compare_exchange_strong(nothing, asleep(), std::memory_order_release,
                                         std::memory_order_relaxed) ||
         nothing == asleep();
}

// --- driving -------------------------------------------------------------------------------------

void io_context::bind_to_thread() noexcept {
  if (!on_own_thread()) {
    if (owner_.load(std::memory_order_relaxed) != nullptr) {
      detail::misuse("an io_context was driven from two threads; it belongs to the first");
    }
    owner_.store(this_thread(), std::memory_order_relaxed);
  }
  stager_.store(this_thread(), std::memory_order_relaxed);
}

void io_context::enter() noexcept {
  bind_to_thread();
  at_once_left_ = at_once_in_a_turn;
  if (in_turn_) detail::misuse("an io_context was driven from one of its own completions");
  if (fork_generation_ != detail::fork_generation()) {
    detail::misuse("an io_context was driven in a forked child; make a new one there");
  }
}

void io_context::run() {
  enter();
  take_posted();
  while (outstanding_ != 0) {
    turn(true);
    take_posted();
  }
  leave();
}

std::size_t io_context::dispatch(bool wait) {
  enter();
  std::size_t ran = turn(wait);
  while (wait && ran == 0) ran = turn(true);
  if (!wait) leave();
  return ran;
}

void io_context::flush() noexcept {
  // Within a turn there is nothing to do: what is staged is handed over when it ends.
  if (in_turn_ && on_own_thread()) return;
  enter();
  take_posted();
  leave();
}

void io_context::show_starts(bool on) noexcept {
  if (on && on_own_thread()) flush();  // what was started silently until now
  shows_starts_ = on;
  const void* owner = owner_.load(std::memory_order_relaxed);
  if (!in_turn_) stager_.store(on ? nullptr : owner, std::memory_order_relaxed);
}

int io_context::fd() const noexcept { return driver_->fd(); }

// Before the thread turns to something else: nothing stays behind that only a turn would move, and
// whatever is left for the next turn shows at fd().
void io_context::leave() noexcept {
  if (staged() != 0) {
    hand_over();
    driver_->reap(completed_, deadline::now());
  }
  if (!fall_asleep() || !completed_.empty()) driver_->wake();
  if (shows_starts_) stager_.store(nullptr, std::memory_order_relaxed);
  // Those whom another loop calls now, as for a socket, have a share like those whom this one
  // calls.
  at_once_left_ = at_once_in_a_turn;
}

std::size_t io_context::turn(bool wait) noexcept {
  hand_over();
  const bool block = wait && completed_.empty() && fall_asleep();
  driver_->reap(completed_, block ? deadline::never() : deadline::now());
  if (block) take_posted();
  return run_completions();
}

// Everything started so far goes to the driver, as far as it has room.
void io_context::hand_over() noexcept {
  take_posted();
  if (!watches_.empty()) submit_watches();
  if (!cancels_.empty()) withdraw_cancelled();
  if (cancelling_all_) withdraw_staged(true);
  if (!staged_.empty()) driver_->submit(staged_);
}

// Past what waits for room: a deadline must pass also while the disk does not answer. Before the
// cancels, which may name one of them.
void io_context::submit_watches() noexcept {
  if (!cancelling_all_) driver_->submit(watches_);
  watches_.append(std::move(staged_));  // a driver need not take all
  staged_ = std::move(watches_);
}

// Completions run only here: never inside submit or reap, so they may start anything, and the stack
// stays flat. What they complete in turn waits for the next round, so nobody is starved.
std::size_t io_context::run_completions() noexcept {
  operation_queue ready = std::move(completed_);
  const std::size_t count = ready.size();
  running_ = count;
  in_turn_ = true;
  const std::uint64_t share = at_once_in_a_turn / std::max<std::size_t>(count, 1);
  while (!ready.empty()) {
    at_once_left_ = share;
    operation& op = ready.pop_front();
    op.set_state(operation::finished_state);
    --outstanding_;
    --running_;
    op.complete_(op);  // `op` may be gone from here on
  }
  in_turn_ = false;
  return count;
}

// --- cancelling ----------------------------------------------------------------------------------

// A target that no driver has taken yet is withdrawn here, so that a cancel never waits behind the
// queue that its target is stuck in. The rest are the driver's to find.
void io_context::withdraw_cancelled() noexcept {
  operation_queue cancels = std::move(cancels_);
  operation_queue wanted;
  while (!cancels.empty()) {
    operation& cancel = cancels.pop_front();
    auto* target = static_cast<operation*>(cancel.args.address);
    if (target != nullptr && !target->in_flight()) {
      cancel.set_answer(-ENOENT);
      completed_.push_back(cancel);
      continue;
    }
    if (target == nullptr) mark_staged(cancel.args);
    if (target != nullptr) target->request_cancel();
    wanted.push_back(cancel);
  }
  withdraw_staged(false);
  submit_cancels(wanted);
}

// A cancel of many names those that no driver has taken, here; the driver finds its own.
void io_context::mark_staged(const request& cancel) noexcept {
  staged_.for_each([&](operation& op) {
    if (names(cancel, op)) op.request_cancel();
  });
}

// Completes staged operations with ECANCELED: all of them, or those whose withdrawal is wanted. But
// a driver hears in any case that memory is no longer what it was told of.
void io_context::withdraw_staged(bool everything) noexcept {
  operation_queue staged = std::move(staged_);
  while (!staged.empty()) {
    operation& op = staged.pop_front();
    const bool wanted = everything || op.withdrawal_ == operation::withdrawal::wanted;
    if (wanted && op.args.op != opcode::forget_memory) {
      op.withdrawal_ = operation::withdrawal::done;
      op.set_answer(-ECANCELED);
      completed_.push_back(op);
    } else {
      staged_.push_back(op);
    }
  }
}

void io_context::submit_cancels(operation_queue& wanted) noexcept {
  operation_queue urgent;
  while (!wanted.empty()) {
    operation& cancel = wanted.pop_front();
    const auto* target = static_cast<const operation*>(cancel.args.address);
    if (target != nullptr && target->withdrawal_ == operation::withdrawal::done) {
      cancel.set_answer(0);
      completed_.push_back(cancel);
    } else {
      urgent.push_back(cancel);
    }
  }
  if (!urgent.empty()) driver_->submit(urgent);
  cancels_.append(std::move(urgent));  // what found no room waits for the next turn
}

void io_context::cancel_and_drain() {
  enter();
  take_posted();
  drain_cancelled();
  leave();
}

void io_context::drain_cancelled() noexcept {
  if (outstanding_ == 0) return;
  cancelling_all_ = true;
  operation cancel_all{cancel_request_for_all(), [](operation&) noexcept {}};
  start(cancel_all);
  while (outstanding_ != 0) turn(true);
  cancelling_all_ = false;
}

// Cancel, then drain; the driver's destructor closes and frees.
void io_context::shut_down() noexcept {
  if (in_turn_) detail::misuse("an io_context was destroyed by one of its own completions");
  take_posted();
  if (outstanding_ == 0) return;  // then any thread may destroy it
  bind_to_thread();
  drain_cancelled();
}

}  // namespace weir

namespace weir::detail {

void start(io_context& context, operation& op, file_state* file) noexcept {
  if (file != nullptr) file->count_start(context.on_own_thread());
  context.start(op);
}

namespace {

// tmpfs cannot say what is resident, and all of it is; io_uring hands each of its reads to a
// thread.
void learn_of_failure(residency& about, at_once came, const request& what) noexcept {
  const bool known = (about.hints() & hint::memory) != 0;
  if (came == at_once::never && !known && is_memory(what.fd)) {
    about.learn_hints(hint::memory);
  } else {
    about.learn(came);
  }
}

}  // namespace

bool read_at_once(io_context& context, operation& op, file_state* file) noexcept {
  request& what = op.args;
  const bool plain = (what.flags | what.priority) == 0;
  if (!plain || file == nullptr || !file->resident.worth_trying()) return false;
  if (!context.spend_on(what.length)) return false;
  what.hints |= file->resident.hints();
  const at_once came = context.may_read_ ? read_resident(op) : context.driver_->try_at_once(op);
  if (came == at_once::done) {
    file->resident.learn(came);
    return true;
  }
  learn_of_failure(file->resident, came, what);
  return false;
}

std::int32_t perform_now(io_context& on, const request& what) noexcept {
  return on.driver_->perform_now(what);
}

result<std::uint64_t> random_bits(io_context& on) noexcept { return on.driver_->random_bits(); }

request timeout_request(const io_context& on, std::chrono::nanoseconds duration) noexcept {
  const std::int64_t now = on.now_ns();
  const std::int64_t pause = std::clamp<std::int64_t>(duration.count(), 0, INT64_MAX - now);
  return {.op = opcode::timeout, .offset = static_cast<std::uint64_t>(now + pause)};
}

void sleep_state::begin(continuation next) noexcept {
  args = timeout_request(*context(), duration_);
  awaited_operation::begin(next);
}

}  // namespace weir::detail
