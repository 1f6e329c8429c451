#include "drivers/adjacency.hpp"

#include <algorithm>
#include <bit>

namespace weir::detail {
namespace {

// Measured, on reads that have no neighbours: with 8 an operation costs 5 ns more, with 64 no less.
constexpr std::size_t slots_for_each = 32;

}  // namespace

adjacency::adjacency(std::size_t capacity, std::size_t max_bytes)
    : max_bytes_(max_bytes), items_(capacity), table_(std::bit_ceil(slots_for_each * capacity)) {}

void adjacency::begin(std::size_t operations) noexcept {
  base_ += count_;
  if (base_ > UINT16_MAX - items_.size()) {
    std::fill_n(table_.begin(), used_, 0);
    base_ = 0;
    used_ = 0;
  }
  count_ = 0;
  const std::size_t slots = std::bit_ceil(slots_for_each * operations);
  mask_ = slots - 1;
  used_ = std::max(used_, slots);
}

bool adjacency::link() noexcept {
  bool any = false;
  for (item& each : std::span(items_.data(), count_)) {
    if (!each.joinable) continue;
    const request& what = each.op->args;
    const std::size_t slot = slot_for(what, what.offset + what.length);
    if (!is_taken(slot) || at(slot).follows) continue;
    item& next = at(slot);
    next.follows = true;
    each.next = static_cast<std::uint16_t>(&next - items_.data());
    any = true;
  }
  return any;
}

}  // namespace weir::detail
