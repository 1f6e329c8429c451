#include "weir/stop.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "support/support.hpp"

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class stopping : public driver_test {
 protected:
  io_context& context() { return *context_; }
  bool can_be_blocked() const { return GetParam() != "sync"; }
  /// Whether a read that waits for a pipe can be stopped: a thread in read(2) cannot.
  bool can_stop_blocked() const { return GetParam() == "uring"; }

  temp_directory directory_;
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, stopping, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(stopping, before_the_start_starts_nothing) {
  const descriptor fd = make_patterned_file(directory_ / "file", 64);
  file f(context(), ::dup(fd.get()));
  std::stop_source source;
  source.request_stop();
  std::array<std::byte, 64> memory{};
  auto work = [&]() -> task<std::error_code> {
    const auto n = co_await with_stop(f.read_at(memory, 0), source.get_token());
    co_return error_of(n);
  };
  EXPECT_EQ(context().run(work()), std::errc::operation_canceled);
  EXPECT_TRUE(holds_only(memory, std::byte{0}));
}

TEST_P(stopping, that_never_happens_changes_nothing) {
  const descriptor fd = make_patterned_file(directory_ / "file", 64);
  file f(context(), ::dup(fd.get()));
  std::array<std::byte, 64> memory{};
  auto work = [&]() -> task<std::size_t> {
    const auto none = co_await with_stop(f.read_at(memory, 0), std::stop_token{});
    std::stop_source source;
    const auto silent = co_await with_stop(f.read_at(memory, 0), source.get_token());
    co_return *none + *silent;
  };
  EXPECT_EQ(context().run(work()), 128U);
}

TEST_P(stopping, ends_a_sleep_at_once) {
  std::stop_source source;
  auto sleeper = [&]() -> task<std::error_code> {
    const auto slept = co_await with_stop(context().sleep_for(1h), source.get_token());
    co_return error_of(slept);
  };
  auto stopper = [&]() -> task<std::error_code> {
    const auto paused = co_await context().sleep_for(1ms);
    source.request_stop();
    co_return error_of(paused);
  };
  auto both = [&]() -> task<std::error_code> {
    auto [slept, stopped] = co_await when_all(sleeper(), stopper());
    EXPECT_FALSE(stopped);
    co_return slept;
  };
  EXPECT_EQ(context().run(both()), std::errc::operation_canceled);
}

TEST_P(stopping, from_another_thread_ends_a_wait_for_readiness) {
  const pipe_ends pipe = make_pipe();
  std::stop_source source;
  auto waiter = [&]() -> task<std::error_code> {
    const auto ready =
        co_await with_stop(context().poll(pipe.read.get(), POLLIN), source.get_token());
    co_return error_of(ready);
  };
  std::thread stopper([&] { source.request_stop(); });
  EXPECT_EQ(context().run(waiter()), std::errc::operation_canceled);
  stopper.join();
}

TEST_P(stopping, ends_a_read_of_an_empty_pipe) {
  if (!can_stop_blocked()) GTEST_SKIP() << "a thread in read(2) cannot be stopped";
  const pipe_ends pipe = make_pipe();
  file f(context(), ::dup(pipe.read.get()));
  std::byte memory{};
  std::stop_source source;
  auto reader = [&]() -> task<std::error_code> {
    const auto n = co_await with_stop(f.read_at(std::span(&memory, 1), 0), source.get_token());
    co_return error_of(n);
  };
  std::thread stopper([&] { source.request_stop(); });
  EXPECT_EQ(context().run(reader()), std::errc::operation_canceled);
  stopper.join();
}

TEST_P(stopping, a_whole_transfer_says_how_much_had_been_moved) {
  if (!can_stop_blocked()) GTEST_SKIP() << "a thread in read(2) cannot be stopped";
  const pipe_ends pipe = make_pipe();
  file f(context(), ::dup(pipe.read.get()));
  std::array<std::byte, 8> memory{};
  std::stop_source source;
  pipe.feed(3);
  std::optional<transfer_result> heard;
  auto reader = [&]() -> task<> {
    heard = co_await with_stop(f.read_exactly_at(memory, 0), source.get_token());
  };
  auto stopper = [&]() -> task<> {
    while (bytes_in(pipe) != 0) co_await context().schedule();
    source.request_stop();
  };
  auto both = [&]() -> task<> { co_await when_all(reader(), stopper()); };
  context().run(both());
  EXPECT_EQ(heard->error(), std::errc::operation_canceled);
  EXPECT_EQ(heard->transferred, 3U);
}

TEST_P(stopping, does_not_keep_a_file_from_being_closed) {
  file f(context(), make_file(directory_ / "file").release());
  const int fd = f.native_handle();
  std::stop_source source;
  source.request_stop();
  auto work = [&]() -> task<bool> {
    const auto closed = co_await with_stop(f.close(), source.get_token());
    co_return closed.has_value();
  };
  EXPECT_TRUE(context().run(work()));
  EXPECT_FALSE(is_open(fd));
}

// Invariant 12: what was opened in spite of the stop is taken, or closed; and 4
TEST_P(stopping, an_open_leaks_no_descriptor_whoever_wins) {
  make_file(directory_ / "file");
  const std::size_t before = count_descriptors();
  int opened_anyway = 0;
  for (int round = 0; round < 500; ++round) {
    std::stop_source source;
    std::thread stopper([&] { source.request_stop(); });
    auto work = [&]() -> task<> {
      const auto opened =
          co_await with_stop(open(context(), directory_ / "file"), source.get_token());
      if (opened) {
        ++opened_anyway;
      } else {
        EXPECT_EQ(opened.error(), std::errc::operation_canceled);
      }
    };
    context().run(work());
    stopper.join();
  }
  RecordProperty("opened_anyway", opened_anyway);
  EXPECT_EQ(count_descriptors(), before);
}

// Invariants 1, 4 and 8, thousands of times
TEST_P(stopping, races_with_completions_and_loses_nothing) {
  constexpr int rounds = thread_sanitizer ? 1'000 : 5'000;
  const descriptor fd = make_patterned_file(directory_ / "file", 4096);
  file f(context(), ::dup(fd.get()));
  std::atomic<std::stop_source*> current = nullptr;
  std::atomic<bool> done = false;
  std::thread stopper([&] {
    while (!done) {
      if (std::stop_source* source = current.exchange(nullptr)) {
        source->request_stop();
        delete source;
      }
    }
  });
  int read = 0;
  int cancelled = 0;
  auto work = [&]() -> task<> {
    std::array<std::byte, 4096> memory{};
    for (int round = 0; round < rounds; ++round) {
      auto* source = new std::stop_source;
      auto token = source->get_token();
      delete current.exchange(source);
      const auto n = co_await with_stop(f.read_at(memory, 0), std::move(token));
      if (n) {
        EXPECT_EQ(*n, 4096U);
        ++read;
      } else {
        EXPECT_EQ(n.error(), std::errc::operation_canceled);
        ++cancelled;
      }
    }
  };
  context().run(work());
  done = true;
  stopper.join();
  delete current.exchange(nullptr);
  EXPECT_EQ(read + cancelled, rounds);
  EXPECT_EQ(context().outstanding(), 0U);
  RecordProperty("cancelled", cancelled);
}

TEST_P(stopping, races_on_operations_started_and_stopped_by_other_threads) {
  constexpr int rounds = thread_sanitizer ? 300 : 2'000;
  const descriptor fd = make_patterned_file(directory_ / "file", 4096);
  file f(context(), ::dup(fd.get()));
  std::atomic<int> heard = 0;
  std::jthread starter([&] {
    std::vector<std::array<std::byte, 64>> memory(rounds);
    for (auto& each : memory) {
      std::stop_source source;
      start(with_stop(f.read_at(each, 0), source.get_token()), [&](result<std::size_t> n) {
        EXPECT_TRUE(n || n.error() == std::errc::operation_canceled);
        ++heard;
      });
      source.request_stop();
    }
    while (heard != rounds) std::this_thread::yield();
    // Lets the context's thread see it.
    start(context().schedule(), [](result<void>) {});
  });
  drive_until(context(), [&] { return heard == rounds; });
  starter.join();
  context().run();
  EXPECT_EQ(heard, rounds);
}

// --- deadlines -----------------------------------------------------------------------------------

TEST_P(stopping, by_a_deadline_answers_timed_out) {
  const pipe_ends pipe = make_pipe();
  auto work = [&]() -> task<std::error_code> {
    const auto ready = co_await with_deadline(context().poll(pipe.read.get(), POLLIN), 2ms);
    co_return error_of(ready);
  };
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(context().run(work()), std::errc::timed_out);
  EXPECT_GE(std::chrono::steady_clock::now() - before, 2ms);
}

TEST_P(stopping, by_a_deadline_that_is_far_away_takes_no_time) {
  const descriptor fd = make_patterned_file(directory_ / "file", 64);
  file f(context(), ::dup(fd.get()));
  std::array<std::byte, 64> memory{};
  auto work = [&]() -> task<std::size_t> {
    const auto n = co_await with_deadline(f.read_at(memory, 0), 1h);
    co_return n.value_or(0);
  };
  EXPECT_EQ(context().run(work()), 64U);
  EXPECT_EQ(context().outstanding(), 0U);
}

TEST_P(stopping, by_a_deadline_composes_with_a_token) {
  const pipe_ends pipe = make_pipe();
  std::stop_source source;
  auto guarded = [&](std::chrono::nanoseconds limit) {
    return with_deadline(with_stop(context().poll(pipe.read.get(), POLLIN), source.get_token()),
                         limit);
  };
  auto outcome_of = [&](std::chrono::nanoseconds limit) -> task<std::error_code> {
    const auto ready = co_await guarded(limit);
    co_return error_of(ready);
  };
  EXPECT_EQ(context().run(outcome_of(1ms)), std::errc::timed_out);
  source.request_stop();
  EXPECT_EQ(context().run(outcome_of(1h)), std::errc::operation_canceled);
}

TEST_P(stopping, by_a_deadline_races_with_completions) {
  constexpr int rounds = thread_sanitizer ? 300 : 2'000;
  const descriptor fd = make_patterned_file(directory_ / "file", 4096);
  file f(context(), ::dup(fd.get()));
  int read = 0;
  int late = 0;
  auto work = [&]() -> task<> {
    std::array<std::byte, 4096> memory{};
    for (int round = 0; round < rounds; ++round) {
      const auto n = co_await with_deadline(f.read_at(memory, 0), round % 7 * 1us);
      if (n) {
        ++read;
      } else {
        EXPECT_EQ(n.error(), std::errc::timed_out);
        ++late;
      }
    }
  };
  context().run(work());
  EXPECT_EQ(read + late, rounds);
}

// --- many at once --------------------------------------------------------------------------------

TEST_P(stopping, everything_on_a_file_leaves_other_files_alone) {
  if (!can_stop_blocked()) GTEST_SKIP() << "a thread in read(2) cannot be stopped";
  const pipe_ends one = make_pipe();
  const pipe_ends other = make_pipe();
  file f(context(), ::dup(one.read.get()));
  file g(context(), ::dup(other.read.get()));
  std::array<std::byte, 3> memory{};
  std::vector<std::error_code> stopped;
  std::optional<result<std::size_t>> spared;
  for (std::byte& each : std::span(memory).first(2)) {
    start(f.read_at(std::span(&each, 1), 0),
          [&](result<std::size_t> n) { stopped.push_back(error_of(n)); });
  }
  start(g.read_at(std::span(&memory[2], 1), 0), [&](result<std::size_t> n) { spared = n; });
  context().flush();
  bool told = false;
  start(f.cancel(), [&](result<void> r) { told = r.has_value(); });
  drive_until(context(), [&] { return told && stopped.size() == 2; });
  for (const std::error_code& each : stopped) EXPECT_EQ(each, std::errc::operation_canceled);
  EXPECT_FALSE(spared.has_value());
  other.feed(1);
  context().run();
  EXPECT_EQ(spared, result<std::size_t>(1));
}

TEST_P(stopping, everything_on_a_file_includes_what_waits_for_room) {
  context_ = open_context(GetParam(), {.queue_depth = 1});
  if (!can_be_blocked()) GTEST_SKIP() << "sync carries out in submit: it would block for ever";
  const pipe_ends pipe = make_pipe();
  file blocker(context(), ::dup(pipe.read.get()));
  file f(context(), make_patterned_file(directory_ / "file", 64).release());
  std::array<std::byte, 64> memory{};
  std::byte fed{};
  int cancelled = 0;
  start(blocker.read_at(std::span(&fed, 1), 0), [](result<std::size_t> n) { EXPECT_EQ(n, 1U); });
  for (int i = 0; i < 10; ++i) {
    start(f.read_at(memory, 0), [&](result<std::size_t> n) {
      EXPECT_EQ(error_of(n), std::errc::operation_canceled);
      ++cancelled;
    });
  }
  context().flush();
  EXPECT_EQ(context().staged(), 10U);
  EXPECT_EQ(context().in_flight(), 1U);
  start(f.cancel(), [](result<void>) {});
  drive_until(context(), [&] { return cancelled == 10; });
  pipe.feed(1);
  context().run();
}

// Invariant 29
TEST_P(stopping, everything_and_draining_leaves_nothing) {
  const pipe_ends pipe = make_pipe();
  int heard = 0;
  for (int i = 0; i < 100; ++i) {
    start(context().sleep_for(1h), [&](result<void> r) {
      EXPECT_EQ(error_of(r), std::errc::operation_canceled);
      ++heard;
    });
    start(context().poll(pipe.read.get(), POLLIN), [&](result<unsigned> r) {
      EXPECT_EQ(error_of(r), std::errc::operation_canceled);
      ++heard;
    });
  }
  context().flush();
  context().cancel_and_drain();
  EXPECT_EQ(heard, 200);
  EXPECT_EQ(context().outstanding(), 0U);
  // And it goes on.
  bool scheduled = false;
  start(context().schedule(), [&](result<void> r) { scheduled = r.has_value(); });
  context().run();
  EXPECT_TRUE(scheduled);
}

}  // namespace
}  // namespace weir::testing
