#include "weir/buffer_pool.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <latch>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"
#include "weir/future.hpp"

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t block = 4096;

class pooled : public driver_test {
 protected:
  // From here on this is the context's thread: what is spawned begins at once, and in order.
  void SetUp() override {
    driver_test::SetUp();
    context().run();
  }
  io_context& context() { return *context_; }
  template <class Work>
  auto run(Work work) {
    return context().run(work());
  }

  /// Waits, and writes down its number and what it was told; lets the buffer go at once.
  task<> queue_up(buffer_pool& pool, int number) {
    const result<buffer> taken = co_await pool.take();
    heard_.emplace_back(number, error_of(taken));
  }
  std::vector<int> numbers_in_order() const {
    std::vector<int> all;
    for (const auto& [number, error] : heard_) all.push_back(number);
    return all;
  }
  std::set<int> numbers() const {
    const std::vector<int> all = numbers_in_order();
    return {all.begin(), all.end()};
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_ = open_context(GetParam());
  std::vector<std::pair<int, std::error_code>> heard_;
};

INSTANTIATE_TEST_SUITE_P(drivers, pooled, ::testing::ValuesIn(driver_names), name_of_driver);

std::vector<int> first_numbers(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

bool is_mapped(const void* address) {
  std::array<unsigned char, 1> resident{};
  return ::mincore(const_cast<void*>(address), 1, resident.data()) == 0;
}

/// Whether `fill`ed memory is there still. That its address is mapped does not tell: another thread
/// may have mapped something of its own there meanwhile.
bool still_holds_pattern(std::byte* where) {
  std::array<std::byte, 64> found{};
  const iovec into{found.data(), found.size()};
  const iovec from{where, found.size()};
  const auto size = static_cast<ssize_t>(found.size());
  return ::process_vm_readv(::getpid(), &into, 1, &from, 1, 0) == size && holds_pattern(found, 0);
}

// --- the buffers ---------------------------------------------------------------------------------

// Invariants 10 and 14
TEST_P(pooled, buffers_are_zeroed_aligned_apart_and_no_more_than_asked_for) {
  buffer_pool pool(context(), 5000, 3);
  EXPECT_EQ(pool.buffer_size(), 5000);
  EXPECT_EQ(pool.count(), 3);
  std::vector<buffer> taken;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pool.available(), 3 - i);
    taken.push_back(pool.try_take().value());
    EXPECT_EQ(taken.back().size(), 5000);
    EXPECT_EQ(taken.back().capacity(), 5000);
    EXPECT_GE(taken.back().alignment(), 4096);
    EXPECT_TRUE(taken.back().is_zero());
  }
  EXPECT_EQ(error_of(pool.try_take()), std::errc::resource_unavailable_try_again);
  for (unsigned i = 0; i < 3; ++i) fill(taken[i].span(), 0, i);
  for (unsigned i = 0; i < 3; ++i) EXPECT_TRUE(holds_pattern(taken[i].span(), 0, i));
  taken.clear();
  EXPECT_EQ(pool.available(), 3);
}

TEST_P(pooled, a_buffer_comes_back_as_large_as_it_was) {
  buffer_pool pool(context(), block, 1);
  {
    buffer taken = pool.try_take().value();
    taken.resize(1);
  }
  EXPECT_EQ(pool.try_take()->size(), block);
}

TEST_P(pooled, refuses_what_it_cannot_be) {
  EXPECT_EQ(error_of(buffer_pool::make(context(), 0, 1)), std::errc::invalid_argument);
  EXPECT_EQ(error_of(buffer_pool::make(context(), 1, 0)), std::errc::invalid_argument);
  EXPECT_EQ(error_of(buffer_pool::make(context(), SIZE_MAX, 1)), std::errc::not_enough_memory);
  EXPECT_EQ(error_of(buffer_pool::make(context(), 1, SIZE_MAX)), std::errc::not_enough_memory);
  EXPECT_EQ(error_of(buffer_pool::make(context(), SIZE_MAX / 8, 4)), std::errc::not_enough_memory);
  EXPECT_THROW(buffer_pool(context(), 0, 1), std::system_error);
}

