#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace weir::real_disks {

/// How much is tried, and of what.
struct campaign_options {
  std::uint64_t seed = 1;
  /// It ends when a round does behind this time; one round is carried out whole, in so much time as
  /// that takes at the least.
  std::chrono::seconds time{30};
  bool thorough = false;  ///< also less common file systems and drivers
  std::string only;       ///< of "FILE SYSTEM DRIVER SCENARIO" what has this in it
};

struct campaign_outcome {
  std::size_t tried = 0;   ///< cuts, kills, or runs
  std::size_t failed = 0;  ///< things that should not be
  std::string skipped;     ///< why nothing was tried
};

/// One round: each scenario on each file system by each driver, and cuts; a line for each on
/// standard output. Also what is wrong on purpose, and has to be found out.
campaign_outcome cut_disks(const campaign_options& options);

/// Each scenario on each kind of simulated disk, over and over with other seeds; a line for each.
campaign_outcome explore_disks(const campaign_options& options);

/// One round: each scenario by each driver, killed a few times.
campaign_outcome kill_processes(const campaign_options& options);

}  // namespace weir::real_disks
