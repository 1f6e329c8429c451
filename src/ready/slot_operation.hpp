#pragma once

#include <cstdint>

#include "weir/operation.hpp"

namespace weir {
class io_context;
}

namespace weir::detail {

class ready_slot;

/// What begins and ends within a page is none of O_DIRECT's business.
inline constexpr std::uint64_t direct_page = 4096;
constexpr std::uint64_t page_start(std::uint64_t offset) noexcept {
  return offset & ~(direct_page - 1);
}
constexpr std::uint64_t page_end(std::uint64_t offset) noexcept {
  return page_start(offset + direct_page - 1);
}

/// An operation of a handle; its completion calls the slot.
struct slot_operation : operation {
  slot_operation(ready_slot& whose, completion when_done) noexcept
      : operation({}, when_done), slot(&whose) {}

  ready_slot* const slot;
};

/// The file as its reading and its writing half see it.
struct ready_target {
  io_context* context = nullptr;
  int fd = -1;
  bool direct = false;
  bool appends = false;
  bool memory = false;  // tmpfs: to read it takes no waiting
};

}  // namespace weir::detail
