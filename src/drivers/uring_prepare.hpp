#pragma once

#include <cstdint>
#include <optional>

#include "weir/request.hpp"

struct io_uring_sqe;

namespace weir::detail {

/// The IORING_OP_* that the kernel must have to carry operations of this opcode out; none for those
/// that io_uring(7) has no form of.
std::optional<std::uint8_t> native_opcode(opcode op) noexcept;

/// Whether a submission queue entry can say what `what` says: some lengths there have 32 bits.
inline bool fits_entry(const request& what) noexcept {
  switch (what.op) {
    case opcode::fadvise:
    case opcode::madvise:
    case opcode::sync_file_range:
      return what.length <= UINT32_MAX;
    case opcode::splice:
      return what.length != 0;  // io_uring looks at the files first, splice(2) at nothing
    default:
      return true;
  }
}

/// Fills in the entry; for requests with a native opcode that fit it.
void prepare(io_uring_sqe& sqe, const request& what) noexcept;

}  // namespace weir::detail
