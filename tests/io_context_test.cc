#include "weir/io_context.hpp"

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

/// What does not depend on the driver, so on the simplest.
class context_of_one_thread : public ::testing::Test {
 protected:
  io_context& context() { return *context_; }

  std::unique_ptr<io_context> context_ = open_context("sync", {.queue_depth = 4});
};

TEST_F(context_of_one_thread, belongs_to_the_first_that_drives_it) {
  EXPECT_FALSE(context().on_own_thread());
  context().dispatch(false);
  EXPECT_TRUE(context().on_own_thread());
  std::thread([&] { EXPECT_FALSE(context().on_own_thread()); }).join();
}

TEST_F(context_of_one_thread, has_nothing_to_run_when_nothing_was_started) {
  context().run();
  context().flush();
  EXPECT_EQ(context().dispatch(false), 0);
  EXPECT_EQ(context().outstanding(), 0);
}

TEST_F(context_of_one_thread, runs_completions_in_the_order_in_which_they_finished) {
  std::vector<int> order;
  batch operations;
  for (int i = 0; i < 10; ++i) add(operations, {}).then = [&, i](recorded&) { order.push_back(i); };
  start_all(context(), operations);
  context().run();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(context_of_one_thread, runs_what_was_posted_in_the_order_of_its_posting) {
  std::vector<int> order;
  batch operations;
  for (int i = 0; i < 10; ++i) add(operations, {}).then = [&, i](recorded&) { order.push_back(i); };
  std::thread([&] { start_all(context(), operations); }).join();
  context().run();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(context_of_one_thread, counts_what_ran_in_a_turn) {
  batch operations;
  for (int i = 0; i < 6; ++i) add(operations, {});
  context().flush();
  start_all(context(), operations);
  EXPECT_EQ(context().outstanding(), 6);
  EXPECT_EQ(context().dispatch(true), 4);  // the queue depth
  EXPECT_EQ(context().outstanding(), 2);
  EXPECT_EQ(context().dispatch(true), 2);
}

// Invariant 5. What a completion starts waits for the next round, so nobody is starved.
TEST_F(context_of_one_thread, runs_in_a_turn_only_what_had_finished_before_it) {
  recorded second{request{}};
  recorded first({}, [&](recorded&) { context().start(second); });
  context().start(first);
  EXPECT_EQ(context().dispatch(false), 1);
  EXPECT_EQ(second.completions, 0);
  EXPECT_TRUE(readable(context().fd(), 0));
  EXPECT_EQ(context().dispatch(false), 1);
  EXPECT_EQ(second.completions, 1);
}

// Invariant 5
TEST_F(context_of_one_thread, may_be_flushed_by_a_completion) {
  recorded second{request{}};
  recorded first({}, [&](recorded&) {
    context().start(second);
    context().flush();
    EXPECT_EQ(second.completions, 0);
  });
  context().start(first);
  context().run();
  EXPECT_EQ(second.completions, 1);
}

TEST_F(context_of_one_thread, waits_for_what_another_thread_may_start) {
  recorded op{request{}};
  std::thread starter([&] { context().start(op); });
  EXPECT_EQ(context().dispatch(true), 1);
  starter.join();
  EXPECT_EQ(op.completions, 1);
}

TEST_F(context_of_one_thread, continues_a_coroutine_from_its_loop) {
  std::thread::id where;
  auto move_over = [&]() -> task<> {
    const result<void> scheduled = co_await context().schedule();
    EXPECT_TRUE(scheduled.has_value());
    where = std::this_thread::get_id();
  };
  // Awaited elsewhere: a coroutine that is nobody's task.
  std::thread([&] { spawn(context(), move_over()); }).join();
  EXPECT_EQ(where, std::thread::id{});
  context().run();
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST_F(context_of_one_thread, may_be_destroyed_by_any_thread_when_it_is_idle) {
  context().run();
  std::thread([&] { context_.reset(); }).join();
}

TEST_F(context_of_one_thread, may_be_destroyed_busy_by_the_first_that_cares) {
  recorded op{request{}};
  context().start(op);
  std::thread([&] { context_.reset(); }).join();
  EXPECT_TRUE(answered(op, -ECANCELED));
}

// --- misuse --------------------------------------------------------------------------------------

TEST(misused_context, without_a_driver_aborts_with_a_sentence) {
  const auto outcome = run_in_child([] { const io_context context(nullptr); });
  EXPECT_TRUE(aborted_saying(outcome, "an io_context was made without a driver"));
}

TEST(misused_context, driven_from_two_threads_aborts_with_a_sentence) {
  const auto outcome = run_in_child([] {
    const auto context = open_context("sync");
    context->run();
    std::thread([&] { context->run(); }).join();
  });
  EXPECT_TRUE(aborted_saying(outcome, "an io_context was driven from two threads"));
}

TEST(misused_context, destroyed_busy_by_another_thread_aborts_with_a_sentence) {
  const auto outcome = run_in_child([] {
    auto context = open_context("sync");
    context->run();
    recorded op{request{}};
    context->start(op);
    std::thread([&] { context.reset(); }).join();
  });
  EXPECT_TRUE(aborted_saying(outcome, "an io_context was driven from two threads"));
}

TEST(misused_context, driven_from_its_own_completion_aborts_with_a_sentence) {
  const std::vector<void (*)(io_context&)> ways = {
      [](io_context& context) { context.run(); },
      [](io_context& context) { context.dispatch(false); },
      [](io_context& context) { context.dispatch(true); },
      [](io_context& context) {
        auto nothing = []() -> task<> { co_return; };
        context.run(nothing());
      },
  };
  for (const auto& drive : ways) {
    const auto outcome = run_in_child([&] {
      const auto context = open_context("sync");
      recorded op({}, [&](recorded&) { drive(*context); });
      context->start(op);
      context->run();
    });
    EXPECT_TRUE(aborted_saying(outcome, "an io_context was driven from one of its own"));
  }
}

TEST(misused_context, destroyed_by_its_own_completion_aborts_with_a_sentence) {
  const auto outcome = run_in_child([] {
    auto context = open_context("sync");
    recorded op({}, [&](recorded&) { context.reset(); });
    context->start(op);
    context->run();
  });
  EXPECT_TRUE(aborted_saying(outcome, "an io_context was destroyed by one of its own"));
}

}  // namespace
}  // namespace weir::testing
