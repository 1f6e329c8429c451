// The name of a driver, as a command line or the environment may have it: what it is wrapped in,
// and a daemon's name or socket. Before a NUL stands the seed of faults (WEIR_FAULT_SEED). Of
// drivers that are there only `sync` is opened, for that takes no time.

#include <stdlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/promise.hpp"
#include "support/texts.hpp"
#include "support/variable.hpp"
#include "weir/weir.hpp"

namespace {

using weir::fuzzing::promise;

bool takes_time(std::string_view name) {
  constexpr std::array kept = {"", "uring", "linux_aio", "threads"};
  return std::ranges::find(kept, name.substr(name.rfind(':') + 1)) != kept.end();
}

void promises_about_a_driver(std::unique_ptr<weir::driver> opened) {
  weir::io_context context(std::move(opened));
  const auto done = context.run([](weir::io_context& on) -> weir::task<weir::result<void>> {
    co_return co_await on.schedule();
  }(context));
  promise(done.has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static weir::fuzzing::variable seed("WEIR_FAULT_SEED");
  std::string_view text(reinterpret_cast<const char*>(data), size);
  seed.set(weir::fuzzing::next_text(text));
  if (takes_time(text)) return -1;
  std::vector<weir::driver_report> tried;
  auto opened = weir::open_driver({.name = text, .queue_depth = 4, .threads = 1}, tried);
  promise(!tried.empty());
  if (opened) {
    promises_about_a_driver(std::move(*opened));
  } else {
    promise(tried.back().error == opened.error() && !tried.back().reason.empty());
  }
  return 0;
}
