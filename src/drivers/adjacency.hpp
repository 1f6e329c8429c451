#pragma once

#include <linux/fs.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernel_abi.hpp"
#include "weir/operation.hpp"

namespace weir::detail {

/// A batch of operations, and which of its transfers follow one another in a file. Each `read`, and
/// each `write`, is looked up by where it begins, and then by where it ends: a few nanoseconds for
/// an operation, in whatever order they come, so that looking in vain costs next to nothing.
///
/// `begin`, `add` for each, `link`; then `items` says who follows whom, until the next `begin`.
class adjacency {
 public:
  static constexpr std::uint16_t none = UINT16_MAX;
  /// The most operations that a batch may have.
  static constexpr std::size_t most = UINT16_MAX / 2;

  struct item {
    operation* op;
    std::uint16_t next;  ///< the item that begins where this one ends, on the same terms, or none
    bool joinable;       ///< may have a neighbour at all
    bool follows;        ///< is the `next` of another
  };

  /// For batches of at most `capacity`. A transfer of `max_bytes` or more has no neighbours.
  adjacency(std::size_t capacity, std::size_t max_bytes);

  /// Begins a batch of at most `operations`.
  void begin(std::size_t operations) noexcept;

  void add(operation& op) noexcept {
    const bool joinable = may_join(op.args);
    items_[count_++] = {.op = &op, .next = none, .joinable = joinable, .follows = false};
    // Of those that begin at one place the last stays: many reads of one place would search long.
    if (joinable) {
      table_[slot_for(op.args, op.args.offset)] = static_cast<std::uint16_t>(base_ + count_);
    }
  }

  /// Finds the neighbours of all. False where there are none. Of several transfers that begin at
  /// one place one has a predecessor at most, so nothing overlaps along `next`.
  bool link() noexcept;

  /// In order of arrival.
  std::span<const item> items() const noexcept { return {items_.data(), count_}; }

 private:
  bool may_join(const request& what) const noexcept {
    constexpr std::uint64_t last = std::numeric_limits<std::int64_t>::max() - transfer_max;
    return (what.op == opcode::read || what.op == opcode::write) && what.length != 0 &&
           what.length < max_bytes_ && what.offset <= last &&
           (what.flags & (RWF_APPEND | rwf_atomic)) == 0;
  }

  // Whether one system call can do both, as far as the requests say.
  static bool on_same_terms(const request& there, const request& what) noexcept {
    return there.op == what.op && there.fd == what.fd && there.flags == what.flags &&
           there.hints == what.hints && there.priority == what.priority;
  }

  // Multiplied by 2^64 divided by the golden ratio, what lies evenly in a file spreads evenly over
  // the table. The bits taken depend on all below them, so on any offset in blocks.
  std::size_t first_slot(const request& what, std::uint64_t offset) const noexcept {
    const auto file = static_cast<std::uint64_t>(what.fd) * 0xbf58476d1ce4e5b9;
    return ((offset + file) * 0x9e3779b97f4a7c15 >> 32) & mask_;
  }

  bool is_taken(std::size_t slot) const noexcept { return table_[slot] > base_; }
  item& at(std::size_t slot) noexcept { return items_[table_[slot] - base_ - 1]; }

  // The slot of what begins at `offset` on the terms of `what`, or the free one where it belongs.
  std::size_t slot_for(const request& what, std::uint64_t offset) noexcept {
    std::size_t slot = first_slot(what, offset);
    for (; is_taken(slot); slot = (slot + 1) & mask_) {
      const request& there = at(slot).op->args;
      if (there.offset == offset && on_same_terms(there, what)) break;
    }
    return slot;
  }

  const std::size_t max_bytes_;
  std::vector<item> items_;
  std::uint32_t count_ = 0;
  // Open addressing, and sparse: a search for what is not there mostly ends at once. A slot holds
  // `base_` plus an item's number, from 1; what is not above `base_` is from an earlier batch, so
  // that the table is cleared only when `base_` has come to its end, every few thousand operations.
  std::vector<std::uint16_t> table_;
  std::size_t mask_ = 0;
  std::size_t used_ = 0;  // slots, since the table was cleared
  std::uint32_t base_ = 0;
};

}  // namespace weir::detail
