#include "stall_meter.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace http_file_server {
namespace {

constexpr std::chrono::milliseconds period{1};

// steady_clock is CLOCK_MONOTONIC.
timespec as_timespec(std::chrono::nanoseconds time) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  return {.tv_sec = seconds.count(), .tv_nsec = (time - seconds).count()};
}

}  // namespace

stall_meter::~stall_meter() {
  if (timer_ >= 0) ::close(timer_);
}

weir::result<void> stall_meter::start() noexcept {
  due_ = loop_clock::now() + period;
  const itimerspec times{.it_interval = as_timespec(period),
                         .it_value = as_timespec(due_.time_since_epoch())};
  timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer_ < 0 || ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &times, nullptr) != 0) {
    return std::unexpected(std::error_code(errno, std::system_category()));
  }
  return loop_.watch(timer_, EPOLLIN, *this);
}

void stall_meter::on_events(std::uint32_t) noexcept {
  std::uint64_t expirations = 0;
  const auto now = loop_clock::now();
  if (::read(timer_, &expirations, sizeof expirations) != sizeof expirations) return;
  worst_ = std::max<std::chrono::nanoseconds>(worst_, now - due_);
  due_ += period * expirations;
}

}  // namespace http_file_server
