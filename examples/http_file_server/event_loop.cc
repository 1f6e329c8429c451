#include "event_loop.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

namespace http_file_server {

event_loop::~event_loop() {
  files_.detach();
  if (epoll_ >= 0) ::close(epoll_);
}

weir::result<void> event_loop::open() noexcept {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return std::unexpected(std::error_code(errno, std::system_category()));
  return files_.attach(epoll_);
}

weir::result<void> event_loop::watch(int fd, std::uint32_t events, watcher& whom) noexcept {
  epoll_event wanted{.events = events, .data = {.ptr = &whom}};
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted) == 0) return {};
  return std::unexpected(std::error_code(errno, std::system_category()));
}

void event_loop::forget(int fd) noexcept { ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

weir::result<void> event_loop::turn(loop_clock::time_point until) noexcept {
  std::array<epoll_event, events_in_a_turn> events;
  const auto ready = files_.wait(events, wait_time(until));
  if (!ready) return std::unexpected(ready.error());
  now_ = loop_clock::now();
  for (const epoll_event& event : std::span(events).first(*ready)) {
    static_cast<watcher*>(event.data.ptr)->on_events(event.events);
  }
  tell_deadlines();
  run_runnable();
  return {};
}

int event_loop::wait_time(loop_clock::time_point until) const noexcept {
  using std::chrono::milliseconds;
  if (!runnable_.empty()) return 0;
  if (!deadlines_.empty()) until = std::min(until, deadlines_.front().due_);
  if (until == loop_clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<milliseconds>(until - loop_clock::now());
  return static_cast<int>(std::clamp(left, milliseconds(0), milliseconds(60'000)).count());
}

void event_loop::set(deadline& whom) noexcept {
  clear(whom);
  whom.due_ = now_ + timeout_;
  deadlines_.push_back(whom);
}

void event_loop::tell_deadlines() noexcept {
  while (!deadlines_.empty() && deadlines_.front().due_ <= now_) {
    deadline& first = deadlines_.front();
    clear(first);
    first.on_deadline();
  }
}

// Those who ask for a turn again get it in the next one.
void event_loop::run_runnable() noexcept {
  running_.swap(runnable_);
  for (const auto waiter : running_) waiter.resume();
  running_.clear();
}

}  // namespace http_file_server
