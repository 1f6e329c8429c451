#pragma once

#include <cstddef>

namespace weir::campaign {

/// Allocations by `new` of this process that have not been deleted.
std::size_t allocations_alive() noexcept;

}  // namespace weir::campaign
