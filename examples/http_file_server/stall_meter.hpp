#pragma once

#include <chrono>
#include <cstdint>

#include "event_loop.hpp"

namespace http_file_server {

/// A timer of a millisecond in the loop, and how late the loop has come to it at worst: what a
/// client that is ready has to wait for whatever else the loop does.
class stall_meter final : private watcher {
 public:
  explicit stall_meter(event_loop& loop) noexcept : loop_(loop) {}
  stall_meter(const stall_meter&) = delete;
  stall_meter& operator=(const stall_meter&) = delete;
  ~stall_meter();

  weir::result<void> start() noexcept;
  std::chrono::nanoseconds worst() const noexcept { return worst_; }

 private:
  void on_events(std::uint32_t events) noexcept override;

  event_loop& loop_;
  int timer_ = -1;
  loop_clock::time_point due_;
  std::chrono::nanoseconds worst_{0};
};

}  // namespace http_file_server
