// One file, read in every way that weir can tell of: a coroutine, a callback, an embedded callback,
// a future, a worker's thread; with a deadline, with a stop token, and several at once.
//
//     ways_to_hear FILE

#include <array>
#include <chrono>
#include <cstdio>
#include <span>
#include <stop_token>
#include <utility>

#include <weir/future.hpp>
#include <weir/weir.hpp>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t block = 4096;

void say(const char* who, const weir::result<std::size_t>& count) {
  if (count) {
    std::printf("%-28s %zu bytes\n", who, *count);
  } else {
    std::printf("%-28s %s\n", who, count.error().message().c_str());
  }
}

// A coroutine reads like blocking code. The buffer travels, and comes back whatever happens.
weir::task<> by_coroutine(weir::file& file) {
  weir::buffer_result read = co_await file.read_at(weir::buffer(block), 0);
  say("a coroutine", read.transferred);
}

// Three reads in flight, one wait.
weir::task<> all_at_once(weir::file& file) {
  std::array<std::array<std::byte, block>, 3> memory;
  auto [first, second, third] =
      co_await weir::when_all(file.read_at(memory[0], 0), file.read_at(memory[1], block),
                              file.read_at(memory[2], 2 * block));
  say("when_all, the first", first);
  say("when_all, the second", second);
  say("when_all, the third", third);
}

// What takes too long is given up; what was done all the same is delivered.
weir::task<> with_limits(weir::io_context& context, weir::file& file) {
  std::array<std::byte, block> memory;
  say("within a second", co_await weir::with_deadline(file.read_at(memory, 0), 1s));
  const auto slept = co_await weir::with_deadline(context.sleep_for(1h), 1ms);
  std::printf("%-28s %s\n", "an hour's sleep, within 1 ms", slept.error().message().c_str());
  std::stop_source source;
  source.request_stop();
  say("stopped before it began",
      co_await weir::with_stop(file.read_at(memory, 0), source.get_token()));
}

// A callback embedded in an object of one's own: nothing is allocated.
struct page {
  struct handler {
    void operator()(weir::result<std::size_t> count) const { say("an embedded callback", count); }
  };
  explicit page(weir::file& file) : read(file.read_at(memory, 0), handler{}) {}

  std::array<std::byte, block> memory;
  weir::callback_operation<weir::io_sender, handler> read;
};

// On a context of this thread's own.
weir::task<int> on_this_thread(weir::io_context& context, const char* path) {
  auto file = co_await weir::open(context, path);
  if (!file) {
    std::fprintf(stderr, "ways_to_hear: cannot open %s: %s\n", path,
                 file.error().message().c_str());
    co_return 1;
  }
  co_await by_coroutine(*file);
  co_await all_at_once(*file);
  co_await with_limits(context, *file);

  page embedded(*file);
  embedded.read.start();
  weir::start(file->read_at(weir::buffer(block), 0),
              [](weir::buffer_result read) { say("a callback", read.transferred); });
  const auto closed = co_await file->close();  // after both
  co_return closed ? 0 : 1;
}

// On a thread with a context, for programs whose own threads do something else.
int on_a_thread_of_its_own(const char* path) {
  weir::workers workers(2);
  weir::io_thread thread;
  auto file = weir::as_future(weir::open(thread.context(), path)).get();
  if (!file) return 1;
  say("a future", weir::as_future(file->read_at(weir::buffer(block), 0)).get().transferred);
  weir::start(file->read_at(weir::buffer(block), 0), workers,
              [](weir::buffer_result read) { say("a worker's thread", read.transferred); });
  return weir::as_future(file->close()).get() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: ways_to_hear FILE\n");
    return 2;
  }
  auto driver = weir::open_driver();
  if (!driver) {
    std::fprintf(stderr, "ways_to_hear: no driver: %s\n", driver.error().message().c_str());
    return 1;
  }
  weir::io_context context(std::move(*driver));
  if (const int failed = context.run(on_this_thread(context, arguments[1]))) return failed;
  return on_a_thread_of_its_own(arguments[1]);
}
