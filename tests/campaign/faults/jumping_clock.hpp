#pragma once

#include <cstdint>

namespace weir::campaign {

/// While one lives, the clock of the day jumps by years, back and forth, whenever this process asks
/// what it is (clock_gettime(2) of CLOCK_REALTIME and its like, gettimeofday(2), time(2)). The
/// machine's own is not touched.
class jumping_clock {
 public:
  jumping_clock() noexcept;
  jumping_clock(const jumping_clock&) = delete;
  jumping_clock& operator=(const jumping_clock&) = delete;
  ~jumping_clock();

  /// How often it has been asked for, since it jumps.
  static std::uint64_t times_asked() noexcept;
};

}  // namespace weir::campaign
