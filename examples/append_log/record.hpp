#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

/// What stands in a segment: records, one behind the other, each behind its header.
namespace append_log {

struct record_header {
  std::uint64_t checksum;  ///< of the rest of the header and the record's bytes
  std::uint64_t sequence;  ///< 1, 2, 3, … through all segments
  std::uint64_t length;
};

struct record {
  std::uint64_t sequence;
  std::span<const std::byte> bytes;
};

/// What `bytes` take in a segment.
constexpr std::size_t size_of(std::span<const std::byte> bytes) noexcept {
  return sizeof(record_header) + bytes.size();
}

/// Throws std::bad_alloc, and has done nothing then.
void put_record(std::vector<std::byte>& into, const record& what);

/// The record that `segment` begins with, if it is there, whole, and the one that is expected. With
/// `check_sum` false it is believed to be whole where it is long enough.
std::optional<record> take_record(std::span<const std::byte> segment, std::uint64_t expected,
                                  bool check_sum);

}  // namespace append_log
