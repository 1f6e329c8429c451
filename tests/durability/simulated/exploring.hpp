#pragma once

#include <string_view>

#include "durability/scenario.hpp"
#include "weir/simulated.hpp"

/// The scenarios on simulated disks, whose power fails.
namespace weir::simulated_disks {

/// How a disk behaves: how it loses, how names become durable, and which faults it has besides.
struct behaviour {
  std::string_view name;
  simulated_options options;
};

/// All that weir's promises hold on. Not among them: bits that rot, and pages that go elsewhere,
/// which nobody notices without checksums of his own.
std::span<const behaviour> behaviours();

struct how_much {
  seed_range seeds;
  unsigned power_failures = 4;  ///< for each seed
  unsigned threads = 0;         ///< 0: one for each processor
};

/// The first failure, if any, made as short as it could be.
exploration explore_scenario(const scenarios::scenario& which, const behaviour& disk,
                             const how_much& much);

}  // namespace weir::simulated_disks
