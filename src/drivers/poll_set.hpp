#pragma once

#include "drivers/poll_list.hpp"

namespace weir::detail {

/// Polls carried out by epoll(7). Each watches through a descriptor of its own, a duplicate of its
/// caller's: epoll takes a file once for each descriptor, and forgets it when that is closed, while
/// polls of the same file do not know of each other and hold on to it, as they do with io_uring.
class poll_set {
 public:
  poll_set() noexcept = default;
  poll_set(const poll_set&) = delete;
  poll_set& operator=(const poll_set&) = delete;
  ~poll_set();

  /// 0, or a negative errno.
  int open() noexcept;
  bool is_open() const noexcept { return epoll_ >= 0; }

  /// Readable when `collect` has something to complete, or a file given to `show` is readable.
  int fd() const noexcept { return epoll_; }
  int show(int fd) const noexcept;

  /// Takes `op`, a poll; what is refused (EBADF, EMFILE…), or ready for good, completes at once.
  void start(operation& op, operation_queue& completed) noexcept;

  /// Completes what is ready. Does not wait.
  void collect(operation_queue& completed) noexcept;

  /// Completes `op` with ECANCELED; false where it is not here.
  bool cancel(operation& op, operation_queue& completed) noexcept;
  /// Those that `cancel`, a request for many, means.
  void cancel_named(const request& cancel, operation_queue& completed) noexcept;

  bool empty() const noexcept { return polls_.empty(); }

 private:
  std::int32_t watch(operation& op) noexcept;
  void finish(operation& op, std::int32_t answer, operation_queue& completed) noexcept;

  int epoll_ = -1;
  poll_list polls_;
};

}  // namespace weir::detail
