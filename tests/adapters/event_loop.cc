#include "adapters/event_loop.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace weir::testing {

event_loop::event_loop() : calls_(make_pipe(O_NONBLOCK)) {}

void event_loop::soon(std::function<void()> call) {
  if (!std::exchange(watched_, true)) on_readable(calls_.read.get(), [this] { run_called(); });
  called_.push_back(std::move(call));
  calls_.feed(1);
}

void event_loop::run_called() {
  char byte = 0;
  if (::read(calls_.read.get(), &byte, 1) != 1) return;
  const auto call = std::move(called_.front());
  called_.pop_front();
  call();
}

void event_loop::run_until(const std::function<bool()>& done) {
  while (!done()) turn();
}

}  // namespace weir::testing
