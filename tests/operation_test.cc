#include "weir/operation.hpp"

#include <array>
#include <cerrno>
#include <deque>
#include <initializer_list>
#include <memory>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

/// A queue of operations that are told apart by their offsets.
class queue_of_operations : public ::testing::Test {
 protected:
  void push(operation_queue& to, std::initializer_list<std::uint64_t> numbers) {
    for (const std::uint64_t each : numbers) {
      to.push_back(made_.emplace_back(request{.offset = each}));
    }
  }

  static std::vector<std::uint64_t> take_all(operation_queue& from) {
    std::vector<std::uint64_t> offsets;
    while (!from.empty()) offsets.push_back(from.pop_front().args.offset);
    return offsets;
  }

  operation& made(std::size_t i) { return made_[i]; }

  using offsets = std::vector<std::uint64_t>;
  operation_queue queue_;

 private:
  std::deque<recorded> made_;
};

TEST_F(queue_of_operations, gives_back_in_order_what_it_was_given) {
  push(queue_, {1, 2, 3});
  EXPECT_EQ(queue_.size(), 3);
  EXPECT_EQ(queue_.front().args.offset, 1);
  EXPECT_EQ(take_all(queue_), (offsets{1, 2, 3}));
  EXPECT_EQ(queue_.size(), 0);
}

TEST_F(queue_of_operations, may_be_looked_through_without_taking_anything_out) {
  push(queue_, {1, 2, 3});
  offsets seen;
  for (const operation* at = &queue_.front(); at != nullptr; at = operation_queue::next(*at)) {
    seen.push_back(at->args.offset);
  }
  EXPECT_EQ(seen, (offsets{1, 2, 3}));
  EXPECT_EQ(take_all(queue_), seen);
}

TEST_F(queue_of_operations, may_be_filled_again_when_it_has_been_emptied) {
  push(queue_, {1});
  EXPECT_EQ(take_all(queue_), (offsets{1}));
  push(queue_, {2, 3});
  EXPECT_EQ(take_all(queue_), (offsets{2, 3}));
}

TEST_F(queue_of_operations, appends_another_which_is_empty_then) {
  operation_queue other;
  push(queue_, {1, 2});
  push(other, {3, 4});
  queue_.append(std::move(other));
  EXPECT_TRUE(other.empty());
  EXPECT_EQ(other.size(), 0);
  push(other, {5});
  queue_.append(std::move(other));
  queue_.append(operation_queue{});
  EXPECT_EQ(queue_.size(), 5);
  push(queue_, {6});
  EXPECT_EQ(take_all(queue_), (offsets{1, 2, 3, 4, 5, 6}));
}

TEST_F(queue_of_operations, appends_to_an_empty_one) {
  operation_queue other;
  push(other, {1, 2});
  queue_.append(std::move(other));
  push(queue_, {3});
  EXPECT_EQ(take_all(queue_), (offsets{1, 2, 3}));
}

TEST_F(queue_of_operations, is_empty_when_it_has_been_moved_from) {
  push(queue_, {1, 2});
  operation_queue taken = std::move(queue_);
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.size(), 0);
  push(queue_, {3});
  EXPECT_EQ(take_all(taken), (offsets{1, 2}));
  taken = std::move(queue_);
  push(queue_, {4});
  EXPECT_EQ(take_all(taken), (offsets{3}));
  EXPECT_EQ(take_all(queue_), (offsets{4}));
}

TEST_F(queue_of_operations, gives_up_any_of_its_operations) {
  for (const std::size_t which : {0uz, 1uz, 2uz}) {
    operation_queue queue;
    std::deque<recorded> three;
    for (std::uint64_t i = 0; i < 3; ++i) {
      queue.push_back(three.emplace_back(request{.offset = i}));
    }
    EXPECT_TRUE(queue.remove(three[which]));
    EXPECT_FALSE(queue.remove(three[which]));
    EXPECT_EQ(queue.size(), 2);
    // The end, too, is where it was.
    recorded last(request{.offset = 9});
    queue.push_back(last);
    offsets expected{0, 1, 2, 9};
    expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(which));
    EXPECT_EQ(take_all(queue), expected);
  }
}

TEST_F(queue_of_operations, is_empty_when_its_only_operation_was_removed) {
  push(queue_, {1});
  EXPECT_TRUE(queue_.remove(made(0)));
  EXPECT_TRUE(queue_.empty());
  push(queue_, {2});
  EXPECT_EQ(take_all(queue_), (offsets{2}));
}

TEST(operation, is_in_flight_from_start_until_just_before_its_completion) {
  const auto context = open_context("sync");
  bool during = true;
  recorded op({}, [&](recorded& self) { during = self.in_flight(); });
  EXPECT_FALSE(op.in_flight());
  context->start(op);
  EXPECT_TRUE(op.in_flight());
  context->run();
  EXPECT_FALSE(during);
  EXPECT_FALSE(op.in_flight());
}

TEST(operation, may_be_destroyed_by_its_own_completion) {
  const auto context = open_context("sync");
  bool completed = false;
  auto op = std::make_unique<recorded>(request{});
  op->then = [&](recorded&) {
    completed = true;
    // The function dies with the operation: what it still needs, it needs on the stack.
    auto last = std::move(op);
  };
  context->start(*op);
  context->run();
  EXPECT_TRUE(completed);
  EXPECT_EQ(op, nullptr);
}

// Invariant 8
TEST(operation, destroyed_while_it_is_only_staged_aborts_with_a_sentence) {
  const child_outcome outcome = run_in_child([] {
    const auto context = open_context("sync");
    const auto op = std::make_unique<recorded>(request{});
    context->start(*op);
    // Out of order, on purpose: `op` goes first.
  });
  EXPECT_TRUE(aborted_saying(outcome, "an operation was destroyed while it was in flight"));
}

TEST(operation, that_asks_for_a_cancel_names_its_target) {
  recorded target{request{}};
  const request what = cancel_request(target);
  EXPECT_EQ(what.op, opcode::cancel);
  EXPECT_EQ(what.address, static_cast<operation*>(&target));
}

}  // namespace
}  // namespace weir::testing
