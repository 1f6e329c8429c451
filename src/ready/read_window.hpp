#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "slot_operation.hpp"
#include "weir/buffer.hpp"

namespace weir::detail {

/// The reading half of a handle: its position, and two pieces of the file, of which one is being
/// read from while the other may be on its way. Under the slot's lock.
///
/// Answers are a count, 0 at the end of the file, or a negative errno; -EAGAIN for what would have
/// to wait.
class read_window {
 public:
  struct chunk : slot_operation {
    using slot_operation::slot_operation;

    enum class state : std::uint8_t { empty, filling, held, ended };
    state now = state::empty;
    bool stale = false;       // written to since it began to be filled
    bool last = false;        // came short: what is behind it may be the end
    std::int32_t told = 0;    // of `ended`: 0, or a negative errno
    std::uint64_t from = 0;   // where in the file `bytes` begins
    std::uint64_t until = 0;  // of `filling`: what was asked for
    std::span<const std::byte> bytes;
    buffer memory;

    bool covers(std::uint64_t position) const noexcept;
  };

  read_window(ready_slot& slot, operation::completion when_filled) noexcept
      : chunks_{chunk(slot, when_filled), chunk(slot, when_filled)} {}

  /// Before anything else is asked of it for another file.
  void begin(const ready_target& file, std::size_t most) noexcept;
  /// Frees what is held. Nothing is in flight.
  void end() noexcept;

  std::uint64_t position() const noexcept { return position_; }
  void seek(std::uint64_t position) noexcept;

  /// Reads, or begins to fill a chunk.
  std::int64_t try_read(std::span<std::byte> into) noexcept;

  /// A chunk's operation has completed.
  void filled(chunk& which) noexcept;

  /// Whether a read has to wait for what is on its way.
  bool waits() const noexcept;
  bool in_flight() const noexcept;

  /// The file is being written to there: what is known of that is no longer true.
  void forget(std::uint64_t from, std::uint64_t length) noexcept;

 private:
  chunk* held_at(std::uint64_t position) noexcept;
  chunk* reusable() noexcept;
  std::int64_t take(chunk& from, std::span<std::byte> into) noexcept;
  std::int64_t from_chunks(std::span<std::byte> into) noexcept;
  std::int64_t from_cache(std::span<std::byte> into) noexcept;
  std::int64_t ask_cache(std::span<std::byte> into) noexcept;
  bool fill(chunk& into, std::uint64_t from) noexcept;
  void read_ahead_of(const chunk& current) noexcept;

  std::array<chunk, 2> chunks_;
  ready_target file_;
  std::uint64_t position_ = 0;
  std::size_t most_ = 0;
  std::size_t ahead_ = 0;  // how much the next transfer asks for
  bool asks_cache_ = true;
  bool misses_ = false;  // the page cache did not have it: read ahead of the reader
};

}  // namespace weir::detail
