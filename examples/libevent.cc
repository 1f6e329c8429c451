// weir in a libevent loop, beside a timer that stands for the sockets of a server.
//
//     libevent FILE

#include <weir/adapters/libevent.hpp>

#include <cstdio>
#include <memory>

#include <event2/event.h>

#include "count_lines.hpp"

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  const std::unique_ptr<event_base, void (*)(event_base*)> base(event_base_new(), &event_base_free);
  int ticks = 0;
  const auto tick = [](evutil_socket_t, short, void* count) { ++*static_cast<int*>(count); };
  const std::unique_ptr<event, void (*)(event*)> timer(
      event_new(base.get(), -1, EV_PERSIST, tick, &ticks), &event_free);
  constexpr timeval millisecond{.tv_sec = 0, .tv_usec = 1'000};
  event_add(timer.get(), &millisecond);

  auto driver = weir::open_driver();
  if (!driver) return report("no driver", {.error = driver.error()});
  weir::io_context context(std::move(*driver));
  weir::adapters::libevent_attachment files(context);
  if (auto attached = files.attach(base.get()); !attached) {
    return report("libevent", {.error = attached.error()});
  }

  int outcome = 1;
  weir::spawn(context, count_lines(context, arguments[1], [&](line_count counted) {
                outcome = report(arguments[1], counted);
                files.detach();  // nothing is left, so the loop ends
                event_del(timer.get());
              }));
  event_base_dispatch(base.get());
  std::printf("%d ticks meanwhile\n", ticks);
  return outcome;
}
