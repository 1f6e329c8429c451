#pragma once

#include <poll.h>

#include <chrono>
#include <coroutine>
#include <optional>
#include <utility>

#include "transfer/limits.hpp"
#include "weir/io_context.hpp"
#include "weir/task.hpp"

namespace weir::detail {

/// Awaits `what`, within the limits if there are any. Without, there is no coroutine in between.
template <sender Sender>
class [[nodiscard("await it")]] awaited_within {
 public:
  awaited_within(const transfer_limits& limits, Sender what) {
    if (limits.any()) {
      guarded_.emplace(limits.within(std::move(what)));
    } else {
      plain_.emplace(std::move(what));
    }
  }
  awaited_within(const awaited_within&) = delete;
  awaited_within& operator=(const awaited_within&) = delete;
  ~awaited_within() = default;

  bool await_ready() noexcept { return plain_ && plain_->await_ready(); }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) noexcept {
    if (plain_) {
      plain_->await_suspend(waiter);
      return std::noop_coroutine();
    }
    return running_.emplace(std::move(*guarded_).operator co_await()).await_suspend(waiter);
  }
  typename Sender::value_type await_resume() {
    return plain_ ? plain_->await_resume() : running_->await_resume();
  }

 private:
  using work = task<typename Sender::value_type>;

  std::optional<awaiter<Sender>> plain_;
  std::optional<work> guarded_;
  std::optional<decltype(std::declval<work>().operator co_await())> running_;
};

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
