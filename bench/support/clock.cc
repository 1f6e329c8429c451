#include <time.h>

#include <ctime>

#include "support/contestant.hpp"

namespace weir::bench {
namespace {

clockid_t id_of(timed_by which) noexcept {
  switch (which) {
    case timed_by::process:
      return CLOCK_PROCESS_CPUTIME_ID;
    case timed_by::thread:
      return CLOCK_THREAD_CPUTIME_ID;
    case timed_by::wall:
      break;
  }
  return CLOCK_MONOTONIC;
}

}  // namespace

double seconds_now(timed_by by) noexcept {
  timespec time{};
  ::clock_gettime(id_of(by), &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace weir::bench