TEST_P(pooled, moved_from_is_closed) {
  buffer_pool first(context(), block, 2);
  buffer_pool second(std::move(first));
  EXPECT_EQ(second.available(), 2);
  EXPECT_EQ(first.available(), 0);
  EXPECT_EQ(error_of(first.try_take()), std::errc::bad_file_descriptor);
  const auto waited =
      run([&]() -> task<std::error_code> { co_return error_of(co_await first.take()); });
  EXPECT_EQ(waited, std::errc::bad_file_descriptor);
  first = buffer_pool(context(), 1, 1);
  EXPECT_TRUE(first.try_take().has_value());
}

TEST_P(pooled, buffers_are_fit_for_direct_transfers) {
  make_patterned_file(directory_ / "file", 16 * block);
  descriptor direct = open_direct(directory_ / "file");
  if (!direct) GTEST_SKIP() << "this file system refuses O_DIRECT";
  file f(context(), direct.release());
  buffer_pool pool(context(), 2 * block, 2);
  run([&]() -> task<> {
    for (std::uint64_t at = 0; at < 6 * block; at += 2 * block) {
      result<buffer> memory = co_await pool.take();
      buffer_result read = co_await f.read_at(*std::move(memory), at);
      EXPECT_EQ(read.transferred, 2 * block);
      EXPECT_TRUE(holds_pattern(read.data.span(), at));
      const buffer_result written = co_await f.write_at(std::move(read.data), at + 8 * block);
      EXPECT_EQ(written.transferred, 2 * block);
    }
  });
  EXPECT_EQ(pool.available(), 2);
  const std::vector<std::byte> all = contents_of(directory_ / "file");
  EXPECT_TRUE(holds_pattern(std::span(all).subspan(8 * block, 6 * block), 0));
}

// --- waiting -------------------------------------------------------------------------------------

TEST_P(pooled, a_free_buffer_is_taken_without_a_turn) {
  buffer_pool pool(context(), block, 1);
  bool before_the_turn = false;
  run([&]() -> task<> {
    auto [waited] = co_await when_all(context().schedule());
    EXPECT_TRUE(waited.has_value());  // on the context's thread from here on
    spawn(context(), [](buffer_pool& from, bool& taken) -> task<> {
      taken = (co_await from.take()).has_value();
    }(pool, before_the_turn));
    EXPECT_TRUE(before_the_turn);
  });
}

// T6 of the predecessors
TEST_P(pooled, those_who_wait_are_served_in_the_order_in_which_they_came) {
  buffer_pool pool(context(), block, 1);
  buffer first = pool.try_take().value();
  for (int i = 0; i < 100; ++i) spawn(context(), queue_up(pool, i));
  context().run();
  EXPECT_TRUE(heard_.empty());
  EXPECT_EQ(pool.waiting(), 100);
  first = buffer{};
  EXPECT_EQ(pool.waiting(), 99);
  drive_until(context(), [&] { return heard_.size() == 100; });
  EXPECT_EQ(numbers_in_order(), first_numbers(100));
  EXPECT_EQ(pool.available(), 1);
}

TEST_P(pooled, nobody_overtakes_those_who_wait) {
  buffer_pool pool(context(), block, 1);
  buffer first = pool.try_take().value();
  spawn(context(), queue_up(pool, 0));
  context().run();
  first = buffer{};  // on its way to the one who waits
  EXPECT_EQ(pool.available(), 0);
  EXPECT_EQ(error_of(pool.try_take()), std::errc::resource_unavailable_try_again);
  spawn(context(), queue_up(pool, 1));
  drive_until(context(), [&] { return heard_.size() == 2; });
  EXPECT_EQ(numbers_in_order(), first_numbers(2));
}

