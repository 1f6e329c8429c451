#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <new>
#include <utility>

#include "drivers/cancel_marks.hpp"
#include "drivers/drivers.hpp"
#include "drivers/event_fd.hpp"
#include "drivers/poll_set.hpp"
#include "drivers/timer_queue.hpp"
#include "drivers/uring_memory.hpp"
#include "drivers/uring_prepare.hpp"
#include "drivers/uring_restrict.hpp"
#include "drivers/uring_ring.hpp"
#include "drivers/uring_watch.hpp"
#include "drivers/worker_pool.hpp"
#include "misuse.hpp"
#include "perform.hpp"

namespace weir::detail {
namespace {

// A hint of this driver's own, while it holds the operation.
constexpr std::uint8_t asked_again = 0x80;

// Polls are without number and have no room of their own among the completions. This much they
// have before the kernel must allocate for them.
constexpr unsigned room_for_polls = 512;

/// io_uring(7). Operations and cancel requests have room for their completions; polls may overflow
/// it, which costs the kernel an allocation and us a system call.
class uring_driver final : public driver {
 public:
  explicit uring_driver(const driver_limits& limits) noexcept : limits_(limits) {}
  uring_driver(const uring_driver&) = delete;
  uring_driver& operator=(const uring_driver&) = delete;
  // Polls and timeouts are given up with the ring: the kernel holds none of their memory.
  ~uring_driver() override {
    if (!ring_.made_in_this_process()) return;
    operation_queue lost;
    while (in_flight_ + cancels_in_flight_ != 0) {
      reap(lost, deadline::never());
      lost = {};
    }
  }

  std::expected<void, refusal> open(const uring_restrictions& restrictions) noexcept;

  void submit(operation_queue& staged) noexcept override;
  void reap(operation_queue& completed, deadline until) noexcept override;
  bool context_may_read() const noexcept override { return true; }
  void wake() noexcept override;
  int fd() const noexcept override;

 private:
  bool has_ring() noexcept;
  void refuse(operation_queue& all) noexcept;
  void take_back(std::uint64_t user_data) noexcept;
  void give_up_on_ring() noexcept;
  void reap_without_ring(operation_queue& completed, deadline until) noexcept;
  bool has_room_for(const operation& op) const noexcept;
  void take(operation& op) noexcept;
  io_uring_sqe& next_sqe() noexcept;
  void hand_to_kernel(operation& op, unsigned sqe_flags) noexcept;
  void poll(operation& op) noexcept;
  void cancel(operation& request) noexcept;
  bool cancel_here(operation& target) noexcept;
  std::int32_t cancel_offloaded(const request& what) noexcept;
  void cancel_many(operation& request) noexcept;
  void cancel_polls(const request& named) noexcept;
  void offload(operation& op) noexcept;
  void finish_here(operation& op, std::int32_t answer) noexcept;

  void take_completions() noexcept;
  void take_from_ring() noexcept;
  void take_offloaded() noexcept;
  void take_completion(const io_uring_cqe& cqe) noexcept;
  void take_note(const io_uring_cqe& cqe) noexcept;
  void take_cancel(operation& request, std::int32_t answer) noexcept;
  void take_poll(operation& op, std::int32_t answer) noexcept;
  void take_answer(operation& op, std::int32_t answer) noexcept;
  void settle_fd() noexcept;

