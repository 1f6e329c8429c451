// What weir promises, on disks that lose what they may: thousands of seeds (`make soak` for more).

#include "durability/simulated/exploring.hpp"

#include <gtest/gtest.h>

#include "support/support.hpp"

namespace weir::simulated_disks {
namespace {

// Sanitizers look for other things than the disk does.
constexpr bool checked = testing::address_sanitizer || testing::thread_sanitizer;
constexpr std::uint64_t seeds = checked ? 20 : 250;

TEST(promises_on_simulated_disks, are_kept) {
  std::uint64_t tried = 0;
  for (const scenarios::scenario& which : scenarios::portable_scenarios()) {
    // Each run of those with threads has a timing of its own, so they are fewer.
    const std::uint64_t count = which.has_threads ? seeds / 10 : seeds;
    for (const behaviour& disk : behaviours()) {
      const exploration found = explore_scenario(which, disk, {.seeds = {.count = count}});
      EXPECT_TRUE(found.survived()) << which.name << " on a disk that " << disk.name << ":\n"
                                    << found.report();
      tried += found.seeds;
    }
  }
  std::cout << tried << " seeds\n";
}

TEST(promises_on_simulated_disks, that_are_not_kept_are_found_out) {
  for (const scenarios::scenario& which : scenarios::wrong_scenarios()) {
    const exploration found =
        explore_scenario(which, behaviours().front(), {.seeds = {.count = 1000}});
    ASSERT_FALSE(found.survived()) << which.name;
    std::cout << which.name << ": found in " << found.seeds << " seeds\n";
  }
}

}  // namespace
}  // namespace weir::simulated_disks