// Invariant 5
TEST_P(pooled, callbacks_run_from_the_loop_also_where_a_buffer_is_free) {
  buffer_pool pool(context(), block, 1);
  int calls = 0;
  start(pool.take(), [&](result<buffer> taken) {
    EXPECT_TRUE(taken.has_value());
    ++calls;
  });
  EXPECT_EQ(calls, 0);
  context().run();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(pool.available(), 1);
}

TEST_P(pooled, giving_back_resumes_nobody_from_inside) {
  buffer_pool pool(context(), block, 1);
  int depth = 0;
  int left = 1'000;
  const std::function<void(result<buffer>)> again = [&](result<buffer> taken) {
    EXPECT_EQ(++depth, 1);
    EXPECT_TRUE(taken.has_value());
    if (--left > 0) start(pool.take(), again);
    taken = buffer{};  // serves the one that waits since a moment ago
    --depth;
  };
  start(pool.take(), again);
  drive_until(context(), [&] { return left == 0; });
  EXPECT_EQ(pool.available(), 1);
}

// Invariant 14: the bound is exact
TEST_P(pooled, a_hundred_share_seven_and_each_gets_its_turn) {
  constexpr int coroutines = 100;
  constexpr int rounds = thread_sanitizer ? 10 : 50;
  constexpr std::size_t buffers = 7;
  make_patterned_file(directory_ / "file", 64 * block);
  file f(context(), open_file(directory_ / "file", O_RDONLY).release());
  buffer_pool pool(context(), block, buffers);
  std::set<const std::byte*> out;
  std::size_t most = 0;
  int right = 0;
  auto work = [&](int number) -> task<> {
    std::mt19937 random(static_cast<unsigned>(number));
    for (int round = 0; round < rounds; ++round) {
      result<buffer> memory = co_await pool.take();
      const std::byte* const where = memory->data();
      EXPECT_TRUE(out.insert(where).second);  // nobody else has it
      most = std::max(most, out.size());
      const std::uint64_t at = random() % 63 * block + random() % block;
      buffer_result read = co_await f.read_at(*std::move(memory), at);
      if (read.transferred == block && holds_pattern(read.data.span(), at)) ++right;
      out.erase(where);
    }
  };
  run([&]() -> task<> {
    std::vector<task<>> all;
    for (int i = 0; i < coroutines; ++i) all.push_back(work(i));
    co_await when_all(std::move(all));
  });
  EXPECT_EQ(right, coroutines * rounds);
  EXPECT_EQ(most, buffers);
  EXPECT_EQ(pool.available(), buffers);
  EXPECT_EQ(pool.waiting(), 0);
}

TEST_P(pooled, several_can_be_taken_together) {
  buffer_pool pool(context(), block, 2);
  run([&]() -> task<> {
    auto [a, b] = co_await when_all(pool.take(), pool.take());
    EXPECT_NE(a->data(), b->data());
    EXPECT_EQ(pool.available(), 0);
  });
  EXPECT_EQ(pool.available(), 2);
}

// --- giving up -----------------------------------------------------------------------------------

// T-D6 of the predecessors: a waiter that gave up swallowed what was meant for the next
TEST_P(pooled, who_gives_up_leaves_the_queue_and_swallows_nothing) {
  buffer_pool pool(context(), block, 1);
  buffer first = pool.try_take().value();
  std::array<std::stop_source, 5> sources;
  auto wait = [&](int number) -> task<> {
    const auto token = sources[static_cast<std::size_t>(number)].get_token();
    const result<buffer> taken = co_await with_stop(pool.take(), token);
    heard_.emplace_back(number, error_of(taken));
  };
  for (int i = 0; i < 5; ++i) spawn(context(), wait(i));
  context().run();
  ASSERT_EQ(pool.waiting(), 5);
  for (const std::size_t gives_up : {2uz, 0uz, 4uz}) sources[gives_up].request_stop();
  drive_until(context(), [&] { return heard_.size() == 3; });
  for (const auto& [number, error] : heard_) EXPECT_EQ(error, std::errc::operation_canceled);
  // In whatever order their driver has carried the nops out that brought it to them.
  EXPECT_EQ(numbers(), (std::set{0, 2, 4}));
  EXPECT_EQ(pool.waiting(), 2);
  heard_.clear();
  first = buffer{};
  drive_until(context(), [&] { return heard_.size() == 2; });
  for (const auto& [number, error] : heard_) EXPECT_FALSE(error);
  EXPECT_EQ(heard_[0].first, 1);
  EXPECT_EQ(heard_[1].first, 3);
  EXPECT_EQ(pool.available(), 1);
}

