// The C library's functions for the time, in their place: those of a program come before it.

#include "campaign/faults/jumping_clock.hpp"

#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace {

std::atomic<bool> jumps = false;
std::atomic<std::uint64_t> asked = 0;

bool is_of_the_day(clockid_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

// Ten years ahead, ten years back, and so on.
std::int64_t jump() {
  constexpr std::int64_t ten_years = 10LL * 365 * 86'400;
  return asked.fetch_add(1) % 2 == 0 ? ten_years : -ten_years;
}

int real_clock_gettime(clockid_t clock, timespec* into) {
  return static_cast<int>(::syscall(SYS_clock_gettime, clock, into));
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* into) noexcept {
  const int answer = real_clock_gettime(clock, into);
  if (answer == 0 && jumps && is_of_the_day(clock)) into->tv_sec += jump();
  return answer;
}

int gettimeofday(timeval* into, void* /*zone*/) noexcept {
  timespec now{};
  const int answer = clock_gettime(CLOCK_REALTIME, &now);
  *into = {.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return answer;
}

time_t time(time_t* into) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (into != nullptr) *into = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"

namespace weir::campaign {

jumping_clock::jumping_clock() noexcept {
  asked = 0;
  jumps = true;
}
jumping_clock::~jumping_clock() { jumps = false; }
std::uint64_t jumping_clock::times_asked() noexcept { return asked; }

}  // namespace weir::campaign
