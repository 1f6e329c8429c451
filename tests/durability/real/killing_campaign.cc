#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>
#include <utility>
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

struct candidate {
  std::string_view driver;
  scenario tested;
  std::string name;
};

std::vector<candidate> chosen(const campaign_options& options) {
  std::vector<candidate> all;
  for (const std::string_view driver : testing::driver_names) {
    if (!testing::report_of(driver).available) continue;
    for (const scenario& each : all_scenarios()) {
      std::string name = "kill " + std::string(driver) + ' ' + std::string(each.name);
      if (name.find(options.only) == std::string::npos) continue;
      all.push_back({driver, each, std::move(name)});
    }
  }
  return all;
}

kills kill_until(clock::time_point end, const candidate& which, std::uint64_t seed) {
  kills so_far;
  while (so_far.tried < fewest_kills || clock::now() < end) {
    kill_once(which.driver, which.tested, scenarios::drawn(seed, which.name, so_far.tried), so_far);
  }
  return so_far;
}

}  // namespace

campaign_outcome kill_processes(const campaign_options& options) {
  campaign_outcome all;
  const std::vector<candidate> candidates = chosen(options);
  for (const candidate& each : candidates) {
    const clock::duration share = clock::duration(options.time) / candidates.size();
    const kills done = kill_until(clock::now() + share, each, options.seed);
    std::printf("%s: %zu kills, %zu midway; %zu with violations\n", each.name.c_str(), done.tried,
                done.midway, done.failed);
    std::fflush(stdout);
    all.tried += done.tried;
    all.failed += done.failed;
  }
  return all;
}

}  // namespace weir::real_disks
