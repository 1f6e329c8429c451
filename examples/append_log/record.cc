#include "record.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace append_log {
namespace {

std::uint64_t checksum_of(std::span<const std::byte> whole) noexcept {
  const auto summed = whole.subspan(sizeof(record_header::checksum));
  return XXH3_64bits(summed.data(), summed.size());
}

}  // namespace

void put_record(std::vector<std::byte>& into, const record& what) {
  const std::size_t begin = into.size();
  into.resize(begin + size_of(what.bytes));
  const std::span<std::byte> whole = std::span(into).subspan(begin);
  record_header header{.checksum = 0, .sequence = what.sequence, .length = what.bytes.size()};
  std::memcpy(whole.data(), &header, sizeof header);
  std::ranges::copy(what.bytes, whole.begin() + sizeof header);
  header.checksum = checksum_of(whole);
  std::memcpy(whole.data(), &header.checksum, sizeof header.checksum);
}

std::optional<record> take_record(std::span<const std::byte> segment, std::uint64_t expected,
                                  bool check_sum) {
  record_header header{};
  if (segment.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, segment.data(), sizeof header);
  if (header.sequence != expected) return std::nullopt;
  if (header.length > segment.size() - sizeof header) return std::nullopt;
  const auto whole = segment.first(sizeof header + header.length);
  if (check_sum && header.checksum != checksum_of(whole)) return std::nullopt;
  return record{header.sequence, whole.subspan(sizeof header)};
}

}  // namespace append_log