TEST_P(pooled, who_was_stopped_before_takes_nothing) {
  buffer_pool pool(context(), block, 1);
  std::stop_source source;
  source.request_stop();
  run([&]() -> task<> {
    const result<buffer> taken = co_await with_stop(pool.take(), source.get_token());
    EXPECT_EQ(error_of(taken), std::errc::operation_canceled);
  });
  EXPECT_EQ(pool.available(), 1);
}

TEST_P(pooled, a_deadline_ends_the_wait_and_swallows_nothing) {
  buffer_pool pool(context(), block, 1);
  run([&]() -> task<> {
    {
      const result<buffer> first = co_await with_deadline(pool.take(), 100ms);
      EXPECT_TRUE(first.has_value());
      const result<buffer> second = co_await with_deadline(pool.take(), 1ms);
      EXPECT_EQ(error_of(second), std::errc::timed_out);
      EXPECT_EQ(pool.waiting(), 0);
    }
    EXPECT_EQ(pool.available(), 1);
    const result<buffer> third = co_await with_deadline(pool.take(), 1ms);
    EXPECT_TRUE(third.has_value());
  });
}

// Invariant 4
TEST_P(pooled, whoever_wins_between_a_stop_and_a_buffer_no_buffer_is_lost) {
  buffer_pool pool(context(), block, 1);
  for (int round = 0; round < 300; ++round) {
    std::stop_source source;
    std::optional<result<buffer>> heard;
    std::optional<buffer> held = pool.try_take().value();
    spawn(context(), [](auto& from, auto token, auto& into) -> task<> {
      into = co_await with_stop(from.take(), std::move(token));
    }(pool, source.get_token(), heard));
    context().dispatch(false);
    std::thread giver([&] { held.reset(); });
    std::thread stopper([&] { source.request_stop(); });
    drive_until(context(), [&] { return heard.has_value(); });
    giver.join();
    stopper.join();
    context().run();
    const bool got = heard->has_value();
    ASSERT_TRUE(got || error_of(*heard) == std::errc::operation_canceled);
    ASSERT_EQ(pool.available(), got ? 0 : 1);
    heard.reset();
    ASSERT_EQ(pool.available(), 1);
    ASSERT_EQ(pool.waiting(), 0);
  }
}

TEST_P(pooled, what_was_granted_and_is_not_taken_goes_back) {
  buffer_pool pool(context(), block, 1);
  {
    const auto unwanted = as_future(pool.take());
    context().run();
    EXPECT_EQ(pool.available(), 0);
  }
  EXPECT_EQ(pool.available(), 1);
}

TEST_P(pooled, cancelling_everything_does_not_take_a_granted_buffer_away) {
  buffer_pool pool(context(), block, 1);
  buffer first = pool.try_take().value();
  spawn(context(), queue_up(pool, 0));
  context().run();
  context().cancel_and_drain();
  EXPECT_TRUE(heard_.empty());
  first = buffer{};
  context().cancel_and_drain();  // meets the nop that brings the buffer
  ASSERT_EQ(heard_.size(), 1);
  EXPECT_FALSE(heard_[0].second);
  EXPECT_EQ(pool.available(), 1);
}

