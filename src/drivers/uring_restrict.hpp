#pragma once

#include <expected>

#include "drivers/drivers.hpp"
#include "drivers/uring_ring.hpp"

namespace weir::detail {

/// Lets the kernel refuse, with EACCES, whatever this driver does not ask of a ring. Before the
/// ring is enabled. Linux 5.10.
std::expected<void, refusal> restrict_to_own(uring_ring& ring) noexcept;

}  // namespace weir::detail
