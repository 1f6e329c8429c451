#pragma once

#include <cstdint>

#include "weir/request.hpp"

namespace weir::detail {

/// Carries `what` out on this thread, blocking, and answers as an operation does: a count, a
/// descriptor or 0; or a negative errno. The one function that holds every blocking system call;
/// drivers share it for what they cannot do natively, so every driver supports every operation.
/// Interrupted calls are repeated (EINTR). A cancel request finds nothing here: ENOENT.
std::int32_t perform(const request& what) noexcept;

/// Whether `what` can be refused with EINVAL without asking the kernel: an offset or a length that
/// no off_t holds, an offset so large that the transfer might end beyond, or events that poll(2)
/// has no bit for. Checked the same way before every route to the kernel, because they differ
/// there: io_uring takes an offset of -1 for "the current position" where pread(2) refuses it.
bool out_of_range(const request& what) noexcept;
/// The same of a transfer.
inline bool transfer_out_of_range(const request& what) noexcept {
  constexpr std::uint64_t most = INT64_MAX;
  return what.offset > most - transfer_max;
}

}  // namespace weir::detail
