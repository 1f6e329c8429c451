// weir in a GLib main loop, beside a timer that stands for the rest of a program.
//
//     glib FILE

#include <glib.h>

#include <cstdio>

#include "count_lines.hpp"
#include <weir/adapters/glib.hpp>

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  GMainLoop* loop = g_main_loop_new(nullptr, FALSE);
  int ticks = 0;
  const auto tick = [](gpointer count) -> gboolean {
    ++*static_cast<int*>(count);
    return G_SOURCE_CONTINUE;
  };
  const guint timer = g_timeout_add(1, tick, &ticks);

  auto driver = weir::open_driver();
  if (!driver) return report("no driver", {.error = driver.error()});
  weir::io_context context(std::move(*driver));
  weir::adapters::glib_attachment files(context);
  files.attach(nullptr);

  int outcome = 1;
  weir::spawn(context, count_lines(context, arguments[1], [&](line_count counted) {
                outcome = report(arguments[1], counted);
                g_main_loop_quit(loop);
              }));
  g_main_loop_run(loop);
  std::printf("%d ticks meanwhile\n", ticks);
  g_source_remove(timer);
  g_main_loop_unref(loop);
  return outcome;
}
