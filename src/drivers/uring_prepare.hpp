#pragma once

#include <fcntl.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "weir/request.hpp"

struct io_uring_probe;
struct io_uring_sqe;

namespace weir::detail {

/// The IORING_OP_* that the kernel must have to carry operations of this opcode out; none for those
/// that io_uring(7) has no form of.
std::optional<std::uint8_t> native_opcode(opcode op) noexcept;

/// Those that the kernel has, for each opcode; but for the `missing`, bits by opcode.
std::array<bool, opcode_count> native_among(const io_uring_probe& probe,
                                            std::uint64_t missing) noexcept;

/// Whether io_uring understands `what` as the system call does: some lengths have 32 bits there.
inline bool fits_entry(const request& what) noexcept {
  switch (what.op) {
    case opcode::fadvise:
    case opcode::madvise:
    case opcode::sync_file_range:
      return what.length <= UINT32_MAX;
    case opcode::openat2:
      return what.length <=
             4096;  // beyond, openat2(2) says E2BIG, and io_uring looks what is there
    case opcode::splice:
      return what.length != 0;  // io_uring looks at the files first, splice(2) at nothing
    default:
      return true;
  }
}

/// Fills in the entry; for requests with a native opcode that fit it.
void prepare(io_uring_sqe& entry, const request& what) noexcept;

/// Whether `what` has not asked to be answered EAGAIN instead.
inline bool may_wait(const request& what) noexcept {
  return (what.flags & (what.op == opcode::splice ? SPLICE_F_NONBLOCK : RWF_NOWAIT)) == 0;
}

/// Whether a kernel worker had better carry `what` out (IOSQE_ASYNC), with so many others in
/// flight: a read through the page cache that is so large that copying it takes longer than handing
/// it over. Its copying would else hold up this thread, and those behind it. Measured
/// (docs/performance.md).
inline bool better_elsewhere(const request& what, std::size_t in_flight) noexcept {
  constexpr std::uint64_t large = 256 << 10;
  constexpr std::size_t several = 4;
  return what.length >= large && in_flight >= several && what.op == opcode::read &&
         (what.hints & hint::direct) == 0 && (what.flags & RWF_NOWAIT) == 0;
}

}  // namespace weir::detail
