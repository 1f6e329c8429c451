#include <algorithm>
#include <cstdio>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "durability/contents.hpp"
#include "durability/real/campaign.hpp"
#include "durability/real/killing.hpp"
#include "durability/real/own_scenarios.hpp"
#include "support/support.hpp"

namespace weir::real_disks {
namespace {

using clock = std::chrono::steady_clock;
using scenarios::scenario;

constexpr unsigned rounds = 6;
constexpr std::size_t fewest_kills = 1;

std::vector<scenario> all_scenarios() {
  std::vector<scenario> all(scenarios::portable_scenarios().begin(),
                            scenarios::portable_scenarios().end());
  all.push_back(copying());
  all.push_back(copying_and_dropping());
  all.push_back(putting());
  return all;
}

/// Of one scenario by one driver.
struct kills {
  std::size_t tried = 0;
  std::size_t midway = 0;
  std::size_t failed = 0;
  std::size_t most_promises = 20;  // that were seen; a first guess
};

void report_failure(const killing_outcome& outcome, std::uint64_t seed) {
  if (!outcome.error.empty()) std::printf("  FAILED: %s\n", outcome.error.c_str());
  for (const std::string& each : outcome.violations) std::printf("  %s\n", each.c_str());
  std::printf("  after %zu promises, with seed %llu\n", outcome.promises,
              static_cast<unsigned long long>(seed));
}

void kill_once(std::string_view driver, const scenario& tested, std::uint64_t seed, kills& so_far) {
  std::mt19937_64 random(seed);
  const std::size_t promises = random() % (so_far.most_promises + 2);
  const killing_outcome outcome = run_and_kill(driver, tested, random(), rounds, promises);
  ++so_far.tried;
  if (!outcome.was_done) ++so_far.midway;
  so_far.most_promises = std::max(so_far.most_promises, outcome.promises);
  if (outcome.error.empty() && outcome.violations.empty()) return;
  ++so_far.failed;
  report_failure(outcome, seed);
}

}  // namespace

campaign_outcome kill_processes(const campaign_options& options) {
  campaign_outcome all;
  const std::vector<scenario> tested = all_scenarios();
  const auto share = options.time / (std::size(testing::driver_names) * tested.size());
  for (const std::string_view driver : testing::driver_names) {
    if (!testing::report_of(driver).available) continue;
    for (const scenario& each : tested) {
      const std::string name = "kill " + std::string(driver) + ' ' + std::string(each.name);
      if (name.find(options.only) == std::string::npos) continue;
      kills so_far;
      const clock::time_point end = clock::now() + share;
      while (so_far.tried < fewest_kills || clock::now() < end) {
        kill_once(driver, each, scenarios::drawn(options.seed, name, so_far.tried), so_far);
      }
      std::printf("%s: %zu kills, %zu midway; %zu with violations\n", name.c_str(), so_far.tried,
                  so_far.midway, so_far.failed);
      std::fflush(stdout);
      all.tried += so_far.tried;
      all.failed += so_far.failed;
    }
  }
  return all;
}

}  // namespace weir::real_disks
