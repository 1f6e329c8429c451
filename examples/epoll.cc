// weir in an epoll loop of one's own, beside a timer that stands for the sockets of a server.
//
//     epoll FILE

#include <sys/epoll.h>

#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>

#include "count_lines.hpp"
#include <weir/adapters/epoll.hpp>

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  constexpr timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
  const itimerspec often{.it_interval = millisecond, .it_value = millisecond};
  epoll_event wanted{.events = EPOLLIN, .data = {.fd = timer}};
  if (::timerfd_settime(timer, 0, &often, nullptr) != 0 ||
      ::epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &wanted) != 0) {
    std::perror("epoll");
    return 1;
  }

  auto driver = weir::open_driver();
  if (!driver) return report("no driver", {.error = driver.error()});
  weir::io_context context(std::move(*driver));
  weir::adapters::epoll_attachment files(context);
  if (auto attached = files.attach(epoll); !attached) {
    return report("epoll", {.error = attached.error()});
  }

  std::optional<line_count> counted;
  weir::spawn(context, count_lines(context, arguments[1], [&](line_count c) { counted = c; }));
  std::uint64_t ticks = 0;
  std::array<epoll_event, 16> events{};
  while (!counted) {
    const auto ready = files.wait(events, -1);  // instead of epoll_wait(2)
    if (!ready) return report("epoll_wait", {.error = ready.error()});
    for (const epoll_event& event : std::span(events).first(*ready)) {
      std::uint64_t times = 0;
      if (::read(event.data.fd, &times, sizeof times) == sizeof times) ticks += times;
    }
  }
  std::printf("%llu ticks meanwhile\n", static_cast<unsigned long long>(ticks));
  ::close(timer);
  const int outcome = report(arguments[1], *counted);
  files.detach();
  ::close(epoll);
  return outcome;
}
