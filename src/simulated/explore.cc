// Exploring, from the top: seeds and threads here; one run in trial.cc; making a failure short in
// shrink.cc; saying it in exploration.cc.
#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "signal_mask.hpp"
#include "simulated/random.hpp"
#include "simulated/shrink.hpp"
#include "simulated/trial.hpp"

namespace weir::detail {
namespace simulated {
namespace {

// --- One seed ------------------------------------------------------------------------------------

/// A failed trial, and how.
struct found_failure {
  trial which;
  verdict how;
};

struct seed_outcome {
  std::uint64_t runs = 0;
  std::uint64_t operations = 0;
  std::optional<found_failure> failure;  ///< the first
  std::exception_ptr thrown;             ///< by what makes disks

  bool ends_it() const noexcept { return failure || thrown; }
};

/// `count` of 1 to `last`, each once, in their order (Floyd's algorithm); all where there are not
/// so many, or `count` is 0.
std::set<std::uint64_t> drawn_from(std::uint64_t last, std::uint64_t count, std::uint64_t seed) {
  if (count == 0) count = last;
  std::set<std::uint64_t> drawn;
  const random_source random(seed);
  for (std::uint64_t i = last - std::min(count, last); i < last; ++i) {
    const std::uint64_t each = 1 + random.below(i + 1, purpose::moment, i);
    drawn.insert(drawn.contains(each) ? i + 1 : each);
  }
  return drawn;
}

/// Everything that is to be tried of one seed, until something fails.
class seed_search {
 public:
  seed_search(std::uint64_t seed, const explored& what, const explore_options& options) noexcept
      : seed_(seed), what_(what), options_(options) {}

  /// `goes_on()` is asked before each run.
  template <class GoesOn>
  seed_outcome run(GoesOn goes_on) {
    // How many moments there are is known when one run has not been cut short.
    const std::uint64_t whole = options_.also_without ? never : at_the_end;
    const std::uint64_t operations = passed(whole);
    const std::uint64_t moments = options_.also_without ? operations + 1 : operations;
    if (outcome_.failure) return outcome_;
    for (const std::uint64_t after : drawn_from(moments, options_.power_failures, seed_)) {
      if (outcome_.failure || !goes_on()) break;
      passed(after);
    }
    return outcome_;
  }

 private:
  /// How many operations the scenario had started.
  std::uint64_t passed(std::uint64_t power_off_after) {
    const trial which{.seed = seed_, .power_off_after = power_off_after};
    verdict how = carry_out(which, what_, options_);
    ++outcome_.runs;
    outcome_.operations += how.operations;
    const std::uint64_t operations = how.scenario_operations;
    if (how.failed()) outcome_.failure = {which, std::move(how)};
    return operations;
  }

  std::uint64_t seed_;
  const explored& what_;
  const explore_options& options_;
  seed_outcome outcome_;
};

// --- Many seeds ----------------------------------------------------------------------------------

/// Threads take seeds in turn; what they find counts as if one thread had gone through them, so the
/// first seed that fails is the last that counts.
class seeds_search {
 public:
  seeds_search(seed_range seeds, const explored& what, const explore_options& options) noexcept
      : seeds_(seeds), what_(what), options_(options), end_(seeds.count) {}

  /// Returns the failure; its own thread is one of them.
  std::optional<found_failure> run(exploration& into);

 private:
  std::vector<std::jthread> start_others();
  void work() noexcept;
  seed_outcome search(std::uint64_t index) noexcept;
  void end_after(std::uint64_t index) noexcept;
  void count(std::uint64_t index, seed_outcome outcome);

  seed_range seeds_;
  const explored& what_;
  const explore_options& options_;
  std::atomic<std::uint64_t> next_ = 0;  // by their place in the range, as all of these
  std::atomic<std::uint64_t> end_;
  std::mutex mutex_;
  std::map<std::uint64_t, seed_outcome> waiting_;  // for those before them
  std::uint64_t counted_ = 0;
  exploration total_;
  seed_outcome last_;
};

unsigned threads_for(const explore_options& options, std::uint64_t seeds) {
  const unsigned wanted =
      options.threads != 0 ? options.threads : std::thread::hardware_concurrency();
  return static_cast<unsigned>(
      std::clamp<std::uint64_t>(wanted, 1, std::max<std::uint64_t>(seeds, 1)));
}

std::optional<found_failure> seeds_search::run(exploration& into) {
  {
    const std::vector<std::jthread> others = start_others();
    work();
  }
  into = total_;
  if (last_.thrown) std::rethrow_exception(last_.thrown);
  return std::move(last_.failure);
}

/// As many as are wanted, or as there can be: with fewer it only takes longer.
std::vector<std::jthread> seeds_search::start_others() {
  std::vector<std::jthread> others;
  const all_signals_blocked for_them;
  try {
    for (unsigned n = threads_for(options_, seeds_.count); n > 1; --n) {
      others.emplace_back([this] { work(); });
    }
  } catch (const std::system_error&) {
    return others;
  }
  return others;
}

void seeds_search::work() noexcept {
  for (;;) {
    const std::uint64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= end_.load(std::memory_order_relaxed)) return;
    seed_outcome outcome = search(index);
    if (outcome.ends_it()) end_after(index);
    const std::scoped_lock lock(mutex_);
    count(index, std::move(outcome));
  }
}

seed_outcome seeds_search::search(std::uint64_t index) noexcept {
  try {
    return seed_search(seeds_.first + index, what_, options_).run([&] {
      return index < end_.load(std::memory_order_relaxed);
    });
  } catch (...) {
    seed_outcome failed;
    failed.thrown = std::current_exception();
    return failed;
  }
}

/// Nobody need look beyond.
void seeds_search::end_after(std::uint64_t index) noexcept {
  std::uint64_t end = end_.load(std::memory_order_relaxed);
  while (index + 1 < end &&
         !end_.compare_exchange_weak(end, index + 1, std::memory_order_relaxed)) {
  }
}

void seeds_search::count(std::uint64_t index, seed_outcome outcome) {
  waiting_.emplace(index, std::move(outcome));
  while (!waiting_.empty() && waiting_.begin()->first == counted_ && !last_.ends_it()) {
    last_ = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    ++counted_;
    ++total_.seeds;
    total_.runs += last_.runs;
    total_.operations += last_.operations;
  }
}

}  // namespace
}  // namespace simulated

exploration explore(seed_range seeds, const explored& what, const explore_options& options) {
  using namespace simulated;
  exploration all;
  const auto failure = seeds_search(seeds, what, options).run(all);
  if (!failure) return all;
  const auto run = [&](const trial& which) {
    verdict how = carry_out(which, what, options);
    ++all.runs;
    all.operations += how.operations;
    return how;
  };
  all.failure =
      shrinker(run, seeds.first + (seeds.count - 1)).shortest(failure->which, failure->how);
  return all;
}

}  // namespace weir::detail
