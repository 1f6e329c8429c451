#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "durability/scenario.hpp"

namespace weir::real_disks {

/// What came of killing one process that ran a scenario.
struct killing_outcome {
  std::size_t promises = 0;  ///< given before its end
  bool was_done = false;     ///< the scenario had come to its end
  scenarios::violations violations;
  std::string error;  ///< why the scenario failed before it was killed; empty where it did not
};

/// Runs the scenario in a process of its own, in a new directory on this machine's disk, and ends
/// it by SIGKILL a random moment after so many promises, or when it is done; then looks whether all
/// was kept that it had been promised.
killing_outcome run_and_kill(std::string_view driver, const scenarios::scenario& tested,
                             std::uint64_t seed, unsigned rounds, std::size_t promises);

}  // namespace weir::real_disks
