#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>

#include "weir/driver.hpp"
#include "weir/sender.hpp"

namespace weir {

template <class T>
class task;

namespace detail {

class sleep_state : public awaited_operation {
 public:
  sleep_state(io_context& context, std::chrono::nanoseconds duration) noexcept
      : awaited_operation(&context, {.op = opcode::timeout}, nullptr), duration_(duration) {}
  void begin(continuation next) noexcept;
  result<void> take() const noexcept { return to_result<void>(answer()); }

 private:
  std::chrono::nanoseconds duration_;
};

/// The request that completes at `duration` from now, by the context's clock.
request timeout_request(const io_context& on, std::chrono::nanoseconds duration) noexcept;

/// `driver::perform_now`.
std::int32_t perform_now(io_context& on, const request& what) noexcept;

/// `driver::random_bits`.
result<std::uint64_t> random_bits(io_context& on) noexcept;

}  // namespace detail

/// A description like `io_sender`, of a pause that begins when it is started; yields
/// `result<void>`.
class [[nodiscard("a sender does nothing until it is awaited or started")]] sleep_sender
    : public detail::sender_interface<sleep_sender> {
 public:
  using value_type = result<void>;
  using state_type = detail::sleep_state;

  sleep_sender(io_context& context, std::chrono::nanoseconds duration) noexcept
      : context_(&context), duration_(duration) {}
  io_context* context() const noexcept { return context_; }
  state_type prepare() const noexcept { return {*context_, duration_}; }

 private:
  io_context* context_;
  std::chrono::nanoseconds duration_;
};

/// One thread, one driver: stages operations, hands them to the driver once a turn, and runs their
/// completions, in the order in which they finished, from one loop.
///
/// Threads: a context and everything on it belong to one thread, the first that calls `run`,
/// `dispatch` or `flush`; any thread may call `start`; an operation completes on the context's
/// thread. Driving it from a second thread, or from one of its own completions, aborts the program
/// with a sentence. Scaling is one context per core, never a shared one.
///
/// Destroying a busy context cancels what is in flight, waits until the kernel has let go of it,
/// and runs every completion (with ECANCELED where nothing had happened); whatever those
/// completions start completes with ECANCELED too. No completion is lost.
///
/// After fork(2) the child may destroy the context, which then only frees memory and descriptors;
/// driving it there aborts with a sentence.
class io_context {
 public:
  explicit io_context(std::unique_ptr<driver> driver) noexcept;
  io_context(const io_context&) = delete;
  io_context& operator=(const io_context&) = delete;
  ~io_context();

  /// Begins `op`, which is not in flight, and returns at once. It reaches the kernel at the next
  /// turn or flush. Any thread; the context must outlive the call.
  void start(operation& op) noexcept;

  /// Drives the context until `work` is done; returns its value or throws what it threw.
  /// Defined in <weir/task.hpp>.
  template <class T>
  T run(task<T> work);

  /// Drives the context until nothing is outstanding.
  void run();

  /// Cancels everything, also what completions start meanwhile, and drives the context until
  /// nothing is outstanding. What the kernel did wins. The context can be used again afterwards.
  void cancel_and_drain();

  /// One turn: hands over what is staged, takes what has finished, runs its completions; returns
  /// how many ran. With `wait`, blocks until at least one has run, also where nothing is
  /// outstanding yet (another thread may start something). Without, never blocks, and hands over
  /// what the completions started before it returns. A waiting turn leaves that to the next turn,
  /// which does it in the same system call as its wait; call `flush` if there is none.
  std::size_t dispatch(bool wait);

  /// Hands everything staged to the kernel now. A program with its own event loop calls it before
  /// it waits on `fd`, if it has started something since the last `dispatch(false)`.
  void flush() noexcept;

  /// For event loops in which nothing can be made to run before each wait: from now on, if `on`, an
  /// operation that the context's own thread starts outside a turn shows at `fd`, as another
  /// thread's does, and nobody has to flush. It costs a system call for each batch so started. On
  /// the context's thread, or while nobody drives it.
  void show_starts(bool on) noexcept;

  /// Readable when `dispatch(false)` has something to do. Valid as long as the context; only for
  /// poll(2), epoll(7) and the like.
  int fd() const noexcept;

  /// Awaiting it continues on this context's thread, from its loop.
  io_void_sender schedule() noexcept { return {this, request{}}; }

