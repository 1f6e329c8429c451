// What weir bench makes of its numbers, of numbers made up: no disk takes part.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "bench/advice.hpp"
#include "bench/results.hpp"

namespace weir::tools::bench {
namespace {

constexpr regime warm_random{.cache = cache::warm, .depth = 32};
constexpr regime cold_random{.cache = cache::cold, .depth = 32};
constexpr regime direct_random{.cache = cache::direct, .depth = 32};
constexpr regime cold_stream{
    .cache = cache::cold, .order = order::sequential, .block = 1 * mib, .depth = 32};
constexpr regime direct_stream{
    .cache = cache::direct, .order = order::sequential, .block = 1 * mib, .depth = 32};
constexpr regime neighbours{
    .cache = cache::direct, .order = order::sequential, .depth = 32, .neighbours = true};

constexpr std::size_t rounds = 7;

/// As steady as nothing is: what differs at all, differs by more than the noise.
series steady(std::string who, double per_second, double cpu_microseconds = 10) {
  const sample each{.per_second = per_second, .cpu_seconds = cpu_microseconds * 1e-6};
  return {.contestant = std::move(who), .rounds = std::vector<sample>(rounds, each)};
}

/// Now this much faster, now this much slower.
series restless(std::string who, double per_second, double by, double cpu_microseconds = 10) {
  series made = steady(std::move(who), per_second, cpu_microseconds);
  for (std::size_t i = 0; i < rounds; ++i) made.rounds[i].per_second *= i % 2 == 0 ? by : 1 / by;
  return made;
}

row in(const regime& what, std::vector<series> all) {
  return {.what = what, .contestants = std::move(all)};
}

std::string why(const advice& given, std::string_view question) {
  for (const advice_line& each : given.lines) {
    if (each.question == question) return each.answer + ": " + each.why;
  }
  return "";
}

// --- the numbers ---------------------------------------------------------------------------------

TEST(bench_results, a_median_is_in_the_middle_of_what_it_varies_between) {
  const spread odd = spread_of({3, 1, 2});
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.least, 1);
  EXPECT_EQ(odd.most, 3);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).median, 2.5);
}

TEST(bench_results, a_ratio_is_taken_round_by_round) {
  series slow = steady("slow", 100);
  series fast = steady("fast", 200);
  // Whatever befell one round befell both.
  slow.rounds[3].per_second /= 10;
  fast.rounds[3].per_second /= 10;
  const spread ratio = ratio_of(fast, slow);
  EXPECT_DOUBLE_EQ(ratio.median, 2);
  EXPECT_DOUBLE_EQ(ratio.least, 2);
  EXPECT_DOUBLE_EQ(ratio.most, 2);
}

TEST(bench_results, noise_is_what_a_contestants_own_slices_differ_by) {
  EXPECT_NEAR(noise_of(in(warm_random, {restless("uring", 100, 1.1)})), 0.21, 0.001);
  EXPECT_EQ(noise_of(in(warm_random, {steady("uring", 100)})), 0.02) << "nothing is that steady";
}

TEST(bench_results, of_a_single_round_the_noise_is_not_known_and_not_small) {
  series once = steady("uring", 100);
  once.rounds.resize(1);
  EXPECT_EQ(noise_of(in(warm_random, {once})), 0.25);
}

TEST(bench_results, a_difference_within_the_noise_is_none) {
  EXPECT_EQ(judge(steady("a", 109), steady("b", 100), 0.1), verdict::same);
  EXPECT_EQ(judge(steady("a", 111), steady("b", 100), 0.1), verdict::faster);
  EXPECT_EQ(judge(steady("a", 100), steady("b", 111), 0.1), verdict::slower);
}

TEST(bench_results, a_difference_that_most_rounds_do_not_have_is_none) {
  series now_and_then = steady("a", 80);
  for (std::size_t i = 0; i < 4; ++i) now_and_then.rounds[i].per_second = 200;
  EXPECT_GT(ratio_of(now_and_then, steady("b", 100)).median, 1.9);
  EXPECT_EQ(judge(now_and_then, steady("b", 100), 0.1), verdict::same);
}

// --- the driver ----------------------------------------------------------------------------------

