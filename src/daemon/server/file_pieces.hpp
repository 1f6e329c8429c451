#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/task.hpp"

namespace weir::detail::daemon {

class transfer;

/// Reads from a file, from the page cache or else by the driver: a count, 0 at the end of the file,
/// or a negative errno.
task<long> read_piece(transfer& self, int file, std::span<std::byte> into, std::uint64_t offset);

/// Writes all of it, moves `position` along, and counts it as moved: 0, or an errno.
task<int> write_piece(transfer& self, int file, std::span<const std::byte> bytes,
                      std::uint64_t& position);

}  // namespace weir::detail::daemon
