#include "weir/task.hpp"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <variant>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

task<int> number(int value) { co_return value; }

task<> failing() {
  throw std::runtime_error("on purpose");
  co_return;
}

class task_on_a_context : public ::testing::Test {
 protected:
  io_context& context() { return *context_; }

  /// Suspended until the context's next round.
  task<int> later(int value) {
    const result<void> scheduled = co_await context().schedule();
    EXPECT_TRUE(scheduled.has_value());
    co_return value;
  }

  std::unique_ptr<io_context> context_ = open_context("sync");
};

TEST_F(task_on_a_context, yields_its_value) {
  EXPECT_EQ(context().run(number(42)), 42);
  EXPECT_EQ(context().run(later(43)), 43);
  EXPECT_EQ(sync_wait(context(), later(44)), 44);
}

TEST_F(task_on_a_context, yields_what_can_only_be_moved) {
  auto make = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
  EXPECT_EQ(*context().run(make()), 7);
}

TEST_F(task_on_a_context, yields_what_cannot_be_made_from_nothing) {
  struct particular {
    explicit particular(int n) : value(n) {}
    int value;
  };
  auto make = []() -> task<particular> { co_return particular(9); };
  EXPECT_EQ(context().run(make()).value, 9);
}

TEST_F(task_on_a_context, throws_what_it_threw) {
  EXPECT_THROW(context().run(failing()), std::runtime_error);
  auto after_waiting = [&]() -> task<int> {
    const int value = co_await later(1);
    if (value == 1) throw std::logic_error("on purpose");
    co_return value;
  };
  EXPECT_THROW(context().run(after_waiting()), std::logic_error);
  EXPECT_EQ(context().run(later(1)), 1);  // the context goes on
}

TEST_F(task_on_a_context, throws_to_whoever_awaits_it) {
  auto catching = [&]() -> task<std::string> {
    std::string caught;
    try {
      co_await failing();
    } catch (const std::runtime_error& thrown) {
      caught = thrown.what();
    }
    co_return caught;
  };
  EXPECT_EQ(context().run(catching()), "on purpose");
}

TEST_F(task_on_a_context, does_nothing_until_it_is_awaited) {
  bool begun = false;
  auto begin = [&]() -> task<> {
    begun = true;
    co_return;
  };
  {
    const task<> never = begin();
  }
  EXPECT_FALSE(begun);
  context().run(begin());
  EXPECT_TRUE(begun);
}

TEST_F(task_on_a_context, may_be_moved_before_it_begins) {
  task<int> first = number(1);
  task<int> second = std::move(first);
  first = number(2);
  second = std::move(first);  // frees the frame that it had
  EXPECT_EQ(context().run(std::move(second)), 2);
}

TEST_F(task_on_a_context, frees_its_parameters_and_locals) {
  auto watched = std::make_shared<int>(0);
  auto hold = [](std::shared_ptr<int> parameter) -> task<> {
    const std::shared_ptr<int> local = parameter;
    co_return;
  };
  {
    const task<> never = hold(watched);
    EXPECT_EQ(watched.use_count(), 2);
  }
  context().run(hold(watched));
  spawn(context(), hold(watched));
  context().run();
  EXPECT_EQ(watched.use_count(), 1);
}

task<int> depth_of(int levels) {
  if (levels == 0) co_return 0;
  const int below = co_await depth_of(levels - 1);
  co_return below + 1;
}

TEST_F(task_on_a_context, may_await_tasks_within_tasks) {
  EXPECT_EQ(context().run(depth_of(500)), 500);
}

// A compiler that does not optimize makes no tail calls, and a sanitizer prevents them.
TEST_F(task_on_a_context, may_await_any_number_of_tasks_on_a_small_stack) {
#if defined(__OPTIMIZE__)
  constexpr int count = thread_sanitizer || address_sanitizer ? 1'000 : 1'000'000;
#else
  constexpr int count = 1'000;
#endif
  auto add_up = []() -> task<int> {
    int sum = 0;
    for (int i = 0; i < count; ++i) {
      const int one = co_await number(1);
      sum += one;
    }
    co_return sum;
  };
  EXPECT_EQ(context().run(add_up()), count);
}

