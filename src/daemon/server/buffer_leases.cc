#include "daemon/server/buffer_leases.hpp"

namespace weir::detail::daemon {

buffer_leases::buffer_leases(io_context& context) : memory_(count * size), context_(context) {
  for (std::size_t which = 0; which < count; ++which) free_[which] = which;
}

bool buffer_leases::take(std::size_t& which) noexcept {
  if (free_count_ == 0) return false;
  which = free_[--free_count_];
  return true;
}

void buffer_leases::queue(awaiter& waiting) noexcept { line_.push_back(waiting); }

// Handed on, rather than put back: nobody comes in between.
void buffer_leases::give_back(std::size_t which) noexcept {
  if (line_.empty()) {
    free_[free_count_++] = which;
    return;
  }
  auto& next = static_cast<awaiter&>(line_.pop_front());
  next.which_ = which;
  context_.start(next);
}

}  // namespace weir::detail::daemon
