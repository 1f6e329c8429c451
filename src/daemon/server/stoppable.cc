#include "daemon/server/stoppable.hpp"

#include <cerrno>

namespace weir::detail::daemon {

void stoppable::begin(std::coroutine_handle<> waiter) noexcept {
  waiter_ = waiter;
  began_ = true;
  on_.start(step_);
}

std::int32_t stoppable::finish() noexcept {
  began_ = false;
  const std::int32_t answer = step_.answer();
  return answer == -ECANCELED && why_ != 0 ? -why_ : answer;
}

void stoppable::stop(int why) noexcept {
  if (why_ != 0) return;
  why_ = why;
  interrupt();
}

void stoppable::interrupt() noexcept {
  if (!step_.in_flight() || cancel_.in_flight()) return;
  cancel_.args = cancel_request(step_);
  on_.start(cancel_);
}

// A cancel names the step, which therefore stays as it is until both have ended.
void stoppable::settle() noexcept {
  if (step_.in_flight() || cancel_.in_flight()) return;
  waiter_.resume();
}

}  // namespace weir::detail::daemon
