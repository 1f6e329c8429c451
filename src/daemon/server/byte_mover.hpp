#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/server/buffer_leases.hpp"
#include "daemon/server/endpoint.hpp"

namespace weir::detail::daemon {

/// What one step towards a client has come to.
struct step_outcome {
  enum class wants : std::uint8_t { nothing, receiver, disk };

  std::size_t bytes = 0;
  wants next = wants::nothing;  ///< what has to be waited for before the next step
  int error = 0;
};

/// Reads what the page cache has: a count, 0 at the end of the file, or a negative errno; -EAGAIN
/// where the disk has to be asked.
long read_cached(int file, std::span<std::byte> memory, std::uint64_t offset) noexcept;

/// Moves a file's bytes to clients, step by step, never waiting. All transfers share its memory, of
/// which nothing is kept from one step to the next: what a client has not taken is read anew.
class byte_mover {
 public:
  byte_mover() : memory_(buffer_leases::size) {}

  /// At most `most` bytes from `offset` on, of those that are in the page cache.
  step_outcome send_cached(int file, std::uint64_t offset, std::uint64_t most,
                           const endpoint& to) noexcept;
  /// Bytes that are in memory.
  step_outcome send(std::span<const std::byte> bytes, const endpoint& to) noexcept;

  endpoint_io& io() noexcept { return io_; }

 private:
  buffer memory_;
  endpoint_io io_;
};

}  // namespace weir::detail::daemon
