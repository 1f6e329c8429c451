#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <system_error>
#include <vector>

#include "durability/contents.hpp"
#include "durability/real/campaign.hpp"
#include "durability/real/own_scenarios.hpp"
#include "durability/real/trial.hpp"
#include "support/support.hpp"

namespace weir::real_disks {
namespace {

using clock = std::chrono::steady_clock;
using scenarios::scenario;

constexpr unsigned rounds = 6;
// However slow the machine. Each cut behind a promise finds out what is wrong; among so many there
// are some.
constexpr std::size_t fewest_cuts = 3;
constexpr std::size_t cuts_of_what_is_wrong = 10;

struct candidate {
  std::string_view driver;
  scenario tested;
  bool is_wrong;
};

// What there is time for in a thorough campaign.
constexpr std::array<std::string_view, 2> further_drivers{"daemon", "merging:uring"};

std::vector<std::string_view> drivers(const campaign_options& options) {
  std::vector<std::string_view> all(std::begin(testing::driver_names),
                                    std::end(testing::driver_names));
  if (options.thorough) all.insert(all.end(), further_drivers.begin(), further_drivers.end());
  std::erase_if(all, [](std::string_view each) {
    return !testing::report_of(testing::innermost(each)).available;
  });
  return all;
}

// What is wrong is wrong by every driver, so one is enough.
std::vector<candidate> candidates(const campaign_options& options) {
  std::vector<candidate> all;
  std::vector<scenario> right(scenarios::portable_scenarios().begin(),
                              scenarios::portable_scenarios().end());
  right.push_back(copying_and_dropping());
  right.push_back(putting());
  for (const std::string_view driver : drivers(options)) {
    for (const scenario& each : right) all.push_back({driver, each, false});
  }
  for (const scenario& each : scenarios::wrong_scenarios()) all.push_back({"sync", each, true});
  return all;
}

std::string name_of(const file_system& kind, const candidate& which) {
  return std::string(kind.name) + ' ' + std::string(which.driver) + ' ' +
         std::string(which.tested.name);
}

/// Divides what time there is among the trials that are still to come.
class time_budget {
 public:
  time_budget(std::chrono::seconds time, std::size_t trials)
      : end_(clock::now() + time), trials_left_(trials) {}

  std::size_t cuts() const {
    const auto left = std::chrono::duration<double>(end_ - clock::now()).count();
    const double share = left / static_cast<double>(std::max<std::size_t>(trials_left_, 1));
    return std::max(fewest_cuts, static_cast<std::size_t>(std::max(share / cost_of_cut_, 0.0)));
  }
  void spent(clock::duration time, std::size_t cuts) {
    --trials_left_;
    // Of the trial itself, too; the mean of the last few.
    const double cost = std::chrono::duration<double>(time).count() /
                        static_cast<double>(std::max<std::size_t>(cuts, 1));
    cost_of_cut_ += (cost - cost_of_cut_) / 8;
  }

 private:
  clock::time_point end_;
  std::size_t trials_left_;
  double cost_of_cut_ = 0.03;  // seconds; a first guess
};

void report(const std::string& name, const trial_outcome& outcome) {
  std::printf(
      "%s: %zu flushes, %zu promises; %zu cuts at flushes, %zu between; %zu repaired; "
      "%zu with violations\n",
      name.c_str(), outcome.flushes, outcome.promises, outcome.cuts_at_flushes,
      outcome.cuts_between, outcome.repaired, outcome.violations);
}

void report_words(const trial_outcome& outcome, std::uint64_t seed) {
  if (!outcome.error.empty()) std::printf("  FAILED: %s\n", outcome.error.c_str());
  for (const std::string& each : outcome.words) std::printf("  %s\n", each.c_str());
  std::printf("  with seed %llu\n", static_cast<unsigned long long>(seed));
}

// What is wrong must have been found out; everything else must be right.
bool is_as_expected(const candidate& which, const trial_outcome& outcome) {
  if (!outcome.error.empty()) return false;
  return which.is_wrong == (outcome.violations != 0);
}

void try_one(laboratory& where, const std::string& name, const candidate& which, std::uint64_t seed,
             time_budget& budget, campaign_outcome& all) {
  const clock::time_point begun = clock::now();
  const trial asked{.driver = which.driver,
                    .tested = which.tested,
                    .seed = scenarios::drawn(seed, name),
                    .cuts = which.is_wrong ? cuts_of_what_is_wrong : budget.cuts(),
                    .rounds = rounds};
  const trial_outcome outcome = where.carry_out(asked);
  const std::size_t cuts = outcome.cuts_at_flushes + outcome.cuts_between;
  budget.spent(clock::now() - begun, cuts);
  report(which.is_wrong ? name + " (wrong on purpose)" : name, outcome);
  if (!which.is_wrong) all.tried += cuts;
  if (is_as_expected(which, outcome)) return;
  ++all.failed;
  if (which.is_wrong && outcome.error.empty()) std::printf("  FAILED: was not found out\n");
  report_words(outcome, seed);
}

std::span<const file_system> kinds(const campaign_options& options) {
  constexpr std::size_t common = 2;
  return options.thorough ? file_systems() : file_systems().first(common);
}

std::vector<candidate> chosen(const file_system& kind, const campaign_options& options) {
  std::vector<candidate> all = candidates(options);
  std::erase_if(all, [&](const candidate& each) {
    return name_of(kind, each).find(options.only) == std::string::npos;
  });
  return all;
}

campaign_outcome cut_disks_of(laboratory& where, const campaign_options& options) {
  campaign_outcome all;
  std::size_t trials = 0;
  for (const file_system& kind : kinds(options)) trials += chosen(kind, options).size();
  time_budget budget(options.time, trials);
  std::string refused;
  bool any = false;
  for (const file_system& kind : kinds(options)) {
    const std::vector<candidate> these = chosen(kind, options);
    if (these.empty()) continue;
    if (const std::error_code failed = where.prepare(kind)) {
      refused += std::string(kind.name) + " cannot be made or mounted: " + failed.message() + "; ";
      std::printf("%s SKIPPED: %s\n", std::string(kind.name).c_str(), failed.message().c_str());
      continue;
    }
    any = true;
    for (const candidate& each : these) {
      if (where.is_lost()) return all;
      try_one(where, name_of(kind, each), each, options.seed, budget, all);
      std::fflush(stdout);
    }
  }
  if (!any) all.skipped = refused;
  return all;
}

}  // namespace

campaign_outcome cut_disks(const campaign_options& options) {
  if (testing::address_sanitizer || testing::thread_sanitizer) {
    return {.skipped = "a sanitizer sees as much where processes are killed"};
  }
  if (const std::error_code refused = enter_own_mount_namespace()) {
    return {.skipped = "may not mount: " + refused.message()};
  }
  std::optional<laboratory> where;
  try {
    where.emplace();
  } catch (const std::system_error& refused) {
    return {.skipped = refused.what()};
  }
  return cut_disks_of(*where, options);
}

}  // namespace weir::real_disks
