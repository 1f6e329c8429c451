#include "simulated/shrink.hpp"

namespace weir::detail::simulated {
namespace {

// For an earlier power failure: so many seeds, and runs altogether, besides those of the seed that
// has failed.
constexpr std::uint64_t most_other_seeds = 64;
constexpr std::uint64_t most_other_runs = 4096;

bool same(const verdict& one, const verdict& other) {
  return one.wrong == other.wrong && one.digest == other.digest && one.faults == other.faults;
}

constexpr const char* not_the_same_twice =
    " (The same seed did not do the same twice: the scenario, or the check, depends on something "
    "besides its disk and its seed, as on the time, on addresses or on other threads.)";

}  // namespace

simulated_failure shrinker::shortest(const trial& failed, const verdict& with) {
  best_ = failed;
  verdict_ = with;
  const verdict again = run_(best_);
  if (!same(again, with)) {
    simulated_failure failure = told();
    failure.what += not_the_same_twice;
    return failure;
  }
  // Without a power failure there is none to be moved.
  if (best_.power_off_after != never) look_for_earlier();
  remove_faults();
  return told();
}

bool shrinker::takes(const trial& candidate) {
  verdict found = run_(candidate);
  if (!found.failed()) return false;
  best_ = candidate;
  verdict_ = std::move(found);
  return true;
}

/// Looks for the earliest power failure with which `candidate` fails, if there is one before that
/// of the best.
bool shrinker::fails_earlier(trial candidate) {
  const std::uint64_t end = best_.power_off_after;
  for (std::uint64_t after = 1; after < end; ++after) {
    candidate.power_off_after = after;
    verdict found = run_(candidate);
    if (found.failed()) {
      best_ = std::move(candidate);
      verdict_ = std::move(found);
      return true;
    }
    if (after > found.scenario_operations) break;  // it had ended before
  }
  return false;
}

void shrinker::look_for_earlier() {
  const std::uint64_t first = best_.seed;
  fails_earlier({.seed = first});
  const std::uint64_t others =
      std::min({last_seed_ - first, most_other_seeds, most_other_runs / best_.power_off_after});
  for (std::uint64_t i = 1; i <= others; ++i) fails_earlier({.seed = first + i});
}

void shrinker::remove_faults() {
  trial candidate = best_;
  candidate.faults = verdict_.faults;
  // Where those that were met are not all that it takes, they are left as they are.
  if (!takes(candidate)) return;
  do {
    std::vector<simulated_fault_at> needed =
        fewest(*best_.faults, [&](const std::vector<simulated_fault_at>& some) {
          candidate = best_;
          candidate.faults = some;
          return takes(candidate);
        });
    candidate = best_;
    // What is needed may be complete before everything else has happened.
  } while (best_.power_off_after != never && fails_earlier(candidate));
}

/// With its trace.
simulated_failure shrinker::told() {
  trial traced = best_;
  traced.trace = true;
  const verdict last = run_(traced);
  simulated_failure failure{.seed = best_.seed,
                            .power_off_after = best_.power_off_after,
                            .operations = last.scenario_operations,
                            .faults = last.faults,
                            .what = last.wrong,
                            .trace = last.trace};
  if (!last.failed()) failure.what = verdict_.wrong + not_the_same_twice;
  return failure;
}

}  // namespace weir::detail::simulated
