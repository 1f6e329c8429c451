#pragma once

#include <cstddef>
#include <string>

namespace weir::bench {

inline constexpr std::size_t kib = 1024;
inline constexpr std::size_t mib = 1024 * kib;

/// "4 KiB"
inline std::string size_name(std::size_t bytes) {
  return bytes < mib ? std::to_string(bytes / kib) + " KiB" : std::to_string(bytes / mib) + " MiB";
}

}  // namespace weir::bench
