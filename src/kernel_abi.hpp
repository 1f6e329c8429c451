#pragma once

#include <cstdint>

/// Constants of newer kernels that Debian 12's headers do not have. A kernel without them answers
/// EOPNOTSUPP.
namespace weir::detail {

inline constexpr std::uint32_t rwf_atomic = 0x40;     ///< RWF_ATOMIC, Linux 6.11
inline constexpr std::uint32_t rwf_dontcache = 0x80;  ///< RWF_DONTCACHE, Linux 6.14

}  // namespace weir::detail
