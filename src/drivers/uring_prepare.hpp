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
bool fits_entry(const request& what) noexcept;

/// Fills in the entry; for requests with a native opcode that fit it.
void prepare(io_uring_sqe& sqe, const request& what) noexcept;

}  // namespace weir::detail