TEST(bench_advice, takes_the_driver_that_is_least_behind_over_all_regimes) {
  const advice given = advise({
      in(warm_random, {steady("uring", 1000), steady("linux_aio", 100), steady("threads", 90)}),
      in(direct_random, {steady("uring", 100), steady("linux_aio", 104), steady("threads", 60)}),
  });
  EXPECT_EQ(given.driver, "uring");
  EXPECT_NE(why(given, "Driver").find("linux_aio 68 %"), std::string::npos) << why(given, "Driver");
}

TEST(bench_advice, may_be_another_driver_than_weirs_first_choice) {
  const advice given = advise({in(direct_random, {steady("uring", 50), steady("linux_aio", 100)})});
  EXPECT_EQ(given.driver, "linux_aio");
}

TEST(bench_advice, spares_the_processor_where_speed_decides_nothing) {
  const advice given =
      advise({in(direct_random, {steady("uring", 100, 10), steady("linux_aio", 101, 4),
                                 steady("threads", 100, 20)})});
  EXPECT_EQ(given.driver, "linux_aio");
  EXPECT_NE(why(given, "Driver").find("processor time"), std::string::npos);
}

TEST(bench_advice, keeps_to_weirs_order_where_nothing_decides_and_says_so) {
  const advice given =
      advise({in(direct_random, {steady("uring", 100, 10), steady("threads", 100, 9.8)})});
  EXPECT_EQ(given.driver, "uring");
  EXPECT_NE(why(given, "Driver").find("no difference either"), std::string::npos);
}

TEST(bench_advice, does_not_take_noise_for_speed) {
  const advice given = advise(
      {in(direct_random, {restless("uring", 100, 1.2, 5), restless("threads", 110, 1 / 1.2, 20)})});
  EXPECT_EQ(given.driver, "uring");
}

TEST(bench_advice, never_prefers_what_stops_the_thread) {
  const advice given = advise(
      {in(warm_random, {steady("pread", 1000), steady("threads", 100), steady("sync", 900)})});
  EXPECT_EQ(given.driver, "threads");
}

TEST(bench_advice, has_no_driver_to_advise_where_only_blocking_calls_were_measured) {
  const advice given = advise({in(warm_random, {steady("pread", 1000), steady("sync", 900)})});
  EXPECT_EQ(given.driver, "");
  EXPECT_EQ(given.queue_depth, std::nullopt);
  EXPECT_NE(why(given, "Driver"), "");
}

TEST(bench_advice, of_nothing_says_nothing) { EXPECT_TRUE(advise({}).lines.empty()); }

// --- the depth -----------------------------------------------------------------------------------

advice advice_for_depths(double one, double eight, double thirty_two, double many) {
  std::vector<row> rows;
  for (const auto& [depth, rate] : std::vector<std::pair<unsigned, double>>{
           {1, one}, {8, eight}, {32, thirty_two}, {128, many}}) {
    rows.push_back(in({.cache = cache::direct, .depth = depth}, {steady("uring", rate)}));
  }
  return advise(rows);
}

TEST(bench_advice, queues_as_deep_as_brings_more) {
  EXPECT_EQ(advice_for_depths(10'000, 60'000, 90'000, 92'000).queue_depth, 32U);
  EXPECT_EQ(advice_for_depths(10'000, 60'000, 90'000, 120'000).queue_depth, 128U);
  EXPECT_EQ(advice_for_depths(100, 101, 102, 103).queue_depth, 1U);
  EXPECT_EQ(advice_for_depths(10, 40, 30, 20).queue_depth, 8U);
}

TEST(bench_advice, says_how_long_each_waits_in_a_queue_that_is_too_deep) {
  const std::string reason = why(advice_for_depths(10'000, 60'000, 90'000, 92'000), "Queue depth");
  EXPECT_NE(reason.find("356 us each"), std::string::npos) << reason;
  EXPECT_NE(reason.find("1.39 ms each"), std::string::npos) << reason;
}

TEST(bench_advice, takes_the_depth_from_cold_reads_where_there_are_no_direct_ones) {
  const advice given = advise({in({.cache = cache::cold, .depth = 1}, {steady("threads", 100)}),
                               in({.cache = cache::cold, .depth = 32}, {steady("threads", 900)})});
  EXPECT_EQ(given.queue_depth, 32U);
}

