#include "daemon/server/byte_mover.hpp"

#include <linux/fs.h>

#include <algorithm>
#include <cerrno>

#include "resident_read.hpp"

namespace weir::detail::daemon {

// tmpfs cannot say what is in memory, and all of it is. Others that cannot say are asked as if it
// were on the disk.
long read_cached(int file, std::span<std::byte> memory, std::uint64_t offset) noexcept {
  const iovec part{memory.data(), memory.size()};
  const long answer = preadv2_directly(file, part, offset, RWF_NOWAIT);
  if (answer == -EINTR) return -EAGAIN;
  if (answer != -EOPNOTSUPP) return answer;
  return is_memory(file) ? preadv2_directly(file, part, offset, 0) : -EAGAIN;
}

step_outcome byte_mover::send_cached(int file, std::uint64_t offset, std::uint64_t most,
                                     const endpoint& to) noexcept {
  const auto memory = std::span(memory_.data(), std::min<std::uint64_t>(most, memory_.size()));
  const long there = read_cached(file, memory, offset);
  if (there == -EAGAIN) return {.next = step_outcome::wants::disk};
  if (there < 0) return {.error = static_cast<int>(-there)};
  if (there == 0) return {.error = ENODATA};
  return send(memory.first(static_cast<std::size_t>(there)), to);
}

step_outcome byte_mover::send(std::span<const std::byte> bytes, const endpoint& to) noexcept {
  const long taken = io_.write(to, bytes);
  if (taken == -EAGAIN) return {.next = step_outcome::wants::receiver};
  if (taken < 0) return {.error = static_cast<int>(-taken)};
  const auto moved = static_cast<std::size_t>(taken);
  const bool all = moved == bytes.size();
  return {.bytes = moved,
          .next = all ? step_outcome::wants::nothing : step_outcome::wants::receiver};
}

}  // namespace weir::detail::daemon
