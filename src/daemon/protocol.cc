#include "daemon/protocol.hpp"

#include <cerrno>
#include <limits>

namespace weir::detail::daemon {
namespace {

using bytes = std::span<const std::byte>;
using checked = std::expected<checked_frame, int>;

constexpr std::uint64_t offset_limit = std::numeric_limits<std::int64_t>::max();

namespace flag = transfer_flag;

std::uint32_t flags_of(message kind) noexcept {
  switch (kind) {
    case message::receive:
    case message::write_memory:
      return flag::lock | flag::create | flag::exclusive | flag::truncate | flag::durable;
    case message::sync:
      return flag::data_only;
    case message::stat:
      return 0;
    default:
      return flag::lock;
  }
}

bool in_range(std::uint64_t offset, std::uint64_t length) noexcept {
  if (offset > offset_limit) return false;
  return length == to_the_end || length <= offset_limit - offset;
}

int judge(const path_request& asked) noexcept {
  if (!in_range(asked.offset, asked.length)) return EINVAL;
  if ((asked.flags & ~flags_of(asked.header.kind)) != 0) return EINVAL;
  if ((asked.flags & flag::exclusive) != 0 && (asked.flags & flag::create) == 0) return EINVAL;
  return asked.mode < 01000 ? 0 : EINVAL;
}

int judge_path(std::string_view path) noexcept {
  if (path.empty()) return EBADMSG;
  if (path.size() > path_max) return ENAMETOOLONG;
  return path.find('\0') == std::string_view::npos ? 0 : EBADMSG;
}

checked with_path(checked_frame sound, bytes rest) noexcept {
  sound.path = {reinterpret_cast<const char*>(rest.data()), rest.size()};
  if (const int error = judge(sound.file)) return std::unexpected(error);
  if (const int error = judge_path(sound.path)) return std::unexpected(error);
  return sound;
}

checked check_path(checked_frame sound, bytes all) noexcept {
  if (all.size() < sizeof(path_request)) return std::unexpected(EBADMSG);
  sound.file = read_as<path_request>(all);
  return with_path(sound, all.subspan(sizeof(path_request)));
}

// Both the file's range and the memory's: a length is needed that is one.
checked check_memory(checked_frame sound, bytes all) noexcept {
  if (all.size() < sizeof(memory_request)) return std::unexpected(EBADMSG);
  const auto asked = read_as<memory_request>(all);
  sound.file = asked.file;
  sound.memory_offset = asked.memory_offset;
  if (asked.file.length == to_the_end || !in_range(asked.memory_offset, asked.file.length)) {
    return std::unexpected(EINVAL);
  }
  return with_path(sound, all.subspan(sizeof(memory_request)));
}

checked check_id(checked_frame sound, bytes all) noexcept {
  if (all.size() != sizeof(id_request)) return std::unexpected(EBADMSG);
  sound.id = read_as<id_request>(all).id;
  return sound;
}

checked check_nothing(checked_frame sound, bytes all) noexcept {
  if (all.size() != sizeof(frame_header)) return std::unexpected(EBADMSG);
  return sound;
}

checked check_attach(checked_frame sound, bytes all) noexcept {
  if (all.size() != sizeof(attach_request)) return std::unexpected(EBADMSG);
  sound.attach = read_as<attach_request>(all);
  const attach_request& asked = sound.attach;
  if (asked.reserved != 0) return std::unexpected(EBADMSG);
  const bool sound_depth = asked.queue_depth > 0 && asked.queue_depth <= client_queue_depth_max;
  if (!sound_depth || asked.memory_size == 0 || asked.memory_size > offset_limit) {
    return std::unexpected(EINVAL);
  }
  return sound;
}

bool all_slots_exist(bytes slots) noexcept {
  for (std::size_t i = 0; i < slots.size() / sizeof(std::uint32_t); ++i) {
    if (read_as<std::uint32_t>(slots, i) >= slots_max) return false;
  }
  return true;
}

// Sizes first, in numbers that cannot overflow: both counts are small.
checked check_batch(checked_frame sound, bytes all, std::size_t descriptors) noexcept {
  if (all.size() < sizeof(batch_request)) return std::unexpected(EBADMSG);
  const auto asked = read_as<batch_request>(all);
  const bytes rest = all.subspan(sizeof(batch_request));
  const std::size_t numbers = asked.slot_count * sizeof(std::uint32_t);
  const std::size_t aligned = (numbers + 7) & ~std::size_t{7};
  const std::uint64_t wanted =
      aligned + std::uint64_t{asked.operation_count} * sizeof(wire_operation);
  if (wanted != rest.size()) return std::unexpected(EBADMSG);
  if (descriptors + asked.forget_count != asked.slot_count) return std::unexpected(EBADMSG);
  sound.slots = rest.first(numbers);
  sound.operations = rest.subspan(aligned);
  if (!all_slots_exist(sound.slots)) return std::unexpected(EINVAL);
  sound.slot_count = asked.slot_count;
  sound.forget_count = asked.forget_count;
  sound.operation_count = asked.operation_count;
  return sound;
}

checked check_body(const checked_frame& sound, const frame& came) noexcept {
  switch (sound.header.kind) {
    case message::read:
    case message::send:
    case message::open:
    case message::receive:
    case message::stat:
    case message::sync:
      return check_path(sound, came.bytes);
    case message::read_memory:
    case message::write_memory:
      return check_memory(sound, came.bytes);
    case message::send_open:
    case message::cancel:
      return check_id(sound, came.bytes);
    case message::info:
    case message::metrics:
      return check_nothing(sound, came.bytes);
    case message::attach:
      return check_attach(sound, came.bytes);
    case message::submit:
      return check_batch(sound, came.bytes, came.descriptors);
    default:
      return std::unexpected(ENOSYS);
  }
}

}  // namespace

descriptor_count descriptors_of(message kind) noexcept {
  switch (kind) {
    case message::send:
    case message::read_memory:
    case message::receive:
    case message::write_memory:
      return {.least = 2, .most = 2};
    case message::stat:
    case message::sync:
    case message::cancel:
    case message::info:
      return {.least = 0, .most = 1};
    case message::submit:
      return {.least = 0, .most = descriptors_max};
    default:
      return {.least = 1, .most = 1};
  }
}

checked check(const frame& came) noexcept {
  if (came.cut_off || came.bytes.size() > frame_max) return std::unexpected(EMSGSIZE);
  if (came.bytes.size() < sizeof(frame_header)) return std::unexpected(EBADMSG);
  checked_frame sound{.header = read_as<frame_header>(came.bytes)};
  if (sound.header.version != protocol_version) return std::unexpected(EPROTONOSUPPORT);
  if (sound.header.size != came.bytes.size()) return std::unexpected(EBADMSG);
  auto judged = check_body(sound, came);
  if (!judged) return judged;
  const auto [least, most] = descriptors_of(sound.header.kind);
  if (came.descriptors < least || came.descriptors > most) return std::unexpected(EBADMSG);
  return judged;
}

}  // namespace weir::detail::daemon
