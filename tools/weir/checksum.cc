#include "checksum.hpp"

#include <xxhash.h>

namespace weir::tools {

checksum checksum_of(std::span<const std::byte> bytes) noexcept {
  const XXH128_hash_t sum = XXH3_128bits(bytes.data(), bytes.size());
  return {.low = sum.low64, .high = sum.high64};
}

}  // namespace weir::tools