TEST(a_pool, does_not_let_a_waiting_coroutine_be_destroyed) {
  const child_outcome outcome = run_in_child([] {
    const std::unique_ptr<io_context> own = open_context("sync");
    buffer_pool pool(*own, block, 1);
    const buffer first = pool.try_take().value();
    callback_operation waiting(pool.take(), [](result<buffer>) {});
    waiting.start();
  });
  EXPECT_TRUE(aborted_saying(outcome, "while it waited for a pool's buffer"));
}

// --- threads -------------------------------------------------------------------------------------

TEST_P(pooled, a_buffer_given_back_by_another_thread_wakes_the_sleeping_context) {
  buffer_pool pool(context(), block, 1);
  std::optional<buffer> first = pool.try_take().value();
  const int sleeper = this_thread();
  std::thread giver([&] {
    EXPECT_TRUE(eventually([&] { return is_asleep(sleeper); }));
    first.reset();
  });
  run([&]() -> task<> {
    const result<buffer> taken = co_await pool.take();
    EXPECT_TRUE(taken.has_value());
  });
  giver.join();
}

TEST_P(pooled, may_be_used_by_many_threads) {
  constexpr int threads = 4;
  constexpr int rounds = thread_sanitizer ? 200 : 1'000;
  io_thread owner({.name = GetParam()});
  buffer_pool pool(owner.context(), block, 3);
  std::atomic<int> taken = 0;
  {
    std::vector<std::jthread> takers;
    for (int number = 0; number < threads; ++number) {
      takers.emplace_back([&, number] {
        for (int round = 0; round < rounds; ++round) {
          // Waited for on the context's thread, written to and given back on this one.
          buffer memory = as_future(pool.take()).get().value();
          fill(memory.first(64), 0, static_cast<unsigned>(number));
          if (holds_pattern(memory.first(64), 0, static_cast<unsigned>(number))) ++taken;
          if (result<buffer> another = pool.try_take()) another->zero(0, 64);
        }
      });
    }
  }
  EXPECT_EQ(taken, threads * rounds);
  EXPECT_EQ(pool.available(), 3);
}

TEST_P(pooled, t_t7_depth_7_50_waves_of_100_reads_on_5_threads) {
  constexpr int threads = 5;
  constexpr int waves = thread_sanitizer ? 10 : 50;
  constexpr int reads = 100;
  constexpr std::size_t size = 8192;
  make_patterned_file(directory_ / "file", 512 * 1024);
  io_thread owner({.name = GetParam(), .queue_depth = 7});
  file f = std::move(*as_future(open(owner.context(), directory_ / "file")).get());
  {
    buffer_pool pool(owner.context(), size, 7);
    std::atomic<int> right = 0;
    auto one = [&](std::uint64_t at, std::latch& done) -> task<> {
      {
        result<buffer> memory = co_await pool.take();
        const buffer_result read = co_await f.read_at(*std::move(memory), at);
        if (read.transferred == size && holds_pattern(read.data.span(), at)) ++right;
      }
      done.count_down();
    };
    std::atomic<int> waves_with_all_back = 0;
    std::barrier wave_end(threads, [&]() noexcept {
      if (pool.available() == 7 && pool.waiting() == 0) ++waves_with_all_back;
    });
    std::vector<std::jthread> readers;
    for (int number = 0; number < threads; ++number) {
      readers.emplace_back([&, number] {
        std::mt19937 random(static_cast<unsigned>(number));
        for (int wave = 0; wave < waves; ++wave) {
          std::latch done(reads);
          for (int i = 0; i < reads; ++i) spawn(owner.context(), one(random() % 64 * size, done));
          done.wait();
          wave_end.arrive_and_wait();
        }
      });
    }
    readers.clear();
    EXPECT_EQ(right, threads * waves * reads);
    EXPECT_EQ(waves_with_all_back, waves);
  }
  EXPECT_TRUE(as_future(f.close()).get().has_value());
}

