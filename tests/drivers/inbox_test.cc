#include "drivers/inbox.hpp"

#include <array>
#include <thread>
#include <vector>

#include "drivers/event_fd.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::inbox;
using enum inbox::taker;

TEST(inbox, wakes_a_sleeping_taker_once) {
  inbox box;  // nobody has looked yet
  std::array<recorded, 3> operations{recorded{{}}, recorded{{}}, recorded{{}}};
  EXPECT_TRUE(box.put(operations[0]));
  EXPECT_FALSE(box.put(operations[1]));
  EXPECT_FALSE(box.put(operations[2]));
}

TEST(inbox, gives_in_order_what_was_put) {
  inbox box;
  std::array<recorded, 3> operations{recorded{{}}, recorded{{}}, recorded{{}}};
  recorded earlier{{}};
  for (recorded& each : operations) box.put(each);
  operation_queue taken;
  taken.push_back(earlier);
  EXPECT_EQ(box.take(taken, stays_awake), 3);
  EXPECT_EQ(&taken.pop_front(), &earlier);
  for (recorded& each : operations) EXPECT_EQ(&taken.pop_front(), &each);
  EXPECT_TRUE(taken.empty());
}

TEST(inbox, leaves_a_taker_alone_that_is_awake) {
  inbox box;
  recorded op{{}};
  operation_queue taken;
  EXPECT_EQ(box.take(taken, stays_awake), 0);
  EXPECT_FALSE(box.put(op));
  EXPECT_EQ(box.take(taken, stays_awake), 1);
}

TEST(inbox, wakes_a_taker_that_fell_asleep_with_something_in_its_hands) {
  inbox box;
  recorded first{{}};
  recorded second{{}};
  operation_queue taken;
  box.put(first);
  EXPECT_EQ(box.take(taken, falls_asleep), 1);
  EXPECT_TRUE(box.put(second));
  EXPECT_EQ(box.take(taken, falls_asleep), 1);
  EXPECT_EQ(box.take(taken, falls_asleep), 0);
  taken = {};
  EXPECT_TRUE(box.put(first));
}

// Invariant 1: the taker sleeps until it is woken, so a wake-up that is lost ends the test.
TEST(inbox, loses_nothing_among_many_threads) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each_puts = thread_sanitizer ? 2'000 : 20'000;
  inbox box;
  detail::event_fd event;
  ASSERT_EQ(event.open(), 0);
  std::array<batch, threads> operations;
  for (batch& each : operations) {
    for (std::size_t i = 0; i < each_puts; ++i) add(each, {});
  }
  std::vector<std::jthread> givers;
  for (batch& mine : operations) {
    givers.emplace_back([&] {
      for (const auto& op : mine) {
        if (box.put(*op)) event.signal();
      }
    });
  }
  operation_queue taken;
  for (std::size_t look = 0; taken.size() < threads * each_puts; ++look) {
    if (look % 4 != 0 && box.take(taken, stays_awake) != 0) continue;
    if (box.take(taken, falls_asleep) != 0) continue;
    ASSERT_TRUE(readable(event.fd(), 10'000)) << "after " << taken.size();
    event.clear();
  }
  EXPECT_EQ(taken.size(), threads * each_puts);
}

}  // namespace
}  // namespace weir::testing
