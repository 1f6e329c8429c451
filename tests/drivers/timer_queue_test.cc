#include "drivers/timer_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::timer_queue;

std::unique_ptr<operation> timeout_at(std::uint64_t time) {
  const request what{.op = opcode::timeout, .offset = time};
  return std::make_unique<operation>(what, nullptr);
}

constexpr std::uint64_t future = std::uint64_t{1} << 60;

TEST(timer_queue, has_no_earliest_when_it_is_empty) {
  timer_queue timers;
  EXPECT_TRUE(timers.empty());
  EXPECT_EQ(timers.earliest(), deadline::never());
  operation_queue completed;
  timers.expire(completed);
  timers.cancel_named(cancel_request_for_all(), completed);
  EXPECT_TRUE(completed.empty());
}

TEST(timer_queue, does_not_find_what_is_not_in_it) {
  timer_queue timers;
  const auto in = timeout_at(future);
  const auto out = timeout_at(future);
  ASSERT_EQ(timers.insert(*in), 0);
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, UINT64_MAX}) {
    out->args.length = length;
    EXPECT_FALSE(timers.remove(*out));
  }
  EXPECT_TRUE(timers.remove(*in));
  EXPECT_FALSE(timers.remove(*in));
  EXPECT_TRUE(timers.empty());
}

TEST(timer_queue, expires_what_has_passed_in_order_and_keeps_the_rest) {
  timer_queue timers;
  std::vector<std::unique_ptr<operation>> all;
  for (const std::uint64_t time : {5u, 3u, 9u, 0u, 3u}) all.push_back(timeout_at(time));
  all.push_back(timeout_at(future));
  for (const auto& each : all) ASSERT_EQ(timers.insert(*each), 0);
  operation_queue completed;
  timers.expire(completed);
  std::vector<std::uint64_t> times;
  while (!completed.empty()) {
    EXPECT_EQ(completed.front().answer(), 0);
    times.push_back(completed.pop_front().args.offset);
  }
  EXPECT_EQ(times, (std::vector<std::uint64_t>{0, 3, 3, 5, 9}));
  EXPECT_EQ(timers.earliest(), deadline{static_cast<std::int64_t>(future)});
  timers.cancel_named(cancel_request_for_all(), completed);
  ASSERT_EQ(completed.size(), 1);
  EXPECT_EQ(completed.front().answer(), -ECANCELED);
  EXPECT_TRUE(timers.empty());
}

// Against a map, through many inserts and removals in any order.
TEST(timer_queue, knows_the_earliest_whatever_happens) {
  std::mt19937_64 random(3);
  timer_queue timers;
  std::multimap<std::uint64_t, std::unique_ptr<operation>> expected;
  for (int i = 0; i < 100'000; ++i) {
    if (expected.empty() || random() % 5 < 3) {
      auto made = timeout_at(future + random() % 1000);
      ASSERT_EQ(timers.insert(*made), 0);
      expected.emplace(made->args.offset, std::move(made));
    } else {
      auto at = expected.begin();
      if (random() % 2 == 0) {
        at = expected.lower_bound(future + random() % 1000);
        if (at == expected.end()) at = expected.begin();
      }
      ASSERT_TRUE(timers.remove(*at->second));
      expected.erase(at);
    }
    ASSERT_EQ(timers.empty(), expected.empty());
    if (expected.empty()) continue;
    ASSERT_EQ(timers.earliest().monotonic_ns, static_cast<std::int64_t>(expected.begin()->first));
  }
}

}  // namespace
}  // namespace weir::testing