TEST_P(pooled, t_t8_three_chains_on_disjoint_blocks_pass_their_buffer_through_each_step) {
  constexpr std::uint64_t size = 8192;
  make_patterned_file(directory_ / "file", 512 * 1024);
  file f(context(), open_file(directory_ / "file", O_RDWR).release());
  buffer_pool pool(context(), size, 2);  // one chain waits for another's end
  struct step {
    bool writes;
    std::uint64_t at;
    unsigned seed;  // of what is there, or shall be
  };
  auto chain = [&](std::uint64_t base, unsigned seed) -> task<bool> {
    const std::array<step, 6> steps{{{false, 0, 0},
                                     {true, size, seed},
                                     {false, 2 * size, 0},
                                     {true, 3 * size, seed},
                                     {false, size, seed},
                                     {false, 3 * size, seed}}};
    buffer data = (co_await pool.take()).value();
    const std::byte* const where = data.data();
    bool right = true;
    for (const step& next : steps) {
      const std::uint64_t at = base + next.at;
      if (next.writes) fill(data.span(), at, next.seed);
      // Not one conditional expression: g++ 12 destroys the temporaries of both its branches.
      std::optional<buffer_result> done;
      if (next.writes) {
        done = co_await f.write_at(std::move(data), at);
      } else {
        done = co_await f.read_at(std::move(data), at);
      }
      data = std::move(done->data);
      right = right && done->transferred == size && data.data() == where &&
              holds_pattern(data.span(), at, next.seed);
    }
    co_return right;
  };
  const bool right = run([&]() -> task<bool> {
    auto [a, b, c] = co_await when_all(chain(0, 1), chain(65536, 2), chain(131072, 3));
    co_return a&& b&& c;
  });
  EXPECT_TRUE(right);
  EXPECT_EQ(pool.available(), 2);
}

// --- the pool's end ------------------------------------------------------------------------------

TEST_P(pooled, destroyed_it_ends_every_wait) {
  auto pool = std::make_unique<buffer_pool>(context(), block, 1);
  buffer first = pool->try_take().value();
  for (int i = 0; i < 3; ++i) spawn(context(), queue_up(*pool, i));
  context().run();
  EXPECT_TRUE(heard_.empty());
  pool.reset();
  context().run();
  EXPECT_EQ(numbers(), (std::set{0, 1, 2}));
  for (const auto& [number, error] : heard_) EXPECT_EQ(error, std::errc::operation_canceled);
}

// Invariant 8
TEST_P(pooled, destroyed_it_leaves_the_memory_until_the_last_buffer_has_gone) {
  std::optional<buffer> last;
  std::byte* where = nullptr;
  {
    buffer_pool pool(context(), block, 2);
    last = pool.try_take().value();
    where = last->data();
  }
  context().run();
  fill(last->span(), 0);
  EXPECT_TRUE(holds_pattern(last->span(), 0));
  EXPECT_TRUE(still_holds_pattern(where));
  last.reset();
  context().run();
  EXPECT_FALSE(still_holds_pattern(where));
}

TEST_P(pooled, memory_is_unmapped_whenever_the_context_goes) {
  for (const bool driven : {false, true}) {
    for (const bool out : {false, true}) {
      std::byte* where = nullptr;
      {
        std::unique_ptr<io_context> own = open_context(GetParam());
        std::optional<buffer> last;
        {
          buffer_pool pool(*own, block, 1);
          buffer memory = pool.try_take().value();
          fill(memory.span(), 0);
          where = memory.data();
          if (out) last = std::move(memory);
          if (driven) own->run();
        }
        if (out) {
          EXPECT_TRUE(still_holds_pattern(where));
        }
        last.reset();
      }
      EXPECT_FALSE(still_holds_pattern(where)) << "driven: " << driven << ", buffer out: " << out;
    }
  }
}

