#pragma once

#include <atomic>
#include <expected>

#include "drivers/drivers.hpp"
#include "drivers/event_fd.hpp"
#include "drivers/poll_set.hpp"
#include "drivers/timer_queue.hpp"

namespace weir::detail {

/// What a driver without a ring waits on: its own wake-ups, the polls and the timeouts in flight,
/// and one descriptor that shows all three. Nobody's thread waits for any of them.
class readiness {
 public:
  readiness() noexcept = default;
  readiness(const readiness&) = delete;
  readiness& operator=(const readiness&) = delete;
  ~readiness();

  std::expected<void, refusal> open() noexcept;

  /// Whether operations of this kind are for `start`.
  static bool takes(opcode op) noexcept { return op == opcode::poll || op == opcode::timeout; }

  /// Takes a poll or a timeout. It completes by `collect`.
  void start(operation& op) noexcept;

  /// Answers as a cancel request does, 0 or -ENOENT.
  int cancel(operation& target) noexcept;
  /// What `cancel`, a request for many, means.
  void cancel_named(const request& cancel) noexcept;

  /// Appends what is ready, due, refused or cancelled. Does not wait.
  void collect(operation_queue& completed) noexcept;

  /// Blocks until `collect` has something to append, or a wake-up, or `until`.
  void wait(deadline until) const noexcept;

  /// What ends a wait, and shows at fd(): its `signal` is for any thread.
  event_fd& wake_ups() noexcept { return event_; }

  int fd() const noexcept;
  /// Whether somebody may be waiting at `fd`.
  bool shown() const noexcept { return shown_.load(std::memory_order_relaxed); }

 private:
  void show_time() noexcept;

  mutable event_fd event_;
  poll_set polls_;
  timer_queue timers_;
  operation_queue finished_;                 // and not yet collected
  mutable std::atomic<bool> shown_ = false;  // fd() has been asked for
  int clock_ = -1;                           // a timerfd, for whoever waits at fd()
  deadline clock_set_to_ = deadline::never();
};

}  // namespace weir::detail
