#pragma once

#include <cstdint>

namespace weir::detail {

/// Whether the page cache has every page of a range that is not empty, by cachestat(2), Linux 6.5.
/// A page on its way from the disk counts. False, too, where the kernel does not say: it is older,
/// or the file is neither ours nor writable to us.
bool all_cached(int fd, std::uint64_t offset, std::uint64_t length) noexcept;

}  // namespace weir::detail
