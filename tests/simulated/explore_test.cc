// What explore() finds, how it makes a failure short, and that the outcome does not depend on
// threads.
#include <algorithm>
#include <array>
#include <atomic>
#include <coroutine>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "simulated/shrink.hpp"
#include "weir/simulated.hpp"
#include "weir/weir.hpp"

namespace weir::testing {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

::testing::AssertionResult says(std::string_view text, std::string_view words) {
  if (text.find(words) != std::string_view::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "\"" << words << "\" is not in:\n" << text;
}

// --- scenarios -----------------------------------------------------------------------------------

struct acknowledged {
  std::set<std::string> names;  // files that hold their own name
};

enum class care : bool { none, durable };

/// Makes a file that holds its own name; false after the power failure.
task<bool> make_file(io_context& context, std::string name, care how) {
  const std::string path = "/" + name;
  result<file> made;
  if (how == care::durable) {
    made = co_await create_durably(context, path);
  } else {
    made = co_await open(context, path, {.write = true, .create = true});
  }
  if (!made) co_return false;
  const auto sync = how == care::durable ? durability::data : durability::none;
  if (!co_await commit(*made, bytes_of(name), 0, sync)) co_return false;
  co_return (co_await made->close()).has_value();
}

task<void> make_files(simulation with, acknowledged& notes, int count, care how) {
  for (int i = 0; i < count; ++i) {
    std::string name = "file" + std::to_string(i);
    if (!co_await make_file(with.context, name, how)) co_return;
    notes.names.insert(std::move(name));
  }
}

task<std::string> contents(io_context& context, std::string path) {
  result<file> opened = co_await open(context, path);
  if (!opened) co_return opened.error().message();
  std::string text(100, ' ');
  const auto count = co_await opened->read_at(std::as_writable_bytes(std::span(text)), 0);
  if (!count) co_return count.error().message();
  text.resize(*count);
  const result<void> closed = co_await opened->close();
  co_return closed ? text : closed.error().message();
}

task<std::string> all_are_there(simulation with, const acknowledged& notes) {
  for (const std::string& name : notes.names) {
    const std::string found = co_await contents(with.context, "/" + name);
    if (found != name) co_return name + " is not as acknowledged";
  }
  co_return "";
}

exploration explore_files(seed_range seeds, int count, care how,
                          const explore_options& options = {}) {
  return explore<acknowledged>(
      seeds,
      [count, how](simulation with, acknowledged& notes) {
        return make_files(with, notes, count, how);
      },
      all_are_there, options);
}

struct nothing {};

task<void> does_nothing(simulation, nothing&) { co_return; }
task<std::string> is_content(simulation, const nothing&) { co_return ""; }

// --- what is found -------------------------------------------------------------------------------

TEST(exploring, a_scenario_that_is_right_survives) {
  const exploration all = explore_files({.count = 20}, 3, care::durable);
  EXPECT_TRUE(all.survived()) << all.report();
  EXPECT_EQ(all.seeds, 20u);
  EXPECT_GT(all.runs, 20u * 3u);
  EXPECT_GT(all.operations, all.runs);
  EXPECT_TRUE(says(all.report(), "nothing failed"));
}

TEST(exploring, one_that_does_not_sync_is_caught_with_one_fault) {
  const exploration all = explore_files({.count = 100}, 3, care::none);
  ASSERT_FALSE(all.survived());
  const simulated_failure& found = *all.failure;
  EXPECT_TRUE(says(found.what, "is not as acknowledged"));
  ASSERT_EQ(found.faults.size(), 1u) << all.report();
  EXPECT_TRUE(found.faults[0].what == simulated_fault::lost ||
              found.faults[0].what == simulated_fault::torn);
  // A file is opened, written and closed: the first may be lost when that has been answered.
  EXPECT_EQ(found.power_off_after, 4u) << all.report();
}

TEST(exploring, the_report_says_seed_moment_faults_and_what_happened) {
  const exploration all = explore_files({.first = 40, .count = 100}, 2, care::none);
  ASSERT_FALSE(all.survived());
  const std::string report = all.report();
  EXPECT_TRUE(says(report, "Seed " + std::to_string(all.failure->seed) + " fails"));
  EXPECT_TRUE(says(report, "the power failing after 4 operations"));
  EXPECT_TRUE(says(report, "is not as acknowledged"));
  EXPECT_TRUE(says(report, "It takes 1 fault:\n  operation "));
  EXPECT_TRUE(says(report, all.failure->trace));
  EXPECT_TRUE(says(all.failure->trace, "the power fails"));
}

TEST(exploring, what_is_wrong_without_a_power_failure_is_found_without_one) {
  const auto wrong = [](simulation, const nothing&) -> task<std::string> { co_return "always"; };
  const exploration all = explore<nothing>({.count = 5}, does_nothing, wrong);
  ASSERT_FALSE(all.survived());
  EXPECT_EQ(all.failure->power_off_after, 0u);
  EXPECT_TRUE(all.failure->faults.empty());
  EXPECT_EQ(all.failure->what, "always");
  EXPECT_TRUE(says(all.report(), "without a power failure"));
  EXPECT_TRUE(says(all.report(), "It takes no fault."));
}

TEST(exploring, a_power_failure_after_the_end_is_one_of_the_moments) {
  // Closing comes last, so only then has everything been acknowledged.
  const auto one = [](simulation with, acknowledged& notes) {
    return make_files(with, notes, 1, care::none);
  };
  for (const bool also_without : {false, true}) {
    const exploration all =
        explore<acknowledged>({.count = 100}, one, all_are_there, {.also_without = also_without});
    ASSERT_FALSE(all.survived());
    EXPECT_GT(all.failure->power_off_after, all.failure->operations);
    EXPECT_TRUE(says(all.report(), "when the scenario has ended, after 3 operations"));
  }
}

TEST(exploring, notes_are_new_for_each_run) {
  struct counted {
    int runs = 0;
  };
  const auto count = [](simulation, counted& notes) -> task<void> {
    ++notes.runs;
    co_return;
  };
  const auto once = [](simulation, const counted& notes) -> task<std::string> {
    co_return notes.runs == 1 ? "" : "these notes are old";
  };
  EXPECT_TRUE(explore<counted>({.count = 10}, count, once).survived());
}

// --- moments -------------------------------------------------------------------------------------

/// Of each run, how many operations were answered before the power failed.
class moments {
 public:
  exploration explore(const explore_options& options) {
    return weir::explore<nothing>(
        {.count = 10}, [this](simulation with, nothing&) { return count(with); }, is_content,
        options);
  }

  std::map<std::uint64_t, std::multiset<int>> seen;  // by seed

 private:
  static constexpr int operations = 20;

  task<void> count(simulation with) {
    int answered = 0;
    for (; answered < operations; ++answered) {
      if (!co_await status(with.context, "/")) break;
    }
    const std::scoped_lock lock(mutex_);
    seen[with.seed].insert(answered);
  }

  std::mutex mutex_;
};

TEST(exploring, the_power_fails_at_every_operation_and_after_the_last) {
  moments all;
  EXPECT_TRUE(all.explore({}).survived());
  std::multiset<int> every{20, 20};  // without a power failure, and with one after the last
  for (int i = 0; i < 20; ++i) every.insert(i);
  ASSERT_EQ(all.seen.size(), 10u);
  for (const auto& [seed, seen] : all.seen) EXPECT_EQ(seen, every) << "seed " << seed;
}

TEST(exploring, so_many_moments_as_asked_for_are_drawn_each_at_most_once) {
  moments all;
  const exploration found = all.explore({.power_failures = 7});
  EXPECT_EQ(found.runs, 10u * (1 + 7));
  std::set<std::multiset<int>> different;
  for (const auto& [seed, seen] : all.seen) {
    EXPECT_EQ(seen.size(), 8u);
    EXPECT_EQ(std::set(seen.begin(), seen.end()).size() + (seen.count(20) == 2 ? 1 : 0), 8u);
    different.insert(seen);
  }
  EXPECT_GT(different.size(), 1u);
}

TEST(exploring, more_moments_than_there_are_is_all_of_them) {
  moments all;
  EXPECT_EQ(all.explore({.power_failures = 1000}).runs, 10u * 22);
}

// --- shrinking -----------------------------------------------------------------------------------

/// Two copies, neither durable: only the loss of both is a failure.
exploration explore_copies(const explore_options& options, seed_range seeds = {.count = 200}) {
  struct copies {
    bool made = false;
  };
  const auto scenario = [](simulation with, copies& notes) -> task<void> {
    for (const char* name : {"a", "b", "c", "d"}) {
      if (!co_await make_file(with.context, name, care::none)) co_return;
    }
    notes.made = true;
  };
  const auto check = [](simulation with, const copies& notes) -> task<std::string> {
    if (!notes.made) co_return "";
    const bool first = co_await contents(with.context, "/a") == "a";
    const bool second = co_await contents(with.context, "/c") == "c";
    co_return first || second ? "" : "both copies are gone";
  };
  return explore<copies>(seeds, scenario, check, options);
}

TEST(shrinking, leaves_the_faults_that_it_takes_and_no_others) {
  const exploration all = explore_copies({});
  ASSERT_FALSE(all.survived());
  ASSERT_EQ(all.failure->faults.size(), 2u) << all.report();
  const seed_range same{.first = all.failure->seed, .count = 1};
  explore_options again;
  again.disk.replay = all.failure->faults;
  EXPECT_FALSE(explore_copies(again, same).survived());
  for (const simulated_fault_at& each : all.failure->faults) {
    again.disk.replay = {each};
    EXPECT_TRUE(explore_copies(again, same).survived()) << "with one of the two only";
  }
}

TEST(shrinking, finds_the_earliest_power_failure_also_where_few_are_drawn) {
  const exploration all = explore_files({.count = 100}, 10, care::none, {.power_failures = 1});
  ASSERT_FALSE(all.survived());
  EXPECT_EQ(all.failure->power_off_after, 4u) << all.report();
}

TEST(shrinking, stays_with_the_seed_where_there_is_no_other) {
  const exploration all = explore_files({.count = 100}, 3, care::none);
  ASSERT_FALSE(all.survived());
  const seed_range same{.first = all.failure->seed, .count = 1};
  const exploration again = explore_files(same, 3, care::none);
  ASSERT_FALSE(again.survived());
  EXPECT_EQ(again.failure->seed, all.failure->seed);
  EXPECT_EQ(again.failure->faults, all.failure->faults);
  EXPECT_EQ(again.failure->trace, all.failure->trace);
}

TEST(shrinking, keeps_of_faults_during_the_run_what_it_takes) {
  struct read_back {
    bool wrong = false;
  };
  const auto scenario = [](simulation with, read_back& notes) -> task<void> {
    if (!co_await make_file(with.context, "name", care::durable)) co_return;
    for (int i = 0; i < 20; ++i) {
      const std::string found = co_await contents(with.context, "/name");
      if (found.size() == 4 && found != "name") notes.wrong = true;
    }
  };
  const auto check = [](simulation, const read_back& notes) -> task<std::string> {
    co_return notes.wrong ? "read what nobody wrote" : "";
  };
  explore_options options;
  options.disk.faults = {.bit_rot = 0.05, .short_transfer = 0.1, .stalled = 0.1};
  const exploration all = explore<read_back>({.count = 100}, scenario, check, options);
  ASSERT_FALSE(all.survived());
  ASSERT_EQ(all.failure->faults.size(), 1u) << all.report();
  EXPECT_EQ(all.failure->faults[0].what, simulated_fault::bit_rot);
}

/// Whether it holds all of these.
template <std::size_t count>
auto holds(std::array<int, count> needed) {
  return [needed](const std::vector<int>& some) {
    return std::ranges::all_of(
        needed, [&](int each) { return std::ranges::find(some, each) != some.end(); });
  };
}

TEST(shrinking, fewest_keeps_what_is_needed_wherever_it_is) {
  using detail::simulated::fewest;
  std::vector<int> all(100);
  std::ranges::generate(all, [n = 0]() mutable { return n++; });
  EXPECT_EQ(fewest(all, holds<0>({})), (std::vector<int>{}));
  EXPECT_EQ(fewest(all, holds<1>({0})), (std::vector<int>{0}));
  EXPECT_EQ(fewest(all, holds<3>({3, 50, 99})), (std::vector<int>{3, 50, 99}));
  EXPECT_EQ(fewest(std::vector{1, 2}, holds<2>({1, 2})).size(), 2u);
  EXPECT_EQ(fewest(std::vector<int>{}, holds<0>({})), (std::vector<int>{}));
}

TEST(shrinking, fewest_looks_again_when_something_has_gone) {
  // 1 is needed as long as 2 is there.
  const auto fails = [](const std::vector<int>& some) {
    const bool first = std::ranges::find(some, 1) != some.end();
    const bool second = std::ranges::find(some, 2) != some.end();
    return first || !second;
  };
  EXPECT_EQ(detail::simulated::fewest(std::vector{1, 2}, fails), (std::vector<int>{}));
  const auto fails_and_3 = [&](const std::vector<int>& some) {
    return fails(some) && std::ranges::find(some, 3) != some.end();
  };
  EXPECT_EQ(detail::simulated::fewest(std::vector{1, 2, 3}, fails_and_3), (std::vector<int>{3}));
}

// --- threads -------------------------------------------------------------------------------------

void expect_same(const exploration& one, const exploration& other) {
  EXPECT_EQ(one.seeds, other.seeds);
  EXPECT_EQ(one.runs, other.runs);
  EXPECT_EQ(one.operations, other.operations);
  EXPECT_EQ(one.report(), other.report());
}

TEST(exploring, has_the_same_outcome_with_any_number_of_threads) {
  const exploration right = explore_files({.count = 40}, 2, care::durable, {.threads = 1});
  const exploration wrong = explore_copies({.threads = 1});
  ASSERT_TRUE(right.survived());
  ASSERT_FALSE(wrong.survived());
  for (const unsigned threads : {2u, 4u, 7u}) {
    expect_same(right, explore_files({.count = 40}, 2, care::durable, {.threads = threads}));
    expect_same(wrong, explore_copies({.threads = threads}));
  }
}

TEST(exploring, the_first_seed_that_fails_wins_however_long_it_takes) {
  // From seed 10 on all fail, and the first of them is the slowest.
  const auto scenario = [](simulation with, nothing&) -> task<void> {
    for (int i = 0; i < (with.seed == 10 ? 2000 : 1); ++i) {
      if (!co_await status(with.context, "/")) co_return;
    }
    if (with.seed >= 10) throw std::runtime_error("seed " + std::to_string(with.seed));
  };
  const exploration all = explore<nothing>({.count = 50}, scenario, is_content, {.threads = 4});
  ASSERT_FALSE(all.survived());
  EXPECT_EQ(all.failure->seed, 10u);
  EXPECT_EQ(all.seeds, 10u);
}

TEST(exploring, no_seeds_are_no_failure) {
  const exploration none = explore_files({.count = 0}, 1, care::none);
  EXPECT_TRUE(none.survived());
  EXPECT_EQ(none.runs, 0u);
}

TEST(exploring, the_last_seed_of_all_may_be_explored) {
  const exploration last = explore_files({.first = UINT64_MAX, .count = 1}, 1, care::durable);
  EXPECT_TRUE(last.survived());
  EXPECT_EQ(last.seeds, 1u);
}

// --- what is thrown, and what does not end -------------------------------------------------------

TEST(exploring, what_a_scenario_throws_is_a_failure) {
  const auto throws = [](simulation, nothing&) -> task<void> {
    throw std::runtime_error("no such luck");
    co_return;
  };
  const exploration all = explore<nothing>({.count = 5}, throws, is_content);
  ASSERT_FALSE(all.survived());
  EXPECT_EQ(all.failure->what, "the scenario threw: no such luck");
}

TEST(exploring, what_a_check_throws_is_a_failure) {
  const auto throws = [](simulation, const nothing&) -> task<std::string> {
    throw std::runtime_error("");
    co_return "";
  };
  const exploration all = explore<nothing>({.count = 5}, does_nothing, throws);
  ASSERT_FALSE(all.survived());
  EXPECT_EQ(all.failure->what, "the check threw: ");
}

TEST(exploring, what_is_no_exception_may_be_thrown) {
  const auto throws = [](simulation, nothing&) -> task<void> {
    throw 7;
    co_return;
  };
  const exploration all = explore<nothing>({.count = 1}, throws, is_content);
  ASSERT_FALSE(all.survived());
  EXPECT_EQ(all.failure->what, "the scenario threw what is no std::exception");
}

TEST(exploring, a_disk_that_cannot_be_made_throws) {
  explore_options options;
  options.disk.faults.bit_rot = 2;
  for (const unsigned threads : {1u, 3u}) {
    options.threads = threads;
    EXPECT_THROW(explore_files({.count = 5}, 1, care::none, options), std::system_error);
  }
  EXPECT_THROW(explore_files({.count = 5}, 1, care::none, {.queue_depth = 0}), std::system_error);
}

TEST(exploring, a_scenario_that_goes_on_without_power_is_named) {
  const auto tries_again = [](simulation with, nothing&) -> task<void> {
    while (!co_await status(with.context, "/")) {
    }
  };
  const exploration all = explore<nothing>({.count = 2}, tries_again, is_content, {.threads = 1});
  ASSERT_FALSE(all.survived());
  EXPECT_TRUE(says(all.failure->what, "the scenario goes on after the power failure"));
  EXPECT_EQ(all.failure->power_off_after, 1u);
}

/// Nobody resumes who awaits it.
struct never_comes {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept {}
};

TEST(exploring, who_waits_for_nothing_is_named) {
  const auto waits = [](simulation, nothing&) -> task<void> { co_await never_comes{}; };
  const exploration scenario = explore<nothing>({.count = 2}, waits, is_content);
  ASSERT_FALSE(scenario.survived());
  EXPECT_TRUE(says(scenario.failure->what, "the scenario waits for what nobody will bring"));

  const auto check_waits = [](simulation, const nothing&) -> task<std::string> {
    co_await never_comes{};
    co_return "";
  };
  const exploration check = explore<nothing>({.count = 2}, does_nothing, check_waits);
  ASSERT_FALSE(check.survived());
  EXPECT_TRUE(says(check.failure->what, "the check waits for what nobody will bring"));
}

TEST(exploring, a_failure_that_does_not_come_again_says_so) {
  std::atomic<int> runs = 0;
  const auto once = [&](simulation, const nothing&) -> task<std::string> {
    co_return runs++ == 0 ? "only once" : "";
  };
  const exploration all = explore<nothing>({.count = 3}, does_nothing, once, {.threads = 1});
  ASSERT_FALSE(all.survived());
  EXPECT_TRUE(says(all.failure->what, "only once"));
  EXPECT_TRUE(says(all.failure->what, "did not do the same twice"));
}

// --- many contexts -------------------------------------------------------------------------------

TEST(exploring, a_scenario_may_have_contexts_of_its_own) {
  const auto scenario = [](simulation with, acknowledged& notes) -> task<void> {
    io_context other(with.disk.open_driver().value());
    bool done = false;
    spawn(other, [](io_context& on, acknowledged& into, bool& ended) -> task<void> {
      if (co_await make_file(on, "there", care::durable)) into.names.insert("there");
      ended = true;
    }(other, notes, done));
    with.disk.run_until({&other}, [&] { return done; });
    co_return;
  };
  const exploration all = explore<acknowledged>({.count = 20}, scenario, all_are_there);
  EXPECT_TRUE(all.survived()) << all.report();
}

}  // namespace
}  // namespace weir::testing
