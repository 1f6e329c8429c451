#include "weir/workers.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

TEST(workers, run_every_job_that_was_posted_before_they_go) {
  std::atomic<int> ran = 0;
  {
    workers pool(3);
    for (int i = 0; i < 10'000; ++i) pool.post([&] { ++ran; });
  }
  EXPECT_EQ(ran, 10'000);
}

// The predecessor's test of its pool.
TEST(workers, E_T10_two_million_jobs_of_four_producers_are_run_by_four_threads) {
  // The sanitizers take twenty times as long for each.
  constexpr int each = thread_sanitizer || address_sanitizer ? 25'000 : 500'000;
  std::atomic<int> ran = 0;
  {
    workers threads(4);
    std::vector<std::thread> producers;
    for (int i = 0; i < 4; ++i) {
      producers.emplace_back([&] {
        for (int job = 0; job < each; ++job) threads.post([&] { ++ran; });
      });
    }
    for (std::thread& producer : producers) producer.join();
  }
  EXPECT_EQ(ran, 4 * each);
}

TEST(workers, take_what_can_only_be_moved) {
  std::promise<int> promise;
  auto answer = promise.get_future();
  workers pool(1);
  pool.post([p = std::move(promise), n = std::make_unique<int>(7)]() mutable { p.set_value(*n); });
  EXPECT_EQ(answer.get(), 7);
}

// Invariant 14
TEST(workers, have_a_bound_that_is_exact) {
  workers pool(1, 3);
  std::latch release(1);
  std::latch busy(1);
  pool.post([&] {
    busy.count_down();
    release.wait();
  });
  busy.wait();  // from here on nothing is taken out of the queue
  int queued = 0;
  auto job = [] {};
  while (pool.try_post(job)) ++queued;
  EXPECT_EQ(queued, 3);
  EXPECT_EQ(pool.queued(), 3U);

  std::atomic<bool> posted = false;
  std::thread poster([&] {
    pool.post([] {});
    posted = true;
  });
  EXPECT_FALSE(posted);
  release.count_down();
  poster.join();
  EXPECT_TRUE(posted);
}

TEST(workers, leave_a_job_untouched_that_finds_no_room) {
  workers pool(1, 1);
  std::latch release(1);
  std::latch busy(1);
  pool.post([&] {
    busy.count_down();
    release.wait();
  });
  busy.wait();
  pool.post([] {});
  auto held = std::make_unique<int>(7);
  auto job = [held = std::move(held)] { EXPECT_EQ(*held, 7); };
  EXPECT_FALSE(pool.try_post(std::move(job)));
  job();  // still has it
  release.count_down();
}

class workers_on : public driver_test {};

INSTANTIATE_TEST_SUITE_P(drivers, workers_on, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(workers_on, a_driver_run_completions_elsewhere) {
  temp_directory directory;
  const auto context = open_context(GetParam());
  file f(*context, make_patterned_file(directory / "file", 4096).release());
  std::array<std::array<std::byte, 64>, 64> memory{};
  std::atomic<int> heard = 0;
  const auto here = std::this_thread::get_id();
  {
    workers pool(2);
    for (std::size_t i = 0; i < memory.size(); ++i) {
      start(f.read_at(memory[i], i * 64), pool, [&, i](result<std::size_t> n) {
        EXPECT_NE(std::this_thread::get_id(), here);
        EXPECT_EQ(n, 64U);
        EXPECT_TRUE(holds_pattern(memory[i], i * 64));
        ++heard;
      });
    }
    context->run();
  }
  EXPECT_EQ(heard, 64);
}

TEST_P(workers_on, a_driver_may_start_operations_from_there) {
  temp_directory directory;
  const auto context = open_context(GetParam());
  file f(*context, make_patterned_file(directory / "file", 4096).release());
  constexpr int chains = 8;
  constexpr int links = 200;
  workers pool(2);
  std::atomic<int> ended = 0;
  std::function<void(int)> go_on = [&](int left) {
    if (left == 0) {
      ++ended;
      start(context->schedule(), [](result<void>) {});  // so that the context looks again
      return;
    }
    auto memory = std::make_shared<std::array<std::byte, 16>>();
    start(f.read_at(*memory, 0), pool, [&go_on, left, memory](result<std::size_t> n) {
      EXPECT_EQ(n, 16U);
      go_on(left - 1);
    });
  };
  for (int i = 0; i < chains; ++i) go_on(links);
  drive_until(*context, [&] { return ended == chains; });
  context->run();
}

TEST(workers, destroyed_before_their_completions_abort_with_a_sentence) {
  if (thread_sanitizer) GTEST_SKIP() << "the thread sanitizer cannot follow a fork";
  const child_outcome outcome = run_in_child([] {
    const auto context = open_context("threads");
    std::byte memory{};
    const pipe_ends pipe = make_pipe();
    file f(*context, ::dup(pipe.read.get()));
    workers pool(1);
    start(f.read_at(std::span(&memory, 1), 0), pool, [](result<std::size_t>) {});
    context->flush();
  });
  EXPECT_TRUE(aborted_saying(outcome, "workers were destroyed"));
}

}  // namespace
}  // namespace weir::testing
