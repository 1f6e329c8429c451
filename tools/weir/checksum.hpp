#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace weir::tools {

/// A 128-bit XXH3 checksum: finds what a disk or a program did wrong, not what an attacker did.
struct checksum {
  std::uint64_t low;
  std::uint64_t high;
  friend bool operator==(const checksum&, const checksum&) = default;
};

checksum checksum_of(std::span<const std::byte> bytes) noexcept;

}  // namespace weir::tools
