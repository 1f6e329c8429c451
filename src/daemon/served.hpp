#pragma once

#include <cstdint>

#include "weir/request.hpp"

// What the daemon carries out on a client's own files: the client asks for nothing else, and the
// daemon refuses everything else. Which files they may be is in disk_file.hpp.
namespace weir::detail::daemon {

constexpr bool changes_files(opcode op) noexcept {
  return op == opcode::write || op == opcode::ftruncate || op == opcode::fallocate ||
         op == opcode::copy_file_range;
}

constexpr bool is_served(opcode op) noexcept {
  return op == opcode::read || op == opcode::fsync || op == opcode::fdatasync ||
         op == opcode::sync_file_range || changes_files(op);
}

/// Whether an operation may be carried out with that priority. A real-time one (ioprio_set(2)) is a
/// right that the daemon may have and its client not.
constexpr bool is_lent(std::uint16_t priority) noexcept {
  constexpr unsigned class_shift = 13;
  constexpr unsigned real_time = 1;
  return (priority >> class_shift) != real_time;
}

}  // namespace weir::detail::daemon
