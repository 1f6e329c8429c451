#pragma once

#include <atomic>

#include "weir/driver.hpp"

namespace weir::detail {

/// An eventfd(2) that one thread waits on and any thread signals; signals add up to one.
class event_fd {
 public:
  /// `open` makes it usable; a negative errno where there are no descriptors left.
  event_fd() noexcept = default;
  event_fd(const event_fd&) = delete;
  event_fd& operator=(const event_fd&) = delete;
  ~event_fd();

  int open() noexcept;
  int fd() const noexcept { return fd_; }

  /// Makes `fd` readable. Any thread; a second signal before `clear` costs no system call.
  void signal() noexcept;

  bool signalled() const noexcept { return signalled_.load(); }

  /// Makes `fd` unreadable; says whether it had been signalled. To be called before looking for
  /// what was signalled, so that a signal that comes after the look is not lost.
  bool clear() noexcept;

  /// The same where the kernel, too, writes to `fd`, which `clear` would not notice.
  bool drain() noexcept;

  /// Drains, and says whether anybody but the kernel had signalled.
  bool drain_signals() noexcept;

 private:
  bool read_count() const noexcept;

  int fd_ = -1;
  std::atomic<bool> signalled_ = false;
};

/// Blocks until `fd` is readable or `until` has passed.
void wait_readable(int fd, deadline until) noexcept;

}  // namespace weir::detail
