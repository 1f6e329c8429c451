#include "weir/callback.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "support/support.hpp"

namespace weir::testing {
namespace {

class callbacks : public driver_test {
 protected:
  io_context& context() { return *context_; }
  file patterned(std::size_t size) {
    return {context(), make_patterned_file(directory_ / "file", size).release()};
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, callbacks, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(callbacks, hear_what_a_coroutine_would_be_given) {
  file f = patterned(8192);
  std::array<std::byte, 4096> memory{};
  result<std::size_t> heard = 0;
  int calls = 0;
  start(f.read_at(memory, 100), [&](result<std::size_t> n) {
    heard = n;
    ++calls;
  });
  EXPECT_EQ(calls, 0);
  context().run();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(heard, 4096U);
  EXPECT_TRUE(holds_pattern(memory, 100));
}

// Invariant 5
TEST_P(callbacks, may_start_the_next_operation_and_nothing_nests) {
  file f = patterned(4096);
  std::byte memory{};
  int left = 10'000;
  int depth = 0;
  std::function<void()> next = [&] {
    start(f.read_at(std::span(&memory, 1), 0), [&](result<std::size_t> n) {
      EXPECT_EQ(++depth, 1);
      EXPECT_EQ(n, 1U);
      if (--left > 0) next();
      --depth;
    });
  };
  next();
  context().run();
  EXPECT_EQ(left, 0);
}

// Invariant 7
TEST_P(callbacks, get_the_travelling_buffer_back_in_success_and_in_failure) {
  file f = patterned(4096);
  buffer data(4096);
  const std::byte* address = data.data();
  std::vector<buffer_result> heard;
  start(f.read_at(std::move(data), 0), [&](buffer_result r) { heard.push_back(std::move(r)); });
  context().run();
  ASSERT_EQ(heard.size(), 1U);
  EXPECT_EQ(heard[0].transferred, 4096U);
  EXPECT_EQ(heard[0].data.data(), address);

  file write_only(context(), open_file(directory_ / "file", O_WRONLY).release());
  start(write_only.read_at(std::move(heard[0].data), 0),
        [&](buffer_result r) { heard.push_back(std::move(r)); });
  context().run();
  ASSERT_EQ(heard.size(), 2U);
  EXPECT_EQ(heard[1].transferred.error(), std::errc::bad_file_descriptor);
  EXPECT_EQ(heard[1].data.data(), address);
}

TEST_P(callbacks, of_a_closed_file_are_called_at_once) {
  file closed;
  std::optional<std::error_code> heard;
  start(closed.sync(), [&](result<void> r) { heard = r.error(); });
  ASSERT_TRUE(heard.has_value());
  EXPECT_EQ(*heard, std::errc::bad_file_descriptor);
}

// Invariant 8: the operation outlives whoever has forgotten it, and so does the callback's memory.
TEST_P(callbacks, are_run_and_freed_when_the_context_goes) {
  if (GetParam() == "sync") GTEST_SKIP() << "sync carries out in submit: it would block for ever";
  const pipe_ends pipe = make_pipe();
  auto memory = std::make_shared<std::byte>();
  const std::weak_ptr<std::byte> watched = memory;
  std::optional<result<std::size_t>> heard;
  {
    file f(context(), ::dup(pipe.read.get()));
    const std::span<std::byte> into(memory.get(), 1);
    start(f.read_at(into, 0),
          [&heard, memory = std::move(memory)](result<std::size_t> n) { heard = n; });
    context().flush();
    pipe.feed(1);  // for drivers that cannot stop what they have begun
  }
  context_.reset();
  ASSERT_TRUE(heard.has_value());
  EXPECT_TRUE(watched.expired());
}

TEST_P(callbacks, of_an_abandoned_open_close_what_was_opened) {
  patterned(1);
  const std::size_t before = count_descriptors();
  int calls = 0;
  start(open(context(), directory_ / "file"), [&](result<file> opened) {
    EXPECT_TRUE(opened.has_value());
    ++calls;  // and drops it
  });
  context().run();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(count_descriptors(), before);
}

// --- without allocation --------------------------------------------------------------------------

/// I6 and I15 of weir's predecessors: an argument for each operation, a handler shared by all.
struct page {
  struct handler {
    page* self;
    void operator()(result<std::size_t> n) const noexcept { self->answers->push_back(*n); }
  };

  page(file& f, std::uint64_t offset, std::vector<std::size_t>& log)
      : answers(&log), operation(f.read_at(memory, offset), handler{this}) {}

  std::array<std::byte, 512> memory{};
  std::vector<std::size_t>* answers;
  callback_operation<io_sender, handler> operation;
};

TEST_P(callbacks, can_be_embedded_in_the_users_own_object) {
  file f = patterned(1024 + 100);
  std::vector<std::size_t> answers;
  answers.reserve(3);
  std::deque<page> pages;
  for (const std::uint64_t offset : {0U, 512U, 1024U}) pages.emplace_back(f, offset, answers);
  for (page& each : pages) each.operation.start();
  context().run();
  std::ranges::sort(answers);
  EXPECT_EQ(answers, (std::vector<std::size_t>{100, 512, 512}));
  EXPECT_TRUE(holds_pattern(pages[1].memory, 512));
}

TEST_P(callbacks, may_destroy_the_object_they_are_embedded_in) {
  struct owner {
    struct handler {
      std::unique_ptr<owner>* self;
      void operator()(result<std::size_t>) const noexcept { self->reset(); }
    };
    owner(file& f, std::unique_ptr<owner>* self)
        : operation(f.read_at(std::span(&memory, 1), 0), handler{self}) {}
    std::byte memory{};
    callback_operation<io_sender, handler> operation;
  };
  file f = patterned(1);
  std::unique_ptr<owner> only;
  only = std::make_unique<owner>(f, &only);
  only->operation.start();
  context().run();
  EXPECT_EQ(only, nullptr);
}

// --- foreign executors ---------------------------------------------------------------------------

/// A receiver as P2300 has it: the value channel, by a member.
struct receiver {
  std::optional<result<std::size_t>>* into;
  void set_value(result<std::size_t> value) && noexcept { *into = value; }
};

TEST_P(callbacks, are_what_a_foreign_receiver_is_connected_by) {
  file f = patterned(4096);
  std::array<std::byte, 4096> memory{};
  std::optional<result<std::size_t>> heard;
  auto state = f.read_at(memory, 0).connect(receiver{&heard});
  EXPECT_FALSE(heard.has_value());
  state.start();
  EXPECT_FALSE(heard.has_value());
  context().run();
  ASSERT_TRUE(heard.has_value());
  EXPECT_EQ(*heard, 4096U);
}

TEST_P(callbacks, of_a_foreign_receiver_hear_errors_in_the_value) {
  file closed;
  std::array<std::byte, 16> memory{};
  std::optional<result<std::size_t>> heard;
  auto state = closed.read_at(memory, 0).connect(receiver{&heard});
  state.start();
  ASSERT_TRUE(heard.has_value());
  EXPECT_EQ(heard->error(), std::errc::bad_file_descriptor);
}

static_assert(sender<io_sender> && sender<io_void_sender> && sender<buffer_sender> &&
              sender<whole_sender> && sender<policy_sender> && sender<stat_sender> &&
              sender<open_sender> && sender<close_sender> && sender<sleep_sender>);
static_assert(!sender<int> && !sender<task<int>>);

}  // namespace
}  // namespace weir::testing
