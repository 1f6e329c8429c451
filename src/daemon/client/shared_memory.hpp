#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

struct iovec;

namespace weir::detail::daemon {

/// How large this process may make a file (RLIMIT_FSIZE); all ones where there is no limit.
std::uint64_t file_size_limit() noexcept;

/// Memory that a client shares with the daemon: a memfd_create(2) of a fixed size. The client moves
/// bytes in and out of it by system calls, so that a bad address of its caller's is an answer,
/// EFAULT, as it would be had the kernel done the whole operation; and only what is used is there.
class shared_memory {
 public:
  shared_memory() noexcept = default;
  shared_memory(const shared_memory&) = delete;
  shared_memory& operator=(const shared_memory&) = delete;
  ~shared_memory();

  /// 0, or a negative errno. Smaller than asked for, but not below two blocks, where this process
  /// may not make a file of that size.
  int open(std::size_t size) noexcept;

  int fd() const noexcept { return fd_; }
  std::size_t size() const noexcept { return size_; }

  /// From the caller's memory to `place`, and back: the bytes moved, fewer where the caller's
  /// memory ends; or -EFAULT.
  std::int64_t store(std::span<const iovec> from, std::uint64_t place) const noexcept;
  std::int64_t load(std::span<const iovec> into, std::uint64_t place) const noexcept;

 private:
  int fd_ = -1;
  std::size_t size_ = 0;
};

}  // namespace weir::detail::daemon
