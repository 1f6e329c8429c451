// What a client may say, judged by check(): a fuzzer stands in for every client. Whatever is
// accepted keeps its promises, and nothing outside the frame is read (by the address sanitizer).
//
// An input is one byte for the number of descriptors and whether the kernel cut something off, then
// the message. Run by `make fuzz`; what it has found once is in fuzz/protocol_frame/.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/protocol.hpp"
#include "support/promise.hpp"

namespace {

using namespace weir::detail::daemon;
using weir::fuzzing::promise;

constexpr std::uint64_t offset_limit = INT64_MAX;

bool lies_within(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

bool in_range(std::uint64_t offset, std::uint64_t length) {
  return offset <= offset_limit && (length == to_the_end || length <= offset_limit - offset);
}

void promises_about_descriptors(const checked_frame& sound, std::size_t descriptors) {
  const auto [least, most] = descriptors_of(sound.header.kind);
  promise(descriptors >= least && descriptors <= most);
}

void promises_about_a_path(const checked_frame& sound, std::span<const std::byte> bytes) {
  if (sound.path.empty()) return;
  promise(lies_within(std::as_bytes(std::span(sound.path)), bytes));
  promise(sound.path.size() <= path_max);
  promise(sound.path.find('\0') == std::string_view::npos);
  promise(in_range(sound.file.offset, sound.file.length));
  promise((sound.file.flags & ~transfer_flag::all) == 0 && sound.file.mode < 01000);
}

void promises_about_memory(const checked_frame& sound) {
  const message kind = sound.header.kind;
  if (kind == message::read_memory || kind == message::write_memory) {
    promise(sound.file.length != to_the_end);
    promise(in_range(sound.memory_offset, sound.file.length));
  }
  if (kind == message::attach) {
    promise(sound.attach.queue_depth > 0);
    promise(sound.attach.queue_depth <= client_queue_depth_max);
    promise(sound.attach.memory_size > 0 && sound.attach.memory_size <= offset_limit);
  }
}

// Everything that the server goes through, by the counts that it goes by.
void promises_about_a_batch(const checked_frame& sound, std::span<const std::byte> bytes,
                            std::size_t descriptors) {
  if (sound.header.kind != message::submit) return;
  promise(lies_within(sound.slots, bytes) && lies_within(sound.operations, bytes));
  promise(sound.slots.size() == sound.slot_count * sizeof(std::uint32_t));
  promise(sound.operations.size() == sound.operation_count * sizeof(wire_operation));
  promise(descriptors + sound.forget_count == sound.slot_count);
  for (std::size_t i = 0; i < sound.slot_count; ++i) {
    promise(read_as<std::uint32_t>(sound.slots, i) < slots_max);
  }
  std::uint64_t read = 0;
  for (std::size_t i = 0; i < sound.operation_count; ++i) {
    read += read_as<wire_operation>(sound.operations, i).length;
  }
  [[maybe_unused]] volatile const std::uint64_t kept = read;  // so that it is not left out
}

void judge(std::span<const std::byte> bytes, std::size_t descriptors, bool cut_off) {
  const auto sound = check({.bytes = bytes, .descriptors = descriptors, .cut_off = cut_off});
  if (!sound) return promise(sound.error() > 0);
  promise(!cut_off && bytes.size() <= frame_max);
  promise(sound->header.size == bytes.size() && sound->header.version == protocol_version);
  promises_about_descriptors(*sound, descriptors);
  promises_about_a_path(*sound, bytes);
  promises_about_memory(*sound);
  promises_about_a_batch(*sound, bytes, descriptors);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t descriptors = data[0] & 0x7F;
  const bool cut_off = (data[0] & 0x80) != 0;
  // A copy of exactly that size, so that a byte too far is seen.
  const auto input = std::as_bytes(std::span(data, size)).subspan(1);
  const std::vector<std::byte> message(input.begin(), input.end());
  judge(message, descriptors, cut_off);
  return 0;
}
