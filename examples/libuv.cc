// weir in a libuv loop, beside a timer that stands for the sockets of a server.
//
//     libuv FILE

#include <weir/adapters/libuv.hpp>

#include <uv.h>

#include <cstdio>

#include "count_lines.hpp"

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  uv_loop_t* loop = uv_default_loop();
  int ticks = 0;
  uv_timer_t timer;
  uv_timer_init(loop, &timer);
  timer.data = &ticks;
  uv_timer_start(&timer, [](uv_timer_t* self) { ++*static_cast<int*>(self->data); }, 1, 1);

  auto driver = weir::open_driver();
  if (!driver) return report("no driver", {.error = driver.error()});
  weir::io_context context(std::move(*driver));
  weir::adapters::libuv_attachment files(context);
  if (auto attached = files.attach(loop); !attached) {
    return report("libuv", {.error = attached.error()});
  }

  int outcome = 1;
  weir::spawn(context, count_lines(context, arguments[1], [&](line_count counted) {
                outcome = report(arguments[1], counted);
                files.detach();  // nothing is left, so the loop ends
                uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
              }));
  uv_run(loop, UV_RUN_DEFAULT);
  std::printf("%d ticks meanwhile\n", ticks);
  return uv_loop_close(loop) == 0 ? outcome : 1;
}
