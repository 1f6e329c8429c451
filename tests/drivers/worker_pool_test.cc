#include "drivers/worker_pool.hpp"

#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <vector>

#include "drivers/event_fd.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::event_fd;
using detail::worker_pool;

/// A pool as its owner sees it: submit, wait for the notice, collect.
class pool_of_workers : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(event_.open(), 0); }

  worker_pool& open(unsigned max_threads) {
    pool_ = std::make_unique<worker_pool>(max_threads, [this] { event_.signal(); });
    EXPECT_EQ(pool_->open(), 0);
    return *pool_;
  }

  void submit(std::initializer_list<operation*> operations) {
    operation_queue work;
    for (operation* op : operations) work.push_back(*op);
    pool_->submit(std::move(work));
  }

  /// Until `count` have finished; false if the pool forgot to say so for ten seconds.
  bool collect(std::size_t count) {
    while (count > 0) {
      if (!readable(event_.fd(), 10'000)) return false;
      event_.clear();
      count -= pool_->collect(finished_);
    }
    return true;
  }

  /// Reads of an empty pipe: each holds a thread until it is fed.
  void block_threads(std::size_t count) {
    memory_.resize(count);
    operation_queue work;
    for (std::byte& each : memory_) {
      work.push_back(add(blocked_, read_request(pipe_.read.get(), {&each, 1})));
    }
    pool_->submit(std::move(work));
  }

  pipe_ends pipe_ = make_pipe();
  std::vector<std::byte> memory_;
  batch blocked_;
  event_fd event_;
  operation_queue finished_;
  std::unique_ptr<worker_pool> pool_;
};

TEST_F(pool_of_workers, begins_with_one_thread) { EXPECT_EQ(open(4).threads(), 1); }

TEST_F(pool_of_workers, answers_what_it_was_given) {
  open(4);
  recorded good{request{}};
  recorded bad(request{.op = opcode::fsync, .fd = -1});
  submit({&good, &bad});
  ASSERT_TRUE(collect(2));
  EXPECT_EQ(finished_.size(), 2);
  EXPECT_EQ(good.answer(), 0);
  EXPECT_EQ(bad.answer(), -EBADF);
}

// Invariant 14
TEST_F(pool_of_workers, grows_while_operations_block_up_to_its_bound) {
  const std::size_t before = count_threads();
  open(4);
  block_threads(20);
  EXPECT_TRUE(eventually([&] { return pool_->threads() == 4; }));
  pipe_.feed(10);
  ASSERT_TRUE(collect(10));
  EXPECT_EQ(pool_->threads(), 4);
  EXPECT_EQ(count_threads(), before + 4);
  pipe_.feed(10);
  ASSERT_TRUE(collect(10));
  for (const auto& op : blocked_) EXPECT_EQ(op->answer(), 1);
}

// Invariant 16
TEST_F(pool_of_workers, carries_on_beside_what_is_blocked) {
  open(4);
  block_threads(3);
  recorded quick{request{}};
  submit({&quick});
  ASSERT_TRUE(collect(1));
  EXPECT_EQ(&finished_.front(), &quick);
  pipe_.feed(3);
  ASSERT_TRUE(collect(3));
}

TEST_F(pool_of_workers, ends_its_threads) {
  const std::size_t before = count_threads();
  open(8);
  block_threads(8);
  EXPECT_TRUE(eventually([&] { return pool_->threads() == 8; }));
  pipe_.feed(8);
  ASSERT_TRUE(collect(8));
  pool_.reset();
  EXPECT_TRUE(eventually([&] { return count_threads() == before; }));
}

// --- cancelling ----------------------------------------------------------------------------------

/// A pool of one thread, which is busy: it writes more than a pipe holds.
class busy_pool : public pool_of_workers {
 protected:
  void SetUp() override {
    pool_of_workers::SetUp();
    open(1);
    submit({&busy_, &first_, &second_, &third_});
    ASSERT_TRUE(eventually([&] { return bytes_in(pipe_) > 0; }));
  }

  /// Empties the pipe, so that the write ends; then the rest can.
  void let_go() {
    std::vector<std::byte> taken(too_much_.size());
    for (std::size_t at = 0; at < taken.size();) {
      const auto more = ::read(pipe_.read.get(), &taken[at], taken.size() - at);
      ASSERT_GT(more, 0);
      at += static_cast<std::size_t>(more);
    }
  }

  std::vector<std::byte> too_much_ = std::vector<std::byte>(200'000);
  recorded busy_{write_request(pipe_.write.get(), too_much_)};
  recorded first_{request{}};
  recorded second_{request{}};
  recorded third_{request{}};
};

TEST_F(busy_pool, withdraws_what_is_queued) {
  EXPECT_EQ(pool_->cancel(second_), 0);
  // It is there to be collected, without notice to the owner, who withdrew it.
  EXPECT_EQ(pool_->collect(finished_), 1);
  EXPECT_EQ(second_.answer(), -ECANCELED);
  EXPECT_EQ(pool_->cancel(second_), -ENOENT);
  let_go();
  ASSERT_TRUE(collect(3));
  EXPECT_EQ(first_.answer(), 0);
  EXPECT_EQ(third_.answer(), 0);
}

TEST_F(busy_pool, withdraws_everything_that_is_queued) {
  pool_->cancel_named(cancel_request_for_all());
  EXPECT_EQ(pool_->collect(finished_), 3);
  for (const recorded* each : {&first_, &second_, &third_}) EXPECT_EQ(each->answer(), -ECANCELED);
  let_go();
  ASSERT_TRUE(collect(1));
}

// Invariant 4
TEST_F(busy_pool, cannot_stop_what_it_is_doing) {
  EXPECT_EQ(pool_->cancel(busy_), -EALREADY);
  let_go();
  ASSERT_TRUE(collect(4));
  EXPECT_EQ(busy_.answer(), 200'000);
}

TEST_F(pool_of_workers, does_not_find_what_it_does_not_have) {
  open(1);
  recorded stranger{request{}};
  EXPECT_EQ(pool_->cancel(stranger), -ENOENT);
}

// --- many, and none ------------------------------------------------------------------------------

// Invariants 1 and 13. A summons overtaken by a worker that was busy must not be lost: then an
// operation would lie in the queue while all threads sleep.
TEST_F(pool_of_workers, completes_every_burst_of_short_operations) {
  open(4);
  constexpr std::size_t all = 100'000;
  batch operations;
  for (std::size_t i = 0; i < 7; ++i) add(operations, {});
  std::size_t burst = 1;
  for (std::size_t done = 0; done < all; done += burst) {
    burst = burst % operations.size() + 1;
    operation_queue work;
    for (std::size_t i = 0; i < burst; ++i) work.push_back(*operations[i]);
    pool_->submit(std::move(work));
    ASSERT_TRUE(collect(burst)) << "after " << done;
    ASSERT_EQ(finished_.size(), burst);
    finished_ = {};
  }
}

// The same with several bursts on their way.
TEST_F(pool_of_workers, completes_overlapping_bursts) {
  open(3);
  constexpr std::size_t all = 100'000;
  batch operations;
  for (std::size_t i = 0; i < 64; ++i) add(operations, {});
  operation_queue idle;
  for (const auto& op : operations) idle.push_back(*op);
  for (std::size_t submitted = 0; submitted < all;) {
    operation_queue work;
    for (std::size_t n = submitted % 5 + 1; n > 0 && !idle.empty(); --n) {
      work.push_back(idle.pop_front());
      ++submitted;
    }
    pool_->submit(std::move(work));
    ASSERT_TRUE(!idle.empty() || readable(event_.fd(), 10'000)) << "after " << submitted;
    event_.clear();
    pool_->collect(idle);
  }
  ASSERT_TRUE(collect(operations.size() - idle.size()));
}

// By threads that are all there, to an owner that now waits for a notice and now looks by itself.
TEST_F(pool_of_workers, completes_long_bursts_by_sixteen_threads) {
  open(16);
  block_threads(16);
  ASSERT_TRUE(eventually([&] { return pool_->threads() == 16; }));
  pipe_.feed(16);
  ASSERT_TRUE(collect(16));
  finished_ = {};
  constexpr std::size_t all = 100'000;
  batch operations;
  for (std::size_t i = 0; i < 1'000; ++i) add(operations, {});
  for (std::size_t done = 0; done < all; done += operations.size()) {
    operation_queue work;
    for (const auto& op : operations) {
      op->set_answer(-EIO);
      work.push_back(*op);
    }
    pool_->submit(std::move(work));
    std::size_t found = 0;
    while (done % 3 == 0 && found < operations.size() / 2) {
      found += pool_->collect(finished_, worker_pool::owner::stays_awake);
    }
    found += pool_->collect(finished_, worker_pool::owner::falls_asleep);
    ASSERT_TRUE(collect(operations.size() - found)) << "after " << done;
    ASSERT_EQ(finished_.size(), operations.size());
    for (const auto& op : operations) ASSERT_EQ(op->answer(), 0);
    finished_ = {};
  }
}

// Invariant 16: whoever takes the one that blocks has taken nothing else.
TEST_F(pool_of_workers, completes_short_operations_around_one_that_blocks) {
  open(2);
  std::byte byte{};
  recorded blocked(read_request(pipe_.read.get(), {&byte, 1}));
  batch operations;
  for (std::size_t i = 0; i < 32; ++i) add(operations, {});
  for (int round = 0; round < 1'000; ++round) {
    operation_queue work;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (i == operations.size() / 2) work.push_back(blocked);
      work.push_back(*operations[i]);
    }
    pool_->submit(std::move(work));
    ASSERT_TRUE(collect(operations.size())) << "in round " << round;
    ASSERT_EQ(finished_.size(), operations.size());
    pipe_.feed(1);
    ASSERT_TRUE(collect(1));
    ASSERT_EQ(blocked.answer(), 1);
    finished_ = {};
  }
}

// --- idleness ------------------------------------------------------------------------------------

std::chrono::nanoseconds processor_time_of_this_process() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// Invariants 13 and 30
TEST_F(pool_of_workers, sleeps_when_there_is_nothing_to_do) {
  open(8);
  block_threads(8);
  EXPECT_TRUE(eventually([&] { return pool_->threads() == 8; }));
  pipe_.feed(8);
  ASSERT_TRUE(collect(8));
  event_.clear();
  const auto before = processor_time_of_this_process();
  EXPECT_FALSE(readable(event_.fd(), 300));  // idleness is what is measured
  EXPECT_LT(processor_time_of_this_process() - before, std::chrono::milliseconds(10));
}

// Invariant 29. They end after five idle seconds, all but the last.
TEST_F(pool_of_workers, shrinks_when_it_has_been_idle_and_grows_again) {
  const std::size_t before = count_threads();
  open(4);
  block_threads(4);
  ASSERT_TRUE(eventually([&] { return pool_->threads() == 4; }));
  pipe_.feed(4);
  ASSERT_TRUE(collect(4));
  EXPECT_TRUE(eventually([&] { return pool_->threads() == 1; }));
  EXPECT_EQ(pool_->collect(finished_), 0);  // joins those that have ended
  EXPECT_TRUE(eventually([&] { return count_threads() == before + 1; }));
  recorded quick{request{}};
  submit({&quick});
  ASSERT_TRUE(collect(1));
  finished_ = {};
  block_threads(4);
  EXPECT_TRUE(eventually([&] { return pool_->threads() == 4; }));
  pipe_.feed(4);
  ASSERT_TRUE(collect(4));
}

// What little there is to do is done by one thread, and the others grow old.
TEST_F(pool_of_workers, shrinks_while_there_is_little_to_do) {
  open(4);
  block_threads(4);
  ASSERT_TRUE(eventually([&] { return pool_->threads() == 4; }));
  pipe_.feed(4);
  ASSERT_TRUE(collect(4));
  recorded quick{request{}};
  EXPECT_TRUE(eventually([&] {
    submit({&quick});
    return collect(1) && pool_->threads() == 1;
  }));
}

}  // namespace
}  // namespace weir::testing
