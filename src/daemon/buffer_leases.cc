#include "daemon/buffer_leases.hpp"

#include <numeric>

namespace weir::detail::daemon {

buffer_leases::buffer_leases() : memory_(count * size) { std::iota(free_.begin(), free_.end(), 0); }

bool buffer_leases::take(std::size_t& which) noexcept {
  if (free_count_ == 0) return false;
  which = free_[--free_count_];
  return true;
}

void buffer_leases::queue(awaiter& waiting) noexcept {
  (last_ != nullptr ? last_->next_ : first_) = &waiting;
  last_ = &waiting;
}

// Handed on, rather than put back: nobody comes in between.
void buffer_leases::give_back(std::size_t which) noexcept {
  awaiter* const next = first_;
  if (next == nullptr) {
    free_[free_count_++] = which;
    return;
  }
  first_ = next->next_;
  if (first_ == nullptr) last_ = nullptr;
  next->which_ = which;
  next->waiter_.resume();
}

}  // namespace weir::detail::daemon
