// weir in a libev loop, beside a timer that stands for the sockets of a server.
//
//     libev FILE

#include <weir/adapters/libev.hpp>

#include <cstdio>

#include <ev++.h>

#include "count_lines.hpp"

namespace {

struct ticker {
  void tick(ev::timer&, int) { ++ticks; }
  int ticks = 0;
};

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  ev::default_loop loop;
  ticker ticking;
  ev::timer timer(loop);
  timer.set<ticker, &ticker::tick>(&ticking);
  timer.start(0.001, 0.001);

  auto driver = weir::open_driver();
  if (!driver) return report("no driver", {.error = driver.error()});
  weir::io_context context(std::move(*driver));
  weir::adapters::libev_attachment files(context);
  files.attach(loop);

  int outcome = 1;
  weir::spawn(context, count_lines(context, arguments[1], [&](line_count counted) {
                outcome = report(arguments[1], counted);
                files.detach();  // nothing is left, so the loop ends
                timer.stop();
              }));
  loop.run();
  std::printf("%d ticks meanwhile\n", ticking.ticks);
  return outcome;
}
