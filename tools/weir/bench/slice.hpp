#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

#include "bench/regime.hpp"

namespace weir::tools::bench {

/// What one contestant does before it is another's turn: operations at offsets that are handed out
/// one after the other, until the time is over. Everything is laid out beforehand, so that
/// measuring costs a counter for each operation, and for some a look at the clock.
class slice {
 public:
  struct plan {
    regime what;
    std::span<const std::uint64_t> offsets;  ///< not empty
    std::size_t first = 0;                   ///< which of them is first; after the last comes [0]
    std::size_t most = 0;                    ///< operations
    std::chrono::nanoseconds length{};
    std::span<std::byte> memory;  ///< `depth` blocks
    const std::atomic<bool>* interrupted = nullptr;
  };

  explicit slice(const plan& planned) noexcept;

  const regime& what() const noexcept { return plan_.what; }

  /// The memory of the operation that is `lane`th of those in flight.
  std::span<std::byte> block(unsigned lane) const noexcept {
    return plan_.memory.subspan(lane * plan_.what.block, plan_.what.block);
  }

  /// Begins the time.
  void begin() noexcept;

  /// The next offset; false when the slice is over.
  bool next(std::uint64_t& offset) noexcept {
    if (until_look_ == 0 && !look()) return false;
    --until_look_;
    offset = plan_.offsets[position_];
    if (++position_ == plan_.offsets.size()) position_ = 0;
    return true;
  }

  void completed() noexcept { ++operations_; }
  /// Ends the slice.
  void fail(std::error_code why) noexcept;

  /// Ends the time.
  void end() noexcept;

  std::error_code error() const noexcept { return error_; }
  std::uint64_t operations() const noexcept { return operations_; }
  double seconds() const noexcept { return seconds_; }
  /// Processor time of the whole process, with its kernel threads.
  double cpu_seconds() const noexcept { return cpu_seconds_; }
  /// Where the next slice goes on.
  std::size_t position() const noexcept { return position_; }

 private:
  using clock = std::chrono::steady_clock;
  bool look() noexcept;

  plan plan_;
  std::size_t position_;
  std::size_t left_;
  unsigned look_every_;
  unsigned until_look_ = 0;
  std::uint64_t operations_ = 0;
  std::error_code error_;
  clock::time_point begun_;
  std::chrono::nanoseconds cpu_begun_{};
  double seconds_ = 0;
  double cpu_seconds_ = 0;
};

}  // namespace weir::tools::bench
