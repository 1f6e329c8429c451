#pragma once

#include <cstdint>

#include "clock.hpp"

namespace weir::detail {

#if defined(__x86_64__)
inline std::uint64_t read_cycle_counter() noexcept { return __builtin_ia32_rdtsc(); }
#else
inline std::uint64_t read_cycle_counter() noexcept { return 0; }  // never chosen there
#endif

/// Time in ticks: the processor's cycle counter where the kernel keeps time by it (clock source
/// "tsc"), which takes half as long to read as clock_gettime(2) does; else CLOCK_MONOTONIC in
/// nanoseconds. A plain value; any thread.
class tick_source {
 public:
  /// The better of the two, here.
  static tick_source choose() noexcept;
  /// CLOCK_MONOTONIC.
  constexpr tick_source() noexcept = default;

  bool counts_cycles() const noexcept { return counts_cycles_; }
  std::uint64_t now() const noexcept {
    return counts_cycles_ ? read_cycle_counter() : static_cast<std::uint64_t>(monotonic_now_ns());
  }

 private:
  bool counts_cycles_ = false;
};

/// Knows how long a tick is, from having watched the source since it was made. Any thread.
class tick_gauge {
 public:
  explicit tick_gauge(tick_source source) noexcept : source_(source), made_(look()) {}

  tick_source source() const noexcept { return source_; }
  /// Nanoseconds. Waits until it has watched for a millisecond.
  double ns_per_tick() const noexcept;

 private:
  struct instant {
    std::uint64_t ticks;
    std::int64_t ns;
  };
  instant look() const noexcept;

  tick_source source_;
  instant made_;
};

}  // namespace weir::detail
