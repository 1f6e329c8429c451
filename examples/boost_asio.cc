// weir in Boost.Asio's loop: with a callback, with a coroutine of Asio's, and with one of weir's
// own.
//
//     boost_asio FILE

#include <weir/adapters/boost_asio.hpp>

#include <array>
#include <cstdio>
#include <exception>
#include <span>

#include <boost/asio.hpp>

#include "count_lines.hpp"

namespace net = ::boost::asio;

namespace {

// Asio's coroutine, weir's file: errors are in the values, so a buffer comes back in any case.
net::awaitable<std::size_t> size_of(weir::adapters::boost_asio_attachment& files,
                                    weir::io_context& context, const char* path) {
  auto file = co_await files.async(weir::open(context, path), net::use_awaitable);
  if (!file) co_return 0;
  std::size_t size = 0;
  while (true) {
    auto [count, data] =
        co_await files.async(file->read_at(weir::buffer(4096), size), net::use_awaitable);
    if (count.value_or(0) == 0) break;
    size += *count;
  }
  const auto closed = co_await files.async(file->close(), net::use_awaitable);
  co_return closed ? size : 0;
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  const char* path = arguments[1];
  auto driver = weir::open_driver();
  if (!driver) return report("no driver", {.error = driver.error()});
  net::io_context loop;  // outlives the context, which keeps handlers
  weir::io_context context(std::move(*driver));
  weir::adapters::boost_asio_attachment files(context, loop);
  if (auto attached = files.attach(); !attached) {
    return report("boost_asio", {.error = attached.error()});
  }

  int outcome = 1;
  const auto in_the_end = [&](const std::exception_ptr& thrown, std::size_t size) {
    if (thrown) return files.detach();
    std::printf("use_awaitable: %zu bytes\n", size);
    weir::spawn(context, count_lines(context, path, [&](line_count counted) {
                  outcome = report(path, counted);
                  files.detach();  // nothing is left, so the loop ends
                }));
  };
  // One after the other: who detaches while something is in flight leaves it there, and the loop
  // would wait for it.
  files.async(weir::status(context, path), [&](const auto& status) {
    if (status)
      std::printf("a callback: %llu bytes\n", static_cast<unsigned long long>(status->size));
    net::co_spawn(loop, size_of(files, context, path), in_the_end);
  });
  loop.run();
  return outcome;
}
