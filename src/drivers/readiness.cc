#include "drivers/readiness.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "clock.hpp"
#include "perform.hpp"

namespace weir::detail {

readiness::~readiness() {
  if (clock_ >= 0) ::close(clock_);
}

std::expected<void, refusal> readiness::open() noexcept {
  const auto refused = [](const char* call, int error) {
    return std::unexpected(refusal{call, error});
  };
  if (const int error = event_.open(); error < 0) return refused("eventfd", -error);
  if (const int error = polls_.open(); error < 0) return refused("epoll_create1", -error);
  clock_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (clock_ < 0) return refused("timerfd_create", errno);
  for (const int each : {event_.fd(), clock_}) {
    if (const int error = polls_.show(each); error < 0) return refused("epoll_ctl", -error);
  }
  return {};
}

void readiness::start(operation& op) noexcept {
  int error = out_of_range(op.args) ? -EINVAL : 0;
  if (error == 0 && op.args.op == opcode::poll) return polls_.start(op, finished_);
  if (error == 0) error = timers_.insert(op);
  if (error == 0) return;
  op.set_answer(error);
  finished_.push_back(op);
}

int readiness::cancel(operation& target) noexcept {
  if (timers_.remove(target)) {
    target.set_answer(-ECANCELED);
    finished_.push_back(target);
    return 0;
  }
  return polls_.cancel(target, finished_) ? 0 : -ENOENT;
}

void readiness::cancel_named(const request& cancel) noexcept {
  timers_.cancel_named(cancel, finished_);
  polls_.cancel_named(cancel, finished_);
}

void readiness::collect(operation_queue& completed) noexcept {
  completed.append(std::move(finished_));
  polls_.collect(completed);
  timers_.expire(completed);
  if (shown()) show_time();
}

// As long as there is nothing to poll, what wakes is all there is to look at.
void readiness::wait(deadline until) const noexcept {
  const deadline earliest = timers_.earliest();
  if (earliest.monotonic_ns < until.monotonic_ns) until = earliest;
  wait_readable(polls_.empty() ? event_.fd() : polls_.fd(), until);
}

// What has come until now, and the timeouts, show only from the next look on.
int readiness::fd() const noexcept {
  if (!shown_.exchange(true)) event_.signal();
  return polls_.fd();
}

// Set again only for an earlier time, or when it has run out: so an fd() may show a time for which
// nobody waits any more, once; but a clock is not set for each timeout that starts and is
// cancelled.
void readiness::show_time() noexcept {
  const deadline earliest = timers_.earliest();
  const bool has_run_out =
      clock_set_to_ != deadline::never() && clock_set_to_.monotonic_ns <= monotonic_now_ns();
  if (!has_run_out && earliest.monotonic_ns >= clock_set_to_.monotonic_ns) return;
  clock_set_to_ = earliest;
  itimerspec time{};  // zero: never
  if (earliest != deadline::never()) {
    const std::int64_t ns = std::max<std::int64_t>(1, earliest.monotonic_ns);
    time.it_value = {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  }
  ::timerfd_settime(clock_, TFD_TIMER_ABSTIME, &time, nullptr);
}

}  // namespace weir::detail
