#include "daemon/client/shared_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/client/block_map.hpp"

namespace weir::detail::daemon {

std::uint64_t file_size_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0) return 0;
  return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

shared_memory::~shared_memory() {
  if (fd_ >= 0) ::close(fd_);
}

// Sealed: the daemon has it mapped, and counts on its size.
int shared_memory::open(std::size_t size) noexcept {
  // It counts as a file: ftruncate(2) beyond the limit would raise SIGXFSZ.
  constexpr std::uint64_t least = 2 * block_map::block;
  size = std::min<std::uint64_t>(size, file_size_limit() / least * least);
  if (size == 0) return -EFBIG;
  fd_ = ::memfd_create("weir", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd_ < 0) return -errno;
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return -errno;
  if (::fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return -errno;
  size_ = size;
  return 0;
}

std::int64_t shared_memory::store(std::span<const iovec> from, std::uint64_t place) const noexcept {
  const ssize_t count =
      ::pwritev(fd_, from.data(), static_cast<int>(from.size()), static_cast<off_t>(place));
  return count < 0 ? -errno : count;
}

std::int64_t shared_memory::load(std::span<const iovec> into, std::uint64_t place) const noexcept {
  const ssize_t count =
      ::preadv(fd_, into.data(), static_cast<int>(into.size()), static_cast<off_t>(place));
  return count < 0 ? -errno : count;
}

}  // namespace weir::detail::daemon