TEST_P(pooled, may_be_destroyed_in_a_forked_child) {
  buffer_pool pool(context(), block, 2);
  const buffer first = pool.try_take().value();
  spawn(context(), queue_up(pool, 0));
  context().run();
  const child_outcome outcome = run_in_child([&] { const buffer_pool gone = std::move(pool); });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
  EXPECT_EQ(pool.available(), 1);
}

// --- what the driver is told ---------------------------------------------------------------------

/// Writes down what is said about memory, and answers as it was told to; all else passes.
class listening_driver : public wrapping_driver {
 public:
  listening_driver(std::unique_ptr<driver> inner, std::vector<request>& said,
                   std::int32_t to_beginning, std::int32_t to_end)
      : wrapping_driver(std::move(inner)),
        said_(said),
        to_beginning_(to_beginning),
        to_end_(to_end) {}

  void submit(operation_queue& staged) noexcept override {
    operation_queue passed;
    while (!staged.empty()) {
      operation& op = staged.pop_front();
      const bool hint =
          op.args.op == opcode::register_memory || op.args.op == opcode::forget_memory;
      if (!hint) {
        passed.push_back(op);
        continue;
      }
      said_.push_back(op.args);
      op.set_answer(op.args.op == opcode::register_memory ? to_beginning_ : to_end_);
      answered_.push_back(op);
    }
    if (!passed.empty()) wrapping_driver::submit(passed);
    staged.append(std::move(passed));
  }
  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool some = !answered_.empty();
    completed.append(std::move(answered_));
    wrapping_driver::reap(completed, some ? deadline::now() : until);
  }

 private:
  std::vector<request>& said_;
  std::int32_t to_beginning_;
  std::int32_t to_end_;
  operation_queue answered_;
};

class told : public pooled {
 protected:
  void listen(std::int32_t to_beginning, std::int32_t to_end = 0) {
    context_ = std::make_unique<io_context>(std::make_unique<listening_driver>(
        open_driver_named(GetParam()), said_, to_beginning, to_end));
  }
  std::vector<request> said_;
};

INSTANTIATE_TEST_SUITE_P(drivers, told, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(told, of_its_memory_first_and_of_the_end_when_the_last_buffer_is_back) {
  listen(0);
  std::optional<buffer> last;
  {
    buffer_pool pool(context(), 5000, 3);
    EXPECT_EQ(error_of(pool.registered()), std::errc::operation_in_progress);
    context().run();
    EXPECT_TRUE(pool.registered().has_value());
    last = pool.try_take().value();
    ASSERT_EQ(said_.size(), 1);
    EXPECT_EQ(said_[0].op, opcode::register_memory);
    EXPECT_EQ(said_[0].length, 3 * 2 * block);
    const auto* const begin = static_cast<std::byte*>(said_[0].address);
    EXPECT_GE(last->data(), begin);
    EXPECT_LE(last->data() + last->size(), begin + said_[0].length);
  }
  context().run();
  EXPECT_EQ(said_.size(), 1);
  last.reset();
  context().run();
  ASSERT_EQ(said_.size(), 2);
  EXPECT_EQ(said_[1].op, opcode::forget_memory);
  EXPECT_EQ(said_[1].address, said_[0].address);
  EXPECT_EQ(said_[1].length, said_[0].length);
}

TEST_P(told, to_forget_it_also_by_a_context_that_shuts_down) {
  listen(0);
  {
    buffer_pool pool(context(), block, 1);
    context().run();
  }
  context_.reset();
  ASSERT_EQ(said_.size(), 2);
  EXPECT_EQ(said_[1].op, opcode::forget_memory);
}

TEST_P(told, and_refusing_leaves_a_pool_that_works) {
  listen(-ENOMEM);
  make_patterned_file(directory_ / "file", block);
  file f(context(), open_file(directory_ / "file", O_RDONLY).release());
  {
    buffer_pool pool(context(), block, 1);
    context().run();
    EXPECT_EQ(error_of(pool.registered()), std::errc::not_enough_memory);
    run([&]() -> task<> {
      result<buffer> memory = co_await pool.take();
      const buffer_result read = co_await f.read_at(*std::move(memory), 0);
      EXPECT_EQ(read.transferred, block);
      EXPECT_TRUE(holds_pattern(read.data.span(), 0));
    });
  }
  context().run();
  EXPECT_EQ(said_.size(), 1);  // there is nothing to forget
}

TEST_P(told, wrongly_it_never_sees_other_memory_at_these_addresses) {
  listen(0, -EIO);
  const std::byte* where = nullptr;
  {
    buffer_pool pool(context(), block, 1);
    where = pool.try_take()->data();
    context().run();
  }
  context().run();
  EXPECT_TRUE(is_mapped(where));  // reserved, and nobody's
}

// --- locked and huge -----------------------------------------------------------------------------

std::size_t locked_kibibytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "VmLck:") continue;
    std::size_t amount = 0;
    status >> amount;
    return amount;
  }
  return 0;
}

