#pragma once

#include <sys/syscall.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstdint>

#include "weir/driver.hpp"

namespace weir::detail {

/// preadv2(2) into one piece of memory, by the shortest way to the kernel: a count, or a negative
/// errno. `how` is RWF_*.
#if defined(__x86_64__)
// Without the C library: this is the whole cost of a read from memory, and after a system call the
// processor has to learn anew where indirect jumps go, such as those into a shared library. And it
// is no cancellation point.
inline long preadv2_directly(int fd, const iovec& memory, std::uint64_t offset, int how) noexcept {
  long answer = 0;
  register long position asm("r10") = static_cast<long>(offset);
  register long high_half asm("r8") = 0;
  register long flags asm("r9") = how;
  asm volatile("syscall"
               : "=a"(answer)
               : "a"(SYS_preadv2), "D"(fd), "S"(&memory), "d"(1L), "r"(position), "r"(high_half),
                 "r"(flags)
               : "rcx", "r11", "memory");
  return answer;
}
#else
inline long preadv2_directly(int fd, const iovec& memory, std::uint64_t offset, int how) noexcept {
  const ssize_t answer = ::preadv2(fd, &memory, 1, static_cast<off_t>(offset), how);
  return answer < 0 ? -errno : answer;
}
#endif

/// preadv2(2) with RWF_NOWAIT (Linux 4.14): carries a plain read out where the page cache has all
/// of it, up to the end of the file. What there is only a part of is left to the queue, as a whole.
///
/// With `hint::memory`, for what cannot be asked about and need not be: waits if it must.
at_once read_resident(operation& op) noexcept;

/// Whether that hint is true of the file: fstatfs(2) says tmpfs or ramfs.
bool is_memory(int fd) noexcept;

}  // namespace weir::detail
