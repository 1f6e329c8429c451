#include <time.h>

#include <ctime>

#include "support/contestant.hpp"

namespace weir::bench {
namespace {

clockid_t id_of(clock which) noexcept {
  switch (which) {
    case clock::process:
      return CLOCK_PROCESS_CPUTIME_ID;
    case clock::thread:
      return CLOCK_THREAD_CPUTIME_ID;
    case clock::wall:
      break;
  }
  return CLOCK_MONOTONIC;
}

}  // namespace

double seconds_now(clock by) noexcept {
  timespec time{};
  ::clock_gettime(id_of(by), &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace weir::bench
