#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <stop_token>
#include <system_error>
#include <utility>

#include "weir/stop.hpp"
#include "weir/transfer.hpp"

namespace weir::detail {

/// What may end a transfer early: a point in time, and somebody's word.
class transfer_limits {
 public:
  explicit transfer_limits(const transfer_options& options) noexcept : stop_(options.stop) {
    if (options.deadline) due_ = due(*options.deadline);
  }

  /// Whether there is any. Where there is none, nothing needs a guard.
  bool any() const noexcept { return due_ || stop_.stop_possible(); }

  /// For what never waits: whether it is over all the same.
  std::error_code passed() const noexcept {
    if (stop_.stop_requested()) return make_error_code(std::errc::operation_canceled);
    if (due_ && clock::now() >= *due_) return make_error_code(std::errc::timed_out);
    return {};
  }

  /// `what`, ended early. A coroutine of its own: the guards are four times the size of what they
  /// guard, and would be in the frame of each transfer that has none.
  template <sender Sender>
  task<typename Sender::value_type> within(Sender what) const {
    co_return co_await with_deadline(with_stop(std::move(what), stop_), left());
  }

  std::chrono::nanoseconds left() const noexcept {
    if (!due_) return std::chrono::nanoseconds::max();
    return std::max(std::chrono::nanoseconds(0), *due_ - clock::now());
  }

 private:
  using clock = std::chrono::steady_clock;

  static clock::time_point due(std::chrono::nanoseconds duration) noexcept {
    const clock::time_point now = clock::now();
    return now + std::clamp(duration, std::chrono::nanoseconds(0), clock::time_point::max() - now);
  }

  std::optional<clock::time_point> due_;
  std::stop_token stop_;
};

}  // namespace weir::detail
