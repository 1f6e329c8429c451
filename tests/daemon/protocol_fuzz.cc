// A fuzzer in the place of every client: `check` must judge any bytes without looking beyond them,
// and what it lets pass must hold what the daemon relies on. For libFuzzer (clang); the first byte
// is the number of descriptors, with the highest bit for a message that was cut off.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "daemon/protocol.hpp"

namespace {

using namespace weir::detail::daemon;

void demand(bool holds) {
  if (!holds) std::abort();
}

bool is_within(const void* begin, std::size_t size, std::span<const std::byte> whole) {
  const auto* const first = static_cast<const std::byte*>(begin);
  return first >= whole.data() && first + size <= whole.data() + whole.size();
}

void judge(std::span<const std::byte> bytes, const checked_frame& sound) {
  constexpr std::uint64_t offset_limit = INT64_MAX;
  const path_request& file = sound.file;
  demand(sound.header.size == bytes.size());
  demand(file.offset <= offset_limit);
  demand(file.length == to_the_end || file.length <= offset_limit - file.offset);
  demand(file.mode < 01000);
  demand(sound.path.empty() || is_within(sound.path.data(), sound.path.size(), bytes));
  demand(sound.path.size() <= path_max && sound.path.find('\0') == sound.path.npos);
  demand(sound.slots.empty() || is_within(sound.slots.data(), sound.slots.size(), bytes));
  demand(sound.operations.size() == sound.operation_count * sizeof(wire_operation));
  demand(sound.operations.empty() ||
         is_within(sound.operations.data(), sound.operations.size(), bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // Memory of exactly this size, so that a byte too far is noticed.
  const auto all = std::as_bytes(std::span(data, size)).subspan(1);
  const std::vector<std::byte> bytes(all.begin(), all.end());
  const frame came{
      .bytes = bytes, .descriptors = data[0] & 0x7fU, .cut_off = (data[0] & 0x80U) != 0};
  if (const auto judged = check(came)) judge(bytes, *judged);
  return 0;
}