// Invariant 5. Each round of the loop begins with an empty stack, optimized or not.
TEST_F(task_on_a_context, may_await_any_number_of_operations) {
  auto count_rounds = [&]() -> task<int> {
    int rounds = 0;
    while (rounds < 100'000) {
      const result<void> scheduled = co_await context().schedule();
      EXPECT_TRUE(scheduled.has_value());
      ++rounds;
    }
    co_return rounds;
  };
  EXPECT_EQ(context().run(count_rounds()), 100'000);
}

TEST_F(task_on_a_context, ends_run_while_others_go_on) {
  int rounds = 0;
  auto long_one = [&]() -> task<> {
    for (int i = 0; i < 100; ++i) rounds += co_await later(1);
  };
  context().run();
  spawn(context(), long_one());
  EXPECT_EQ(context().run(later(5)), 5);
  EXPECT_LT(rounds, 100);
  context().run();
  EXPECT_EQ(rounds, 100);
}

// --- spawned -------------------------------------------------------------------------------------

TEST_F(task_on_a_context, begins_at_once_when_spawned_on_the_contexts_thread) {
  context().run();
  bool begun = false;
  auto begin = [&]() -> task<> {
    begun = true;
    co_return;
  };
  spawn(context(), begin());
  EXPECT_TRUE(begun);
}

TEST_F(task_on_a_context, begins_on_the_contexts_thread_wherever_it_was_spawned) {
  std::vector<std::thread::id> where;
  auto look = [&]() -> task<> {
    where.push_back(std::this_thread::get_id());
    const int value = co_await later(1);
    EXPECT_EQ(value, 1);
    where.push_back(std::this_thread::get_id());
  };
  std::thread([&] {
    for (int i = 0; i < 10; ++i) spawn(context(), look());
  }).join();
  EXPECT_TRUE(where.empty());
  context().run();
  EXPECT_EQ(where, std::vector(20, std::this_thread::get_id()));
}

TEST_F(task_on_a_context, may_spawn_others) {
  int leaves = 0;
  std::function<task<>(int)> grow = [&](int height) -> task<> {
    const int value = co_await later(height);
    if (value == 0) {
      ++leaves;
      co_return;
    }
    spawn(context(), grow(height - 1));
    spawn(context(), grow(height - 1));
  };
  context().run();
  spawn(context(), grow(8));
  context().run();
  EXPECT_EQ(leaves, 256);
}

TEST(misused_task, whose_exception_escapes_a_spawn_ends_the_program) {
  const auto outcome = run_in_child([] {
    const auto context = open_context("sync");
    context->run();
    spawn(*context, failing());
  });
  EXPECT_TRUE(aborted_saying(outcome, ""));
}

// Invariant 8
TEST(misused_task, destroyed_with_an_operation_in_flight_aborts_with_a_sentence) {
  const auto outcome = run_in_child([] {
    const auto context = open_context("sync");
    auto wait = [&]() -> task<> {
      [[maybe_unused]] const result<void> scheduled = co_await context->schedule();
    };
    auto outer = wait();
    auto begun = std::move(outer).operator co_await();
    begun.await_suspend(std::noop_coroutine()).resume();
    outer = wait();
  });
  EXPECT_TRUE(aborted_saying(outcome, "an operation was destroyed while it was in flight"));
}

// --- together ------------------------------------------------------------------------------------

TEST_F(task_on_a_context, waits_for_all_of_several_and_gets_what_each_yields) {
  auto work = [&]() -> task<std::string> {
    auto [one, nothing, scheduled, three] = co_await when_all(
        later(1), [&]() -> task<> { co_await later(2); }(), context().schedule(), number(3));
    static_assert(std::is_same_v<decltype(nothing), std::monostate>);
    co_return std::to_string(one) + std::to_string(three) + (scheduled ? "+" : "-");
  };
  EXPECT_EQ(context().run(work()), "13+");
}

TEST_F(task_on_a_context, waits_for_nothing_at_all) {
  auto work = [&]() -> task<std::size_t> {
    const std::tuple<> none = co_await when_all();
    const auto many = co_await when_all(std::vector<task<int>>{});
    co_return std::tuple_size_v<decltype(none)> + many.size();
  };
  EXPECT_EQ(context().run(work()), 0U);
}

TEST_F(task_on_a_context, waits_for_any_number_in_order) {
  auto work = [&]() -> task<bool> {
    std::vector<task<int>> tasks;
    for (int i = 0; i < 1'000; ++i) tasks.push_back(i % 2 == 0 ? later(i) : number(i));
    const std::vector<int> values = co_await when_all(std::move(tasks));
    for (int i = 0; i < 1'000; ++i) {
      if (values[static_cast<std::size_t>(i)] != i) co_return false;
    }
    std::vector<io_void_sender> senders(100, context().schedule());
    const auto answers = co_await when_all(std::move(senders));
    co_return answers.size() == 100;
  };
  EXPECT_TRUE(context().run(work()));
}

TEST_F(task_on_a_context, waits_for_the_others_before_it_throws) {
  bool other_ended = false;
  auto slow = [&]() -> task<> {
    for (int i = 0; i < 10; ++i) co_await later(i);
    other_ended = true;
  };
  auto work = [&]() -> task<> { co_await when_all(failing(), slow()); };
  EXPECT_THROW(context().run(work()), std::runtime_error);
  EXPECT_TRUE(other_ended);
}

}  // namespace
}  // namespace weir::testing
