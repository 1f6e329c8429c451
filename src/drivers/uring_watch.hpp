#pragma once

#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "clock.hpp"
#include "weir/driver.hpp"
#include "weir/operation.hpp"

namespace weir::detail {

/// What completes besides operations. In user_data, where it cannot be an operation's address:
/// those are multiples of 8. The rest of the bits count, for the clock.
enum tag : std::uint64_t { wake_tag = 1, polls_tag, clock_tag, ignored_tag };
inline constexpr std::uint64_t tag_bits = 7;
inline constexpr std::uint64_t count_one = 8;
static_assert(alignof(operation) >= count_one);

/// A descriptor of the driver's own that the ring polls as long as there is one.
class uring_watch {
 public:
  uring_watch(tag name, bool wanted) noexcept : name_(name), wanted_(wanted) {}

  void want() noexcept { wanted_ = true; }

  /// Sees to it that the poll is there; `next_entry()` is where it is written.
  template <class NextEntry>
  void keep(int fd, NextEntry next_entry) noexcept {
    if (!wanted_ || armed_) return;
    io_uring_sqe& sqe = next_entry();
    io_uring_prep_poll_add(&sqe, fd, POLLIN);
    if (is_multishot_) sqe.len = IORING_POLL_ADD_MULTI;
    io_uring_sqe_set_data64(&sqe, name_);
    armed_ = true;
  }

  void take(const io_uring_cqe& cqe) noexcept {
    armed_ = (cqe.flags & IORING_CQE_F_MORE) != 0;
    if (cqe.res == -EINVAL) is_multishot_ = false;
  }

 private:
  const tag name_;
  bool wanted_;
  bool armed_ = false;
  bool is_multishot_ = true;  // since 5.13
};

/// Waiting in the driver, a timeout is the end of a wait; whoever waits at fd() has to be told, by
/// the ring, of the earliest. Where it is cancelled its time is told all the same, once, for
/// nothing.
class uring_clock {
 public:
  template <class NextEntry>
  void show(deadline earliest, NextEntry next_entry) noexcept {
    if (earliest.monotonic_ns >= set_to_.monotonic_ns) return;
    if (set_to_ != deadline::never()) {
      io_uring_sqe& sqe = next_entry();
      io_uring_prep_timeout_remove(&sqe, name_, 0);
      io_uring_sqe_set_data64(&sqe, ignored_tag);
    }
    set_to_ = earliest;
    name_ += count_one;
    // Not IORING_TIMEOUT_ABS: where a time namespace has an offset, its end may never come (Linux
    // 6.18, the fault campaign).
    const std::int64_t left = std::max<std::int64_t>(0, earliest.monotonic_ns - monotonic_now_ns());
    time_ = {.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
    io_uring_sqe& sqe = next_entry();
    io_uring_prep_timeout(&sqe, &time_, 0, 0);
    io_uring_sqe_set_data64(&sqe, name_);
  }

  void take(const io_uring_cqe& cqe) noexcept {
    if (cqe.user_data == name_) set_to_ = deadline::never();
  }

 private:
  std::uint64_t name_ = clock_tag;  // of the IORING_OP_TIMEOUT that shows at fd()
  deadline set_to_ = deadline::never();
  __kernel_timespec time_{};
};

}  // namespace weir::detail