// --- the route -----------------------------------------------------------------------------------

advice advice_for_streams(const series& cold, const series& direct) {
  return advise({in(cold_stream, {cold}), in(direct_stream, {direct})});
}

TEST(bench_advice, streams_take_the_faster_route) {
  EXPECT_EQ(advice_for_streams(steady("uring", 500), steady("uring", 1500)).streams, route::direct);
  EXPECT_EQ(advice_for_streams(steady("uring", 1500), steady("uring", 500)).streams,
            route::buffered);
}

TEST(bench_advice, streams_spare_the_processor_where_both_routes_are_as_fast) {
  EXPECT_EQ(advice_for_streams(steady("uring", 1050, 400), steady("uring", 1000, 50)).streams,
            route::direct);
  EXPECT_EQ(advice_for_streams(steady("uring", 1000, 50), steady("uring", 1050, 400)).streams,
            route::buffered);
}

TEST(bench_advice, blocks_of_all_sizes_compare_by_their_bytes) {
  regime small = cold_stream;
  small.block = 128 * kib;
  small.depth = 1;
  const advice given =
      advise({in(small, {steady("uring", 12'000)}), in(direct_stream, {steady("uring", 1'000)})});
  EXPECT_EQ(given.streams, route::buffered);
  EXPECT_NE(why(given, "Streams read once").find("128 KiB, 1 in flight"), std::string::npos);
}

TEST(bench_advice, says_nothing_of_routes_where_only_one_was_measured) {
  const advice given = advise({in(cold_stream, {steady("uring", 500)})});
  EXPECT_EQ(given.streams, std::nullopt);
  EXPECT_EQ(given.random, std::nullopt);
}

TEST(bench_advice, random_reads_and_streams_may_differ) {
  const advice given =
      advise({in(cold_stream, {steady("uring", 1500)}), in(direct_stream, {steady("uring", 500)}),
              in(cold_random, {steady("uring", 100)}), in(direct_random, {steady("uring", 300)})});
  EXPECT_EQ(given.streams, route::buffered);
  EXPECT_EQ(given.random, route::direct);
}

// --- merging, and plain calls --------------------------------------------------------------------

advice advice_for_merging(const series& alone, const series& merged) {
  return advise({in(direct_random, {steady("uring", 100)}), in(neighbours, {alone, merged})});
}

TEST(bench_advice, merges_where_that_is_faster_beyond_the_noise) {
  EXPECT_EQ(advice_for_merging(steady("uring", 100), steady("merging:uring", 130)).merging, true);
  EXPECT_EQ(advice_for_merging(steady("uring", 100), steady("merging:uring", 90)).merging, false);
}

TEST(bench_advice, says_so_where_merging_makes_no_difference_beyond_the_noise) {
  const advice given =
      advice_for_merging(restless("uring", 100, 1.2), restless("merging:uring", 110, 1 / 1.2));
  EXPECT_EQ(given.merging, false);
  EXPECT_NE(why(given, "Merging").find("within the noise"), std::string::npos);
}

TEST(bench_advice, admits_where_plain_calls_are_faster) {
  const advice given = advise({in(warm_random, {steady("pread", 200), steady("uring", 100)}),
                               in(direct_random, {steady("pread", 100), steady("uring", 700)})});
  const std::string reason = why(given, "Plain pread");
  EXPECT_NE(reason.find("faster in 1 of 2"), std::string::npos) << reason;
  EXPECT_NE(reason.find("2.00 times"), std::string::npos) << reason;
}

TEST(bench_advice, admits_where_drivers_bring_no_speed_at_all) {
  const advice given = advise({in(direct_random, {steady("pread", 100), steady("uring", 100)})});
  const std::string reason = why(given, "Plain pread");
  EXPECT_NE(reason.find("within the noise"), std::string::npos) << reason;
}

TEST(bench_advice, tells_the_noise) {
  EXPECT_NE(why(advise({in(direct_random, {steady("uring", 100)})}), "Noise").find("2 %"),
            std::string::npos);
}

}  // namespace
}  // namespace weir::tools::bench
