#include "drivers/event_fd.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "clock.hpp"

namespace weir::detail {

event_fd::~event_fd() {
  if (fd_ >= 0) ::close(fd_);
}

int event_fd::open() noexcept {
  fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd_ >= 0 ? 0 : -errno;
}

void event_fd::signal() noexcept {
  if (signalled_.exchange(true)) return;
  const std::uint64_t one = 1;
  while (::write(fd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

// A signal that has set its flag and not yet written leaves nothing to read: then the flag stays,
// so that its write, when it comes, belongs to a signal that the next call clears.
bool event_fd::clear() noexcept {
  if (!signalled_.load(std::memory_order_acquire)) return false;
  if (read_count()) signalled_.exchange(false, std::memory_order_acq_rel);
  return true;
}

bool event_fd::drain() noexcept {
  if (!read_count()) return false;
  signalled_.exchange(false, std::memory_order_acq_rel);
  return true;
}

bool event_fd::drain_signals() noexcept {
  return read_count() && signalled_.exchange(false, std::memory_order_acq_rel);
}

bool event_fd::read_count() const noexcept {
  std::uint64_t count;
  for (;;) {
    if (::read(fd_, &count, sizeof count) >= 0) return true;
    if (errno != EINTR) return false;
  }
}

void wait_readable(int fd, deadline until) noexcept {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  for (;;) {
    timespec left{};
    const bool forever = until == deadline::never();
    if (!forever) {
      const std::int64_t now = monotonic_now_ns();
      const std::int64_t ns = until.monotonic_ns > now ? until.monotonic_ns - now : 0;
      left = {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
    }
    if (::ppoll(&waiting, 1, forever ? nullptr : &left, nullptr) >= 0 || errno != EINTR) return;
  }
}

}  // namespace weir::detail
