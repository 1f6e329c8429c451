// A few buffers for many.

#include "daemon/server/buffer_leases.hpp"

#include <vector>

#include "support/support.hpp"
#include "weir/task.hpp"

namespace weir::testing {
namespace {

using detail::daemon::buffer_leases;

task<> hold_until(buffer_leases& all, io_context& context, const bool& over, int& held) {
  const auto lent = co_await all.borrow();
  ++held;
  while (!over) [[maybe_unused]]
    const auto turned = co_await context.schedule();
}

task<> borrow_in_vain(buffer_leases& all, std::vector<int>& order, int number) {
  const auto lent = co_await all.borrow();
  order.push_back(number);
}

// Each gives its buffer back at once, and the next is not called from within.
TEST(buffer_leases, a_hundred_thousand_who_wait_are_served_in_order_on_a_flat_stack) {
  const auto context = open_context("sync");
  buffer_leases all(*context);
  bool over = false;
  int held = 0;
  std::vector<int> order;
  // As many as there are buffers, and one more, who waits.
  for (int before = -1; held != before;) {
    before = held;
    spawn(*context, hold_until(all, *context, over, held));
    context->dispatch(false);
  }
  constexpr int many = 100'000;
  for (int i = 0; i < many; ++i) spawn(*context, borrow_in_vain(all, order, i));
  context->dispatch(false);
  EXPECT_TRUE(order.empty());
  over = true;
  context->run();
  ASSERT_EQ(order.size(), static_cast<std::size_t>(many));
  for (int i = 0; i < many; ++i) ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(buffer_leases, memory_is_nobody_elses_meanwhile) {
  const auto context = open_context("sync");
  buffer_leases all(*context);
  context->run([](buffer_leases& from) -> task<> {
    const auto one = co_await from.borrow();
    const auto other = co_await from.borrow();
    fill(one.memory(), 0, 1);
    fill(other.memory(), 0, 2);
    EXPECT_TRUE(holds_pattern(one.memory(), 0, 1));
    EXPECT_EQ(one.memory().size(), buffer_leases::size);
  }(all));
}

}  // namespace
}  // namespace weir::testing