TEST_P(pooled, locked_memory_is_locked) {
  if (address_sanitizer || thread_sanitizer) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const std::size_t before = locked_kibibytes();
  {
    const buffer_pool pool(context(), block, 16, {.lock = true});
    EXPECT_EQ(locked_kibibytes() - before, 64);
  }
  context().run();
  EXPECT_EQ(locked_kibibytes(), before);
}

TEST(a_pool, that_locks_more_than_allowed_names_the_call_that_failed) {
  if (address_sanitizer || thread_sanitizer) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  const child_outcome outcome = run_in_child([] {
    const rlimit limit{.rlim_cur = 65536, .rlim_max = 65536};
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    // Root may lock what it likes.
    ASSERT_TRUE(::getuid() != 0 || ::setuid(65534) == 0);
    const std::unique_ptr<io_context> own = open_context("sync");
    EXPECT_EQ(error_of(buffer_pool::make(*own, block, 256, {.lock = true})),
              std::errc::not_enough_memory);
    try {
      const buffer_pool pool(*own, block, 256, {.lock = true});
      ADD_FAILURE() << "it was locked";
    } catch (const std::system_error& refused) {
      EXPECT_EQ(refused.code(), std::errc::not_enough_memory);
      EXPECT_NE(std::string(refused.what()).find("mlock"), std::string::npos) << refused.what();
    }
    EXPECT_TRUE(buffer_pool::make(*own, block, 256).has_value());
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

TEST_P(pooled, wished_for_huge_pages_have_room_to_be) {
  constexpr std::uintptr_t huge = 2 << 20;
  buffer_pool pool(context(), 3 << 20, 3, {.huge = huge_pages::transparent});
  std::vector<buffer> all;
  while (auto taken = pool.try_take()) all.push_back(*std::move(taken));
  ASSERT_EQ(all.size(), 3);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(all[0].data()) % huge, 0);
  for (unsigned i = 0; i < 3; ++i) fill(all[i].span(), 0, i);
  for (unsigned i = 0; i < 3; ++i) EXPECT_TRUE(holds_pattern(all[i].span(), 0, i));
}

TEST(a_pool, that_finds_too_few_huge_pages_names_the_call_that_failed) {
  const std::unique_ptr<io_context> own = open_context("sync");
  // More than any machine has reserved.
  constexpr std::size_t too_many = std::size_t{1} << 46;
  try {
    const buffer_pool pool(*own, too_many, 1, {.huge = huge_pages::reserved});
    ADD_FAILURE() << "there were enough";
  } catch (const std::system_error& refused) {
    EXPECT_EQ(refused.code(), std::errc::not_enough_memory);
    EXPECT_NE(std::string(refused.what()).find("mmap"), std::string::npos) << refused.what();
  }
}

}  // namespace
}  // namespace weir::testing
