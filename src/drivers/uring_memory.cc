#include "drivers/uring_memory.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <cerrno>

namespace weir::detail {
namespace {

constexpr std::uint64_t region_max = std::uint64_t{1} << 30;  // the kernel's

}  // namespace

int uring_memory::add(void* address, std::uint64_t length) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  if (length == 0 || begin + length < begin) return -EINVAL;
  if (length > region_max) return -E2BIG;
  const std::size_t at = first_ending_after(begin);
  if (at < count_ && regions_[at].begin < begin + length) return -EEXIST;
  if (count_ == capacity) return -ENOSPC;
  if (const int error = make_table(); error < 0) return error;
  const auto slot = static_cast<std::uint16_t>(std::countr_one(used_slots_));
  if (const int error = set_slot(slot, address, length); error < 0) return error;
  used_slots_ |= std::uint64_t{1} << slot;
  std::copy_backward(&regions_[at], regions_.data() + count_, regions_.data() + count_ + 1);
  regions_[at] = {begin, begin + length, slot};
  ++count_;
  return 0;
}

int uring_memory::remove(void* address, std::uint64_t length) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const std::size_t at = first_ending_after(begin);
  if (at == count_ || regions_[at].begin != begin || regions_[at].end != begin + length) {
    return -ENOENT;
  }
  const std::uint16_t slot = regions_[at].slot;
  if (const int error = set_slot(slot, nullptr, 0); error < 0) return error;
  used_slots_ &= ~(std::uint64_t{1} << slot);
  std::copy(regions_.data() + at + 1, regions_.data() + count_, regions_.data() + at);
  --count_;
  return 0;
}

void uring_memory::use_region_for(io_uring_sqe& sqe, const request& what) const noexcept {
  if (what.op != opcode::read && what.op != opcode::write) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(what.address);
  const std::size_t at = first_ending_after(begin);
  if (at == count_ || begin < regions_[at].begin || sqe.len > regions_[at].end - begin) return;
  sqe.opcode = what.op == opcode::read ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
  sqe.buf_index = regions_[at].slot;
}

std::size_t uring_memory::first_ending_after(std::uintptr_t address) const noexcept {
  const auto* const end = regions_.data() + count_;
  const auto* const found =
      std::ranges::upper_bound(regions_.data(), end, address, {}, &region::end);
  return static_cast<std::size_t>(found - regions_.data());
}

// All slots empty at first: memory of no address, which needs no newer kernel than slots that can
// be changed do.
int uring_memory::make_table() noexcept {
  if (has_table_) return 0;
  const std::array<iovec, capacity> nothing{};
  const io_uring_rsrc_register table{.nr = capacity,
                                     .flags = 0,
                                     .resv2 = 0,
                                     .data = reinterpret_cast<std::uintptr_t>(nothing.data()),
                                     .tags = 0};
  const int answer = ring_.tell(IORING_REGISTER_BUFFERS2, &table, sizeof table);
  has_table_ = answer >= 0;
  return answer;
}

int uring_memory::set_slot(std::uint16_t slot, void* address, std::uint64_t length) noexcept {
  const iovec memory{address, length};
  const io_uring_rsrc_update2 update{.offset = slot,
                                     .resv = 0,
                                     .data = reinterpret_cast<std::uintptr_t>(&memory),
                                     .tags = 0,
                                     .nr = 1,
                                     .resv2 = 0};
  const int answer = ring_.tell(IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update);
  return answer < 0 ? answer : 0;
}

}  // namespace weir::detail
