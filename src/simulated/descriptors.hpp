#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::detail::simulated {

/// Beyond every descriptor of a kernel's: fs.nr_open is 2^20, and root may raise it to just below
/// this at the most on machines with 8 GiB for a table of descriptors.
inline constexpr std::int32_t first_descriptor = 1 << 30;

/// Whether this stands for a file of a simulated disk, not of the kernel's.
constexpr bool is_simulated(std::int32_t fd) noexcept { return fd >= first_descriptor; }

/// Descriptors are looked for from the lowest on, so there are not many.
inline constexpr std::size_t most_descriptors = 4096;

}  // namespace weir::detail::simulated