  const driver_limits limits_;
  uring_ring ring_;
  std::array<bool, opcode_count> native_{};
  bool cancels_all_ = true;  // as far as is known: since 5.19
  cancel_marks marks_;
  bool woken_ = false;
  bool others_ready_ = false;          // among `other_polls_`
  std::size_t in_flight_ = 0;          // with the kernel or the threads, but for what is below
  std::size_t offloaded_ = 0;          // of these, with the threads
  std::size_t cancels_in_flight_ = 0;  // with the kernel
  poll_list polls_;                    // with the kernel
  timer_queue timers_;
  operation_queue again_;       // to be handed to the kernel once more
  operation_queue one_by_one_;  // cancels of many, whose polls the kernel must be named
  operation_queue done_;        // finished, not yet reaped
  uring_memory memory_{ring_};
  uring_clock clock_;
  mutable event_fd shown_;  // what fd() gives, from when it is first asked for
  mutable std::atomic<bool> shows_ = false;
  uring_watch wake_watch_{wake_tag, true};  // lets wake() and our threads end a wait
  uring_watch polls_watch_{polls_tag, false};
  poll_set other_polls_;     // those that the ring would answer wrongly; opened when first needed
  event_fd event_;           // wakes the ring from other threads
  worker_pool_ptr offload_;  // made when first needed; its threads signal `event_`
};

// --- set-up --------------------------------------------------------------------------------------

std::expected<void, refusal> uring_driver::open(const uring_restrictions& restrictions) noexcept {
  for (event_fd* each : {&event_, &shown_}) {
    if (const int error = each->open(); error < 0) {
      return std::unexpected(refusal{"eventfd", -error});
    }
  }
  const unsigned completions = 2 * limits_.queue_depth + room_for_polls;
  auto opened = ring_.open(limits_.queue_depth, completions, restrictions.refused_setup_flags,
                           limits_.sqpoll_idle_ms);
  if (!opened) return opened;
  io_uring_probe* probe = ring_.probe();
  if (probe == nullptr) return std::unexpected(refusal{"io_uring_register", ENOMEM});
  native_ = native_among(*probe, restrictions.missing_opcodes);
  io_uring_free_probe(probe);
  cancels_all_ = !restrictions.cancels_one_by_one;
  if (limits_.restricted) return restrict_to_own(ring_);
  return {};
}

// --- submission ----------------------------------------------------------------------------------

void uring_driver::submit(operation_queue& staged) noexcept {
  if (!has_ring()) return refuse(staged);
  if (in_flight_ == 0) marks_.clear();
  while (!staged.empty() && has_room_for(staged.front())) take(staged.pop_front());
}

bool uring_driver::has_room_for(const operation& op) const noexcept {
  switch (op.args.op) {
    case opcode::poll:
    case opcode::timeout:
      return true;
    case opcode::cancel:
      return cancels_in_flight_ < limits_.queue_depth;
    default:
      return in_flight_ < limits_.queue_depth;
  }
}

void uring_driver::take(operation& op) noexcept {
  const request& what = op.args;
  if (out_of_range(what)) return finish_here(op, -EINVAL);
  switch (what.op) {
    case opcode::cancel:
      return cancel(op);
    case opcode::poll:
      return poll(op);
    case opcode::timeout:
      if (const int error = timers_.insert(op); error < 0) finish_here(op, error);
      return;
    case opcode::register_memory:
      return finish_here(op, memory_.add(what.address, what.length));
    case opcode::forget_memory:
      return finish_here(op, memory_.remove(what.address, what.length));
    default:
      if (!native_[static_cast<unsigned>(what.op)] || !fits_entry(what)) return offload(op);
      hand_to_kernel(op, better_elsewhere(what, in_flight_) ? IOSQE_ASYNC : 0U);
      ++in_flight_;
  }
}

// The submission queue may be smaller than all that is waiting for it: then it goes out early. And
// kernels before 5.19 take nothing as long as completions have overflowed.
io_uring_sqe& uring_driver::next_sqe() noexcept {
  io_uring_sqe* sqe = ring_.next_entry();
  while (sqe == nullptr) {
    ring_.enter(false, deadline::now());
    take_from_ring();
    sqe = ring_.next_entry();
  }
  return *sqe;
}

void uring_driver::hand_to_kernel(operation& op, unsigned sqe_flags) noexcept {
  io_uring_sqe& sqe = next_sqe();
  prepare(sqe, op.args);
  memory_.use_for(sqe, op.args);
  sqe.flags |= static_cast<std::uint8_t>(sqe_flags);
  io_uring_sqe_set_data(&sqe, &op);
}

// io_uring answers POLLRDHUP to who has not asked for it. Whoever waits to read is told so anyway;
// but whoever waits to write to somebody who will say no more would be told at once, again and
// again. So the others are epoll's.
void uring_driver::poll(operation& op) noexcept {
  const bool told_anyway = (op.args.flags & (POLLIN | POLLRDNORM | POLLRDHUP)) != 0;
  if (told_anyway && native_[static_cast<unsigned>(opcode::poll)]) {
    if (const int error = polls_.add(op, -1); error < 0) return finish_here(op, error);
    return hand_to_kernel(op, 0);
  }
  if (!other_polls_.is_open()) {
    if (const int error = other_polls_.open(); error < 0) return finish_here(op, error);
    polls_watch_.want();
  }
  other_polls_.start(op, done_);
}

void uring_driver::cancel(operation& request) noexcept {
  auto* target = static_cast<operation*>(request.args.address);
  if (target == nullptr) return cancel_many(request);
  target->request_cancel();
  if (cancel_here(*target)) return finish_here(request, 0);
  const int known = cancel_offloaded(request.args);
  if (known != -ENOENT) return finish_here(request, known);
  ++cancels_in_flight_;
  hand_to_kernel(request, 0);
}

void uring_driver::cancel_many(operation& request) noexcept {
  marks_.mark(request.args);
  timers_.cancel_named(request.args, done_);
  other_polls_.cancel_named(request.args, done_);
  cancel_offloaded(request.args);
  if (!cancels_all_) return one_by_one_.push_back(request);
  ++cancels_in_flight_;
  hand_to_kernel(request, 0);
}

std::int32_t uring_driver::cancel_offloaded(const request& what) noexcept {
  if (!offload_) return what.address != nullptr ? -ENOENT : 0;
  if (what.address != nullptr) return offload_->cancel(*static_cast<operation*>(what.address));
  offload_->cancel_named(what);
  return 0;
}

// What is in this driver's own hands.
bool uring_driver::cancel_here(operation& target) noexcept {
  if (!timers_.remove(target)) return other_polls_.cancel(target, done_);
  finish_here(target, -ECANCELED);
  return true;
}

// From the last to the first, since what completes meanwhile leaves its place to the last.
void uring_driver::cancel_polls(const request& named) noexcept {
  for (std::size_t i = polls_.size(); i > 0; i = std::min(i - 1, polls_.size())) {
    if (!names(named, polls_[i - 1])) continue;
    io_uring_sqe& sqe = next_sqe();
    // Taking an entry may have taken completions, and this poll with them.
    const bool still = i <= polls_.size() && names(named, polls_[i - 1]);
    still ? io_uring_prep_cancel(&sqe, &polls_[i - 1], 0) : io_uring_prep_nop(&sqe);
    io_uring_sqe_set_data64(&sqe, ignored_tag);
  }
}

// What this kernel's io_uring does not know is carried out by threads.
void uring_driver::offload(operation& op) noexcept {
  if (!offload_) {
    offload_.reset(new (std::nothrow) worker_pool(limits_.threads, [this] { wake(); }));
    if (const int error = offload_ ? offload_->open() : -ENOMEM; error < 0) {
      offload_.reset();
      return finish_here(op, error);
    }
  }
  ++in_flight_;
  ++offloaded_;
  operation_queue one;
  one.push_back(op);
  offload_->submit(std::move(one));
}

void uring_driver::finish_here(operation& op, std::int32_t answer) noexcept {
  op.set_answer(answer);
  done_.push_back(op);
}

// --- waiting -------------------------------------------------------------------------------------

void uring_driver::reap(operation_queue& completed, deadline until) noexcept {
  if (!has_ring()) return reap_without_ring(completed, until);
  const auto must_wait = [&] {
    return completed.empty() && done_.empty() && !woken_ && until != deadline::now();
  };
  take_completions();
  if (must_wait() || ring_.has_entries() || ring_.may_have_work()) {
    do {
      const deadline timer = timers_.earliest();
      const bool timer_first = timer.monotonic_ns < until.monotonic_ns;
      const bool passed = ring_.enter(must_wait(), timer_first ? timer : until);
      if (passed && !timer_first) until = deadline::now();
      take_completions();
    } while ((must_wait() || ring_.has_entries()) && ring_.refused() == 0);
  }
  if (shows_.load(std::memory_order_relaxed)) settle_fd();
  if (ring_.refused() != 0) return reap_without_ring(completed, until);
  completed.append(std::move(done_));
  woken_ = false;
}

// What has been taken has made fd() readable, also while it was taken; what has come since, too.
// Only when there is nothing left to read has everything been seen.
void uring_driver::settle_fd() noexcept {
  while (shown_.drain()) {
    if (ring_.may_have_work()) ring_.enter(false, deadline::now());
    take_completions();
    while (ring_.has_entries() && has_ring()) ring_.enter(false, deadline::now());
  }
}

void uring_driver::wake() noexcept {
  event_.signal();
  if (shows_.load()) shown_.signal();
}

// Not the ring's own descriptor: with DEFER_TASKRUN the kernel tells a thread that sleeps in
// poll(2) nothing of completions that it would have to post first. An eventfd registered with the
// ring it does tell. Registered only when asked for, because signalling it takes time.
int uring_driver::fd() const noexcept {
  if (!shows_.load(std::memory_order_relaxed)) {
    const int fd = shown_.fd();
    if (ring_.tell(IORING_REGISTER_EVENTFD, &fd, 1) < 0) {
      misuse("an io_uring driver's fd() was asked for by another thread than its own");
    }
    shows_.store(true);
    shown_.signal();  // what has come until now shows nowhere; one look settles that
  }
  return shown_.fd();
}

// --- without the ring ----------------------------------------------------------------------------

// Enabled when it is first driven; lost where a seccomp filter has come between since.
bool uring_driver::has_ring() noexcept {
  if (ring_.enabled()) return true;
  if (ring_.refused() == 0) ring_.enable(limits_.threads);
  return ring_.enabled();
}

void uring_driver::refuse(operation_queue& all) noexcept {
  while (!all.empty()) {
    operation& op = all.pop_front();
    finish_here(op, op.args.op == opcode::cancel ? cancel_offloaded(op.args) : -ring_.refused());
  }
}

// An entry that the kernel has not taken. Polls are given up together.
void uring_driver::take_back(std::uint64_t user_data) noexcept {
  auto* op = reinterpret_cast<operation*>(user_data);
  if ((user_data & tag_bits) != 0 || op->args.op == opcode::poll) return;
  --(op->args.op == opcode::cancel ? cancels_in_flight_ : in_flight_);
  finish_here(*op, -ring_.refused());
}

// A transfer's memory the kernel may still write to, and would not say when it has done so.
void uring_driver::give_up_on_ring() noexcept {
  take_from_ring();
  in_flight_ -= again_.size();
  again_.append(std::move(one_by_one_));
  timers_.cancel_named(cancel_request_for_all(), again_);
  other_polls_.cancel_named(cancel_request_for_all(), again_);
  refuse(again_);
  while (!polls_.empty()) take_poll(polls_[polls_.size() - 1], -ring_.refused());
  if (in_flight_ == offloaded_ && cancels_in_flight_ == 0) return;
  misuse("io_uring was forbidden (seccomp) to a thread whose io_context has transfers in flight");
}

void uring_driver::reap_without_ring(operation_queue& completed, deadline until) noexcept {
  give_up_on_ring();
  shown_.drain();
  take_offloaded();
  const bool woken = event_.clear() || std::exchange(woken_, false);
  if (completed.empty() && done_.empty() && !woken && until != deadline::now()) {
    wait_readable(event_.fd(), until);
    event_.clear();
    take_offloaded();
  }
  completed.append(std::move(done_));
}

// --- completion ----------------------------------------------------------------------------------

// Everything that has finished, wherever; and what that gives the kernel to do.
void uring_driver::take_completions() noexcept {
  take_from_ring();
  while (!again_.empty()) hand_to_kernel(again_.pop_front(), IOSQE_ASYNC);
  while (!one_by_one_.empty()) {
    operation& request = one_by_one_.pop_front();
    cancel_polls(request.args);
    finish_here(request, 0);
  }
  take_offloaded();
  if (std::exchange(others_ready_, false)) other_polls_.collect(done_);
  timers_.expire(done_);
  // Armed again at once, or a later wake() would not show at fd().
  const auto next = [this]() noexcept -> io_uring_sqe& { return next_sqe(); };
  wake_watch_.keep(event_.fd(), next);
  polls_watch_.keep(other_polls_.fd(), next);
  if (shows_.load(std::memory_order_relaxed)) clock_.show(timers_.earliest(), next);
}

void uring_driver::take_offloaded() noexcept {
  const std::size_t count = offload_ ? offload_->collect(done_) : 0;
  in_flight_ -= count;
  offloaded_ -= count;
}

void uring_driver::take_from_ring() noexcept {
  ring_.take_completions([this](const io_uring_cqe& cqe) { take_completion(cqe); });
  if (ring_.refused() == 0) return;
  ring_.take_back_entries([this](std::uint64_t user_data) { take_back(user_data); });
}

void uring_driver::take_completion(const io_uring_cqe& cqe) noexcept {
  if ((cqe.user_data & tag_bits) != 0) return take_note(cqe);
  auto& op = *reinterpret_cast<operation*>(cqe.user_data);
  if (op.args.op == opcode::cancel) return take_cancel(op, cqe.res);
  if (op.args.op == opcode::poll) return take_poll(op, cqe.res);
  take_answer(op, cqe.res);
}

void uring_driver::take_note(const io_uring_cqe& cqe) noexcept {
  switch (cqe.user_data & tag_bits) {
    case wake_tag:
      wake_watch_.take(cqe);
      woken_ = true;
      event_.clear();
      break;
    case polls_tag:
      polls_watch_.take(cqe);
      others_ready_ = true;
      break;
    case clock_tag:
      clock_.take(cqe);
      break;
    default:
      break;
  }
}

void uring_driver::take_cancel(operation& request, std::int32_t answer) noexcept {
  --cancels_in_flight_;
  const auto* target = static_cast<const operation*>(request.args.address);
  if (target == nullptr) {
    if (answer == -EINVAL) cancels_all_ = false;
    return cancels_all_ ? finish_here(request, 0) : one_by_one_.push_back(request);
  }
  // The kernel does not find what a disk is busy with; it is in flight all the same.
  if (answer == -ENOENT && target->in_flight()) answer = -EALREADY;
  finish_here(request, std::min(answer, 0));
}

void uring_driver::take_poll(operation& op, std::int32_t answer) noexcept {
  polls_.remove(op);
  const auto asked = static_cast<std::int32_t>(op.args.flags | POLLERR | POLLHUP);
  finish_here(op, answer < 0 || (answer & asked) == 0 ? answer : answer & asked);
}

// Not all of these are answers. A signal may interrupt a kernel worker; and some file systems, and
// older kernels for O_NONBLOCK descriptors, say EAGAIN where nobody asked not to wait, which a
// kernel worker then waits out. Asked a second time, EAGAIN is meant; but splicing it says of any
// O_NONBLOCK descriptor, and one of our threads waits. And what nobody has cancelled the kernel
// gives up when it cannot start a worker, as under many signals: our threads carry it out.
void uring_driver::take_answer(operation& op, std::int32_t answer) noexcept {
  const request& what = op.args;
  const bool asked_twice = (what.hints & asked_again) != 0;
  op.args.hints &= static_cast<std::uint8_t>(~asked_again);
  if (answer >= 0 && what.op != opcode::close) {  // nearly all
    --in_flight_;
    return finish_here(op, answer);
  }
  const bool would_block = answer == -EAGAIN && may_wait(what);
  const bool given_up = (answer == -ECANCELED && !op.cancel_requested() && !marks_.covers(op)) ||
                        (would_block && what.op == opcode::splice);
  if (answer == -EINTR && marks_.covers(op)) answer = -ECANCELED;
  if (what.op == opcode::close) marks_.closed(what.fd);
  // It has been closed; once more would close another's.
  if (answer == -EINTR && what.op == opcode::close) answer = 0;
  if (answer == -EINTR || (would_block && !asked_twice && !given_up)) {
    op.args.hints |= asked_again;
    return again_.push_back(op);
  }
  --in_flight_;
  given_up ? offload(op) : finish_here(op, answer);
}

}  // namespace

opened_driver open_uring(const driver_limits& limits, const uring_restrictions& restrictions) {
  auto made = std::make_unique<uring_driver>(limits);
  if (auto opened = made->open(restrictions); !opened) return std::unexpected(opened.error());
  return made;
}

opened_driver open_uring(const driver_limits& limits) { return open_uring(limits, {}); }

}  // namespace weir::detail
