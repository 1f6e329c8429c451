#include "simulated/inode.hpp"

#include <algorithm>
#include <cstring>

namespace weir::detail::simulated {
namespace {

// What is read behind the end, should the file grow again, is zero.
void cut_page(content& of, std::uint64_t size) {
  const std::uint64_t kept = size % page_size;
  if (kept == 0 || !of.pages.at(size / page_size)) return;
  std::memset(of.pages.slot(size / page_size).to_write(false) + kept, 0, page_size - kept);
}

void grow_to(content& of, const change& done) noexcept {
  if (done.grows) of.size = std::max(of.size, done.at * page_size + done.to);
}

// A sector that is written anew is given another place by the disk.
void mend(inode& of, std::uint64_t from, std::uint64_t to) noexcept {
  if (of.bad_sectors.empty()) return;
  of.bad_sectors.erase(of.bad_sectors.lower_bound(from), of.bad_sectors.lower_bound(to));
}

}  // namespace

void resize(content& of, std::uint64_t size) {
  if (size < of.size) {
    of.pages.truncate((size + page_size - 1) / page_size);
    cut_page(of, size);
  }
  of.size = size;
}

void persist(inode& of, const change& done) {
  switch (done.what) {
    case change::kind::page:
      of.durable.pages.slot(done.at) = done.version;
      mend(of, done.at * page_size, (done.at + 1) * page_size);
      return grow_to(of.durable, done);
    case change::kind::size:
      return resize(of.durable, done.at);
    case change::kind::extra:
      of.durable.extra = done.extra;
  }
}

std::uint64_t sectors_of(const change& done, std::uint32_t sector_size) noexcept {
  const std::uint64_t first = done.from / sector_size;
  const std::uint64_t end = (std::uint64_t{done.to} + sector_size - 1) / sector_size;
  return ((std::uint64_t{1} << end) - 1) & ~((std::uint64_t{1} << first) - 1);
}

void persist_sectors(inode& of, const change& done, std::uint32_t sector_size,
                     std::uint64_t sectors) {
  if (done.what != change::kind::page) return persist(of, done);
  std::byte* const on_disk = of.durable.pages.slot(done.at).to_write(false);
  for (std::uint64_t at = 0; at < page_size; at += sector_size, sectors >>= 1) {
    if ((sectors & 1) == 0) continue;
    std::memcpy(on_disk + at, done.version.bytes() + at, sector_size);
    mend(of, done.at * page_size + at, done.at * page_size + at + sector_size);
  }
  grow_to(of.durable, done);
}

}  // namespace weir::detail::simulated
