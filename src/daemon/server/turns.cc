#include "daemon/server/turns.hpp"

#include <algorithm>

namespace weir::detail::daemon {
namespace {

// A step costs as much as this many bytes more, so that steps that move little, or nothing, use up
// a turn as well.
constexpr std::int64_t cost_of_a_step = 4096;

}  // namespace

void turns::enqueue(seat& place, seat::ticket& one) noexcept {
  one.next = nullptr;
  (place.last_ != nullptr ? place.last_->next : place.first_) = &one;
  place.last_ = &one;
  if (!place.seated_) sit_down(place);
  if (!go_on_.in_flight()) context_.start(go_on_);
}

void turns::sit_down(seat& place) noexcept {
  place.seated_ = true;
  place.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &place;
  last_ = &place;
}

void turns::spend(seat& place, std::size_t bytes) noexcept {
  place.allowance_ -= static_cast<std::int64_t>(bytes);
  left_ -= static_cast<std::int64_t>(bytes);
}

// What is left of an allowance is kept for the next part of the same turn, and forgotten by who has
// nothing to move: nobody saves up.
void turns::run() noexcept {
  left_ = turn_bytes_;
  while (first_ != nullptr && left_ > 0) {
    seat& place = *first_;
    if (place.allowance_ <= 0) place.allowance_ += turn_bytes_;
    serve(place);
    if (place.first_ != nullptr && place.allowance_ > 0) break;
    first_ = place.next_;
    if (first_ == nullptr) last_ = nullptr;
    place.seated_ = false;
    if (place.first_ != nullptr) {
      sit_down(place);
    } else {
      place.allowance_ = std::min<std::int64_t>(place.allowance_, 0);
    }
  }
  if (first_ != nullptr && !go_on_.in_flight()) context_.start(go_on_);
}

void turns::serve(seat& place) noexcept {
  while (place.first_ != nullptr && place.allowance_ > 0 && left_ > 0) {
    seat::ticket& one = *place.first_;
    place.first_ = one.next;
    if (place.first_ == nullptr) place.last_ = nullptr;
    place.allowance_ -= cost_of_a_step;
    left_ -= cost_of_a_step;
    one.waiter.resume();  // `one` is gone from here on
  }
}

}  // namespace weir::detail::daemon
