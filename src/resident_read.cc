#include "resident_read.hpp"

#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "perform.hpp"

namespace weir::detail {
namespace {

// What these say of one read, others say of the descriptor: that it has no offsets, no page cache,
// or no way to tell.
at_once meaning_of(long error) noexcept {
  const bool passing = error == EAGAIN || error == EINTR || error == EFAULT;
  return passing ? at_once::would_wait : at_once::never;
}

}  // namespace

#if defined(__x86_64__)
// Without the C library: this is the whole cost of a read from memory, and after a system call the
// processor has to learn anew where indirect jumps go, such as those into a shared library. And it
// is no cancellation point.
long preadv2_directly(int fd, const iovec& memory, std::uint64_t offset, int how) noexcept {
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
long preadv2_directly(int fd, const iovec& memory, std::uint64_t offset, int how) noexcept {
  const ssize_t answer = ::preadv2(fd, &memory, 1, static_cast<off_t>(offset), how);
  return answer < 0 ? -errno : answer;
}
#endif

// A short answer may mean the end of the file or of what is resident; asked once more, the kernel
// tells which.
at_once read_resident(operation& op) noexcept {
  const request& what = op.args;
  if (transfer_out_of_range(what)) return at_once::would_wait;
  const std::size_t wanted = std::min(what.length, transfer_max);
  const int how = (what.hints & hint::memory) != 0 ? 0 : RWF_NOWAIT;
  std::size_t moved = 0;
  do {
    const iovec rest{static_cast<std::byte*>(what.address) + moved, wanted - moved};
    const long count = preadv2_directly(what.fd, rest, what.offset + moved, how);
    if (count < 0) return meaning_of(-count);
    if (count == 0) break;
    moved += static_cast<std::size_t>(count);
  } while (moved < wanted);
  op.set_answer(static_cast<std::int32_t>(moved));
  return at_once::done;
}

bool is_memory(int fd) noexcept {
  struct statfs of{};
  return ::fstatfs(fd, &of) == 0 && (of.f_type == TMPFS_MAGIC || of.f_type == RAMFS_MAGIC);
}

}  // namespace weir::detail
