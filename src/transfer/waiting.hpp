#pragma once

#include <poll.h>

#include <chrono>

#include "transfer/limits.hpp"
#include "transfer/pieces.hpp"
#include "weir/io_context.hpp"
#include "weir/task.hpp"

namespace weir::detail {

/// Awaits `what`, within the limits if there are any.
template <sender Sender>
task<typename Sender::value_type> awaited_within(const transfer_limits& limits, Sender what) {
  if (limits.any()) co_return co_await limits.within(std::move(what));
  co_return co_await std::move(what);
}

/// Waits until a descriptor is ready, or has failed: the next call on it says how.
class readiness_wait {
 public:
  task<std::error_code> until(io_context& on, int fd, unsigned events,
                              const transfer_limits& limits) {
    if (failed_in_vain_) {
      const result<void> paused = co_await awaited_within(limits, on.sleep_for(pause));
      if (!paused) co_return paused.error();
    }
    const result<unsigned> ready = co_await awaited_within(limits, on.poll(fd, events));
    if (!ready) co_return ready.error();
    failed_in_vain_ = (*ready & events) == 0;
    co_return std::error_code{};
  }
  /// Something was moved since.
  void succeeded() noexcept { failed_in_vain_ = false; }

 private:
  // A socket whose queue of errors nobody reads shows POLLERR for ever, and works all the same. To
  // poll that again and again would take a processor.
  static constexpr std::chrono::milliseconds pause{10};
  bool failed_in_vain_ = false;
};

}  // namespace weir::detail
