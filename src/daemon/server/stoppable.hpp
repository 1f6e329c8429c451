#pragma once

#include <coroutine>
#include <cstdint>

#include "weir/io_context.hpp"

namespace weir::detail::daemon {

/// The operations of one coroutine, one after the other, which others may end early. All of them
/// share the memory of one, so that what waits costs little: a transfer that waits for its receiver
/// holds this, a frame and its descriptors.
class stoppable {
 public:
  explicit stoppable(io_context& context) noexcept : step_(*this), cancel_(*this), on_(context) {}
  stoppable(const stoppable&) = delete;
  stoppable& operator=(const stoppable&) = delete;
  ~stoppable() = default;

  class awaiter {
   public:
    awaiter(stoppable& self, const request& what) noexcept : self_(self) {
      if (self_.why_ == 0) self_.step_.args = what;
    }
    bool await_ready() const noexcept { return self_.why_ != 0; }
    void await_suspend(std::coroutine_handle<> waiter) noexcept { self_.begin(waiter); }
    /// As an operation answers: a count, a descriptor or 0, or a negative errno.
    std::int32_t await_resume() const noexcept {
      return self_.began_ ? self_.finish() : -self_.why_;
    }

   private:
    stoppable& self_;
  };

  /// `co_await` it: what the kernel did wins, so that after a `stop`, too, a descriptor may come.
  awaiter perform(const request& what) noexcept { return {*this, what}; }

  /// Ends what is in flight, and has everything later answer -`why` at once. The first one counts.
  void stop(int why) noexcept;
  /// Ends what is in flight, if anything is: -ECANCELED. What comes later is not affected.
  void interrupt() noexcept;
  /// Why it was stopped; 0 where it was not.
  int stopped() const noexcept { return why_; }
  io_context& context() const noexcept { return on_; }

 private:
  class part : public operation {
   public:
    explicit part(stoppable& owner) noexcept : operation({}, &over), owner_(owner) {}

   private:
    static void over(operation& op) noexcept { static_cast<part&>(op).owner_.settle(); }
    stoppable& owner_;
  };

  void begin(std::coroutine_handle<> waiter) noexcept;
  std::int32_t finish() noexcept;
  void settle() noexcept;

  part step_;
  part cancel_;
  io_context& on_;
  std::coroutine_handle<> waiter_;
  int why_ = 0;
  bool began_ = false;
};

}  // namespace weir::detail::daemon
