#include "daemon/client/block_map.hpp"

#include <algorithm>

namespace weir::detail::daemon {

std::optional<std::uint64_t> block_map::take(std::size_t size) noexcept {
  const std::size_t count = blocks_of(size);
  if (count == 0 || count > used_.size() - in_use_) return std::nullopt;
  auto found = find(count, next_, used_.size());
  if (!found) found = find(count, 0, std::min(next_ + count - 1, used_.size()));
  if (!found) return std::nullopt;
  mark(*found, count, true);
  in_use_ += count;
  next_ = *found + count;
  return std::uint64_t{*found} * block;
}

void block_map::give_back(std::uint64_t place, std::size_t size) noexcept {
  mark(static_cast<std::size_t>(place / block), blocks_of(size), false);
  in_use_ -= blocks_of(size);
}

// The first run of free blocks within [first, last).
std::optional<std::size_t> block_map::find(std::size_t count, std::size_t first,
                                           std::size_t last) const noexcept {
  std::size_t run = 0;
  for (std::size_t at = first; at < last; ++at) {
    run = used_[at] ? 0 : run + 1;
    if (run == count) return at + 1 - count;
  }
  return std::nullopt;
}

void block_map::mark(std::size_t first, std::size_t count, bool used) noexcept {
  std::fill_n(used_.begin() + static_cast<std::ptrdiff_t>(first), count, used);
}

}  // namespace weir::detail::daemon
