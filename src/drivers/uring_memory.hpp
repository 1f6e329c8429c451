#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "drivers/uring_ring.hpp"
#include "weir/request.hpp"

namespace weir::detail {

/// The memory that the kernel keeps mapped for a ring ("fixed buffers"), so that a transfer there
/// does not look its pages up, and pin them, each time. Linux 5.13.
class uring_memory {
 public:
  explicit uring_memory(const uring_ring& ring) noexcept : ring_(ring) {}

  /// 0, or a negative errno: what the kernel said (ENOMEM for RLIMIT_MEMLOCK, EFAULT for memory
  /// that cannot be written to, EINVAL before Linux 5.13), E2BIG for more than 1 GiB, EEXIST for
  /// what overlaps a region, ENOSPC for the 65th.
  int add(void* address, std::uint64_t length) noexcept;

  /// 0, or -ENOENT where `add` was not given the same.
  int remove(void* address, std::uint64_t length) noexcept;

  /// Makes a prepared read or write a fixed-buffer one, if all its memory lies within one region.
  void use_for(io_uring_sqe& sqe, const request& what) const noexcept {
    if (count_ != 0) use_region_for(sqe, what);
  }

 private:
  struct region {
    std::uintptr_t begin;
    std::uintptr_t end;
    std::uint16_t slot;
  };
  static constexpr std::size_t capacity = 64;

  void use_region_for(io_uring_sqe& sqe, const request& what) const noexcept;
  std::size_t first_ending_after(std::uintptr_t address) const noexcept;
  int make_table() noexcept;
  int set_slot(std::uint16_t slot, void* address, std::uint64_t length) noexcept;

  const uring_ring& ring_;
  bool has_table_ = false;
  std::size_t count_ = 0;
  std::array<region, capacity> regions_{};  // the first `count_`, by address
  std::uint64_t used_slots_ = 0;            // bits
};

}  // namespace weir::detail
