#include "residency.hpp"

#include <algorithm>

namespace weir::detail {

void residency::average(at_once what) noexcept {
  constexpr unsigned remembered = 16;  // about as many reads make the average
  switch (what) {
    case at_once::done:
      rate_ = static_cast<std::uint16_t>(rate_ + (all - rate_ + remembered - 1) / remembered);
      pause_ = static_cast<std::uint16_t>(std::max(shortest_pause, pause_ / 2U));
      return;
    case at_once::would_wait:
      rate_ = static_cast<std::uint16_t>(rate_ - rate_ / remembered);
      if (rate_ >= worth_it) return;
      left_out_ = pause_;
      pause_ = static_cast<std::uint16_t>(std::min(longest_pause, pause_ * 2U));
      return;
    case at_once::never:
      return give_up();
  }
}

void residency::give_up() noexcept {
  rate_ = 0;
  left_out_ = 0;
  hopeless_ = true;
}

}  // namespace weir::detail