  /// CLOCK_MONOTONIC in nanoseconds, or the time of the simulated disk that it is on. Any thread.
  std::int64_t now_ns() const noexcept;

  /// Awaiting it continues not before `duration` has passed, in CLOCK_MONOTONIC time; ECANCELED if
  /// it is cancelled before. Sleeping takes no thread, and no room in the queue.
  sleep_sender sleep_for(std::chrono::nanoseconds duration) noexcept { return {*this, duration}; }

  /// poll(2) of any descriptor, a socket's or a pipe's as well: yields those of `events` (POLLIN,
  /// POLLOUT, …) that are so, and POLLERR and POLLHUP, once one is. A regular file is always ready;
  /// EBADF for no descriptor. It takes no thread, and no room in the queue. Cancel it before the
  /// descriptor is closed: until then it waits for what the descriptor stood for.
  basic_sender<unsigned> poll(int fd, unsigned events) noexcept {
    return {this, request{.op = opcode::poll, .fd = fd, .flags = events}};
  }

  /// Cancels every operation that is in flight when it begins, on whatever descriptor; what the
  /// kernel did wins. Yields success once each has been told; `run()` then drains.
  io_void_sender cancel_all() noexcept { return {this, cancel_request_for_all()}; }

  /// Operations started and not completed, those posted by other threads not yet counted.
  /// The context's thread only, as for the two below.
  std::size_t outstanding() const noexcept { return outstanding_; }
  /// Of these: waiting for room, first come, first served.
  std::size_t staged() const noexcept { return staged_.size() + cancels_.size() + watches_.size(); }
  /// With the driver. Of those that take room, never more than the queue depth.
  std::size_t in_flight() const noexcept {
    return outstanding_ - staged() - completed_.size() - running_;
  }

  /// Whether the calling thread is the context's. False before any has driven it.
  bool on_own_thread() const noexcept {
    return owner_.load(std::memory_order_relaxed) == this_thread();
  }

 private:
  // What pthread_self(3) answers, too, in one instruction instead of a call: every start asks.
  static const void* this_thread() noexcept { return __builtin_thread_pointer(); }

  friend std::int32_t detail::perform_now(io_context&, const request&) noexcept;
  friend result<std::uint64_t> detail::random_bits(io_context&) noexcept;
  friend bool detail::read_at_once(io_context&, operation&, detail::file_state*) noexcept;

  bool spend_on(std::uint64_t bytes) noexcept;
  void stage(operation& op) noexcept;
  void post(operation& op) noexcept;
  void take_posted() noexcept;
  bool fall_asleep() noexcept;
  void bind_to_thread() noexcept;
  void enter() noexcept;
  void leave() noexcept;
  std::size_t turn(bool wait) noexcept;
  void hand_over() noexcept;
  std::size_t run_completions() noexcept;
  void submit_watches() noexcept;
  void withdraw_cancelled() noexcept;
  void mark_staged(const request& cancel) noexcept;
  void withdraw_staged(bool everything) noexcept;
  void submit_cancels(operation_queue& wanted) noexcept;
  void drain_cancelled() noexcept;
  void shut_down() noexcept;

  std::unique_ptr<driver> driver_;
  bool may_read_ = false;      // by itself, past the driver
  operation_queue staged_;     // started, not yet taken by the driver
  operation_queue cancels_;    // cancel requests not yet resolved
  operation_queue watches_;    // polls and timeouts, which need no room, not yet taken
  operation_queue completed_;  // finished, completion not yet run
  std::size_t outstanding_ = 0;
  std::size_t running_ = 0;  // finished, and taken out of `completed_` to be run in this turn
  std::uint64_t at_once_left_ = 0;  // what may be read at once by whom the loop has just called
  std::atomic<const void*> owner_ = nullptr;
  // Whose starts are staged at once: the owner's, but with `shows_starts_` only while it drives.
  std::atomic<const void*> stager_ = nullptr;
  unsigned fork_generation_;
  bool in_turn_ = false;
  bool shows_starts_ = false;
  bool cancelling_all_ = false;  // whatever is started is cancelled at once
  // Operations started by other threads, newest first; or `asleep`, when the next one must wake
  // the driver. On a cache line of its own: other threads write it.
  alignas(64) std::atomic<operation*> posted_;
};

}  // namespace weir
