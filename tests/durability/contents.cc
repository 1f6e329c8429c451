#include "durability/contents.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace weir::scenarios {
namespace {

// Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

// FNV-1a.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325;
  for (const char each : text) value = (value ^ static_cast<unsigned char>(each)) * 0x100000001b3;
  return value;
}

/// A byte at each place of an endless file, which is the same on every machine.
class byte_sequence {
 public:
  byte_sequence(std::uint64_t seed, std::string_view name) : key_(drawn(seed, name)) {}
  std::byte at(std::uint64_t offset) {
    if (offset / 8 != word_) {
      word_ = offset / 8;
      value_ = mixed(key_ + word_);
    }
    return static_cast<std::byte>(value_ >> offset % 8 * 8);
  }

 private:
  std::uint64_t key_;
  std::uint64_t word_ = UINT64_MAX;
  std::uint64_t value_ = 0;
};

struct version_header {
  std::uint64_t version;
  std::uint64_t size;
};
static_assert(sizeof(version_header) == smallest_version);

std::string name_of(std::string_view name, std::uint64_t version) {
  return std::string(name) + '#' + std::to_string(version);
}

}  // namespace

std::uint64_t drawn(std::uint64_t seed, std::string_view name, std::uint64_t purpose) {
  return mixed(mixed(seed ^ hash(name)) + purpose);
}

void fill(std::span<std::byte> memory, std::uint64_t seed, std::string_view name,
          std::uint64_t offset) {
  byte_sequence sequence(seed, name);
  for (std::byte& each : memory) each = sequence.at(offset++);
}

bool is_filled(std::span<const std::byte> memory, std::uint64_t seed, std::string_view name,
               std::uint64_t offset) {
  byte_sequence sequence(seed, name);
  return std::ranges::all_of(memory, [&](std::byte each) { return each == sequence.at(offset++); });
}

std::vector<std::byte> make_version(std::uint64_t seed, std::string_view name,
                                    std::uint64_t version, std::size_t size) {
  std::vector<std::byte> bytes(std::max(size, smallest_version));
  const version_header header{.version = version, .size = bytes.size()};
  std::memcpy(bytes.data(), &header, sizeof header);
  fill(std::span(bytes).subspan(sizeof header), seed, name_of(name, version));
  return bytes;
}

std::optional<std::uint64_t> version_in(std::span<const std::byte> bytes, std::uint64_t seed,
                                        std::string_view name) {
  version_header header{};
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  const bool whole = header.size == bytes.size() &&
                     is_filled(bytes.subspan(sizeof header), seed, name_of(name, header.version));
  return whole ? std::optional(header.version) : std::nullopt;
}

task<result<std::vector<std::byte>>> contents_of(io_context& context, std::string path) {
  result<file> opened = co_await open(context, path);
  if (!opened) co_return std::unexpected(opened.error());
  const result<file_status> status = co_await opened->stat();
  std::vector<std::byte> bytes(status ? status->size : 0);
  const transfer_result read = co_await opened->read_exactly_at(bytes, 0);
  const result<void> closed = co_await opened->close();
  if (!status) co_return std::unexpected(status.error());
  if (!read) co_return std::unexpected(read.error());
  if (!closed) co_return std::unexpected(closed.error());
  co_return bytes;
}

std::string failure(std::string_view verb, std::string_view path, std::error_code why) {
  return "cannot " + std::string(verb) + " '" + std::string(path) + "': " + why.message();
}

}  // namespace weir::scenarios
