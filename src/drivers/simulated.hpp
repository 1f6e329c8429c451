#pragma once

#include <memory>

#include "weir/driver.hpp"

namespace weir::detail {

namespace simulated {
class machine;
}

/// A driver on a simulated disk's machine, which it shares.
result<std::unique_ptr<driver>> open_simulated(std::shared_ptr<simulated::machine> on,
                                               unsigned queue_depth);

}  // namespace weir::detail
