#pragma once

#include <time.h>

#include <cstdint>

namespace weir::detail {

/// CLOCK_MONOTONIC, the clock of `deadline`.
inline std::int64_t monotonic_now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace weir::detail
