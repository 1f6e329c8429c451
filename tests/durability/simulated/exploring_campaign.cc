#include <chrono>
#include <cstdio>
#include <string>

#include "durability/contents.hpp"
#include "durability/real/campaign.hpp"
#include "durability/simulated/exploring.hpp"

namespace weir::real_disks {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::uint64_t seeds_at_a_time = 50;

/// A scenario on one kind of disk: which seeds are the next, and what came of those before.
struct expedition {
  const scenarios::scenario* which;
  const simulated_disks::behaviour* disk;
  std::uint64_t next_seed;
  std::uint64_t seeds = 0;
  std::uint64_t runs = 0;
  std::string failure = {};

  std::string name() const {
    return "simulated, " + std::string(disk->name) + ", " + std::string(which->name);
  }
};

std::vector<expedition> expeditions(const campaign_options& options) {
  std::vector<expedition> all;
  for (const scenarios::scenario& which : scenarios::portable_scenarios()) {
    for (const simulated_disks::behaviour& disk : simulated_disks::behaviours()) {
      expedition one{.which = &which, .disk = &disk, .next_seed = 0};
      one.next_seed = scenarios::drawn(options.seed, one.name()) >> 1;
      if (one.name().find(options.only) != std::string::npos) all.push_back(std::move(one));
    }
  }
  return all;
}

void go_on(expedition& one) {
  const exploration found = simulated_disks::explore_scenario(
      *one.which, *one.disk, {.seeds = {.first = one.next_seed, .count = seeds_at_a_time}});
  one.next_seed += seeds_at_a_time;
  one.seeds += found.seeds;
  one.runs += found.runs;
  if (!found.survived()) one.failure = found.report();
}

}  // namespace

campaign_outcome explore_disks(const campaign_options& options) {
  const clock::time_point end = clock::now() + options.time;
  std::vector<expedition> all = expeditions(options);
  bool first = true;
  while (!all.empty() && (first || clock::now() < end)) {
    for (expedition& one : all) {
      if (one.failure.empty() && (first || clock::now() < end)) go_on(one);
    }
    first = false;
  }
  campaign_outcome outcome;
  for (const expedition& one : all) {
    outcome.tried += one.runs;
    outcome.failed += one.failure.empty() ? 0U : 1U;
    std::printf("%s: %llu seeds, %llu runs%s%s\n", one.name().c_str(),
                static_cast<unsigned long long>(one.seeds),
                static_cast<unsigned long long>(one.runs), one.failure.empty() ? "" : "\n",
                one.failure.c_str());
  }
  return outcome;
}

}  // namespace weir::real_disks
