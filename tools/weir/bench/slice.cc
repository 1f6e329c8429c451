#include "bench/slice.hpp"

#include <time.h>

#include <algorithm>

namespace weir::tools::bench {
namespace {

// Of all threads, those of the kernel that work for this process, too.
std::chrono::nanoseconds processor_time() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

double in_seconds(std::chrono::nanoseconds time) noexcept {
  return std::chrono::duration<double>(time).count();
}

// A look at the clock takes a tenth of the time of a small read from memory, and nothing beside
// anything else.
unsigned operations_between_looks(const regime& what) noexcept {
  const bool small = what.block <= 4 * kib && what.work != work::durable_write;
  return small && what.cache == cache::warm ? 16 : 1;
}

}  // namespace

slice::slice(const plan& planned) noexcept
    : plan_(planned),
      position_(planned.first),
      left_(planned.most),
      look_every_(operations_between_looks(planned.what)) {}

void slice::begin() noexcept {
  cpu_begun_ = processor_time();
  begun_ = clock::now();
}

void slice::end() noexcept {
  seconds_ = in_seconds(clock::now() - begun_);
  cpu_seconds_ = in_seconds(processor_time() - cpu_begun_);
}

bool slice::look() noexcept {
  if (left_ == 0 || *plan_.interrupted || clock::now() - begun_ >= plan_.length) {
    left_ = 0;
    return false;
  }
  until_look_ = static_cast<unsigned>(std::min<std::size_t>(look_every_, left_));
  left_ -= until_look_;
  return true;
}

void slice::fail(std::error_code why) noexcept {
  if (!error_) error_ = why;
  left_ = 0;
  until_look_ = 0;
}

}  // namespace weir::tools::bench
