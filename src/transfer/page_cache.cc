#include <sys/syscall.h>
#include <unistd.h>

#include "weir/transfer.hpp"

namespace weir {
namespace {

// <linux/mman.h> of Debian 12 does not have these yet. The number is the same on every architecture
// that weir runs on.
constexpr long cachestat_number = 451;

struct cachestat_range {
  std::uint64_t offset;
  std::uint64_t length;
};

struct cachestat {
  std::uint64_t cached;  // pages
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

std::uint64_t page_size() noexcept {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

bool all_cached(int fd, std::uint64_t offset, std::uint64_t length) noexcept {
  cachestat_range range{offset, length};
  cachestat found{};
  if (::syscall(cachestat_number, fd, &range, &found, 0) != 0) return false;
  const std::uint64_t first = offset / page_size();
  const std::uint64_t last = (offset + length - 1) / page_size();
  return found.cached >= last - first + 1;
}

}  // namespace weir
