#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "weir/operation.hpp"

namespace weir::detail {

/// The polls in flight, in no order: to tell whether one is, and to find them all. Each knows its
/// place here, in the upper half of `args.length`; the lower half keeps a descriptor for the
/// driver.
class poll_list {
 public:
  /// 0, or -ENOMEM and `op` is not taken.
  int add(operation& op, int fd) noexcept {
    try {
      polls_.push_back(&op);
    } catch (const std::bad_alloc&) {
      return -ENOMEM;
    }
    place(op, polls_.size() - 1, static_cast<std::uint32_t>(fd));
    return 0;
  }

  void remove(const operation& op) noexcept {
    operation& last = *polls_.back();
    polls_[place_of(op)] = &last;
    place(last, place_of(op), static_cast<std::uint32_t>(fd_of(last)));
    polls_.pop_back();
  }

  bool contains(const operation& op) const noexcept {
    return place_of(op) < polls_.size() && polls_[place_of(op)] == &op;
  }
  static int fd_of(const operation& op) noexcept {
    return static_cast<int>(static_cast<std::uint32_t>(op.args.length));
  }

  bool empty() const noexcept { return polls_.empty(); }
  std::size_t size() const noexcept { return polls_.size(); }
  operation& operator[](std::size_t at) const noexcept { return *polls_[at]; }

 private:
  static std::size_t place_of(const operation& op) noexcept { return op.args.length >> 32; }
  static void place(operation& op, std::size_t at, std::uint32_t fd) noexcept {
    op.args.length = at << 32 | fd;
  }

  std::vector<operation*> polls_;
};

}  // namespace weir::detail
