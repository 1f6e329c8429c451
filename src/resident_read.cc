#include "resident_read.hpp"

#include <linux/magic.h>
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
