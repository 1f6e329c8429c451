#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "weir/operation.hpp"

namespace weir::detail {

/// What a wrapping driver remembers of an operation until it comes back: found by its address,
/// since an operation has no field for it. Open addressing, at most half full; all memory is taken
/// when it is made.
template <class T>
class operation_table {
 public:
  explicit operation_table(std::size_t capacity)
      : capacity_(capacity),
        slots_(std::bit_ceil(2 * capacity + 1)),
        shift_(64 - std::countr_zero(slots_.size())) {}

  std::size_t size() const noexcept { return size_; }
  bool full() const noexcept { return size_ == capacity_; }

  /// `op` is not in the table, which is not full.
  void insert(const operation& op, T value) noexcept {
    std::size_t at = home(&op);
    while (slots_[at].key != nullptr) at = after(at);
    slots_[at] = {&op, value};
    ++size_;
  }

  /// The value, and it is forgotten; nothing if there is none.
  std::optional<T> take(const operation& op) noexcept {
    std::size_t at = home(&op);
    while (slots_[at].key != &op) {
      if (slots_[at].key == nullptr) return std::nullopt;
      at = after(at);
    }
    const T value = slots_[at].value;
    close_gap(at);
    --size_;
    return value;
  }

 private:
  struct slot {
    const operation* key = nullptr;
    T value{};
  };

  std::size_t after(std::size_t at) const noexcept { return (at + 1) & (slots_.size() - 1); }

  // The high bits of a product with the golden ratio: neighbouring addresses end up far apart.
  std::size_t home(const operation* op) const noexcept {
    return (reinterpret_cast<std::uintptr_t>(op) * 0x9e3779b97f4a7c15) >> shift_;
  }

  // Moves back what had to go past the gap, so that a search may end at the first empty slot.
  void close_gap(std::size_t gap) noexcept {
    for (std::size_t at = after(gap); slots_[at].key != nullptr; at = after(at)) {
      const std::size_t mask = slots_.size() - 1;
      const std::size_t from_home = (at - home(slots_[at].key)) & mask;
      if (from_home < ((at - gap) & mask)) continue;
      slots_[gap] = slots_[at];
      gap = at;
    }
    slots_[gap] = {};
  }

  std::size_t capacity_;
  std::vector<slot> slots_;
  int shift_;
  std::size_t size_ = 0;
};

}  // namespace weir::detail
