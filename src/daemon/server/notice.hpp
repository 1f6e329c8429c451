#pragma once

#include <coroutine>

#include "weir/io_context.hpp"

namespace weir::detail::daemon {

/// One coroutine waits for others to be over. It goes on from the context's loop, not from within
/// whoever tells it, who may be about to vanish.
class notice {
 public:
  explicit notice(io_context& context) noexcept : told_(*this), context_(context) {}
  notice(const notice&) = delete;
  notice& operator=(const notice&) = delete;
  ~notice() = default;

  /// Wakes who waits; where nobody does, nothing.
  void tell() noexcept {
    if (waiter_ && !told_.in_flight()) context_.start(told_);
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
  void await_resume() const noexcept {}

 private:
  class step : public operation {
   public:
    explicit step(notice& owner) noexcept : operation({}, &resume), owner_(owner) {}

   private:
    static void resume(operation& op) noexcept {
      std::exchange(static_cast<step&>(op).owner_.waiter_, nullptr).resume();
    }
    notice& owner_;
  };

  step told_;
  io_context& context_;
  std::coroutine_handle<> waiter_;
};

}  // namespace weir::detail::daemon
