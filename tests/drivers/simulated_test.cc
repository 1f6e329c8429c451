// The simulated disk as a driver: time, order, descriptors, several contexts.

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "simulated/simulated_machine.hpp"

namespace weir::testing {
namespace {

using std::chrono_literals::operator""h;

TEST(simulated_driver, sleeps_in_no_time) {
  machine one(quiet());
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(one.wait_for(one.context.sleep_for(1h)));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::minutes(1));
  EXPECT_EQ(one.disk.now_ns(), 3'600'000'000'000);
  EXPECT_EQ(one.context.now_ns(), one.disk.now_ns());
}

TEST(simulated_driver, takes_the_time_it_is_given) {
  simulated_options options = quiet();
  options.latency = {simulated_latency::shape::constant, 1000, 5000, 77};
  machine one(options);
  file f = one.opened("/f");
  one.sync(f);
  EXPECT_EQ(one.disk.now_ns(), 6000);
}

TEST(simulated_driver, draws_times_of_the_shape_asked_for) {
  for (const auto how :
       {simulated_latency::shape::exponential, simulated_latency::shape::heavy_tail}) {
    const bool heavy = how == simulated_latency::shape::heavy_tail;
    simulated_options options = quiet();
    options.latency = {how, 1'000'000, 1'000'000, 0};
    machine one(options);
    file f = one.opened("/f");
    std::vector<std::int64_t> took;
    for (int i = 0; i < 2000; ++i) {
      const auto before = one.disk.now_ns();
      one.write(f, "x");
      took.push_back(one.disk.now_ns() - before);
    }
    std::ranges::sort(took);
    const auto median = static_cast<double>(took[1000]);
    EXPECT_NEAR(median / 1e6, heavy ? 1 : 0.69, 0.15);
    EXPECT_GT(static_cast<double>(took[1998]), median * (heavy ? 50 : 5));
  }
}

TEST(simulated_driver, completes_what_is_in_flight_in_any_order) {
  machine one(quiet());
  file f = one.opened("/f");
  const std::string text = all('x', 64);
  std::vector<std::size_t> order;
  batch writes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = std::as_bytes(std::span(text)).subspan(i, 1);
    add(writes, write_request(f.native_handle(), byte, i)).then = [&order, i](recorded&) {
      order.push_back(i);
    };
  }
  start_all(one.context, writes);
  one.context.run();
  EXPECT_TRUE(all_answered(writes, 1));
  EXPECT_EQ(order.size(), text.size());
  EXPECT_FALSE(std::ranges::is_sorted(order));
}

TEST(simulated_driver, never_has_more_in_flight_than_its_queue_depth) {
  const auto disk = disk_with(quiet());
  io_context context(disk.open_driver(2).value());
  std::size_t most = 0;
  batch syncs;
  for (int i = 0; i < 10; ++i) {
    add(syncs, {.op = opcode::statx, .fd = -1, .address = nullptr}).then = [&](recorded&) {
      most = std::max(most, context.in_flight());
    };
  }
  start_all(context, syncs);
  context.run();
  EXPECT_TRUE(all_answered(syncs, -EFAULT));
  EXPECT_LE(most, 2U);
  EXPECT_EQ(disk.operations(), 10U);
}

task<> look(io_context& context, bool& seen) {
  auto opened = co_await open(context, "/f");
  std::array<std::byte, 4> memory{};
  seen = opened && (co_await opened->read_at(memory, 0)).value_or(0) == 4;
}

TEST(simulated_driver, shares_its_disk_with_others) {
  machine one(quiet());
  io_context second(one.disk.open_driver().value());
  file f = one.opened("/f");
  one.write(f, "seen");
  bool seen = false;
  spawn(second, look(second, seen));
  EXPECT_TRUE(one.disk.run_until({&one.context, &second}, [&] { return seen; }));
  EXPECT_FALSE(one.disk.run_until({&one.context, &second}, [] { return false; }));
}

TEST(simulated_driver, can_be_polled) {
  machine one(quiet());
  file f = one.opened("/f");
  EXPECT_FALSE(readable(one.context.fd(), 0));
  recorded op({.op = opcode::fsync, .fd = f.native_handle()});
  one.context.start(op);
  one.context.flush();
  EXPECT_TRUE(poll_until(one.context, [&] { return op.completions == 1; }));
  one.context.dispatch(false);
  EXPECT_FALSE(readable(one.context.fd(), 0));
}

TEST(simulated_driver, is_woken_by_another_thread) {
  machine one(quiet());
  recorded op({.op = opcode::nop});
  std::thread other([&] { one.context.start(op); });
  while (op.completions == 0) one.context.dispatch(true);
  other.join();
  EXPECT_TRUE(answered(op, 0));
}

TEST(simulated_driver, cancels_or_says_that_it_is_too_late) {
  unsigned cancelled = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    machine one({.seed = seed});
    file f = one.opened("/f");
    recorded op({.op = opcode::fsync, .fd = f.native_handle()});
    recorded cancel(cancel_request(op));
    recorded at_once({.op = opcode::nop});  // what a turn ends with
    one.context.start(at_once);
    one.context.start(op);
    one.context.flush();
    one.context.start(cancel);
    one.context.run();
    ASSERT_TRUE(cancel.answer() == 0 || cancel.answer() == -EALREADY) << cancel.answer();
    EXPECT_TRUE(answered(op, cancel.answer() == 0 ? -ECANCELED : 0));
    cancelled += cancel.answer() == 0 ? 1U : 0U;
  }
  EXPECT_GT(cancelled, 0U);
  EXPECT_LT(cancelled, 20U);
}

TEST(simulated_driver, refuses_what_is_not_aligned_past_the_page_cache) {
  machine one(quiet());
  file f = one.opened("/f", {.write = true, .create = true, .direct = true});
  alignas(512) std::array<std::byte, 1024> memory{};
  const int fd = f.native_handle();
  EXPECT_EQ(one.answer_to(write_request(fd, memory)), 1024);
  EXPECT_EQ(one.answer_to(write_request(fd, std::span(memory).first(100))), -EINVAL);
  EXPECT_EQ(one.answer_to(write_request(fd, std::span(memory).first(512), 100)), -EINVAL);
  EXPECT_EQ(one.answer_to(write_request(fd, std::span(memory).subspan(8, 512))), -EINVAL);
}

TEST(simulated_driver, copies_its_disk) {
  machine one(quiet());
  file f = one.opened("/f");
  one.write(f, "before");
  machine copy(one.disk.snapshot());
  one.write(f, "after ");
  EXPECT_EQ(copy.contents("/f"), "before");
  EXPECT_EQ(one.contents("/f"), "after ");
}

TEST(simulated_driver, knows_no_descriptors_but_its_own) {
  machine one(quiet());
  EXPECT_EQ(one.answer_to({.op = opcode::fsync, .fd = 0}), -EBADF);
  EXPECT_EQ(one.answer_to({.op = opcode::close, .fd = 1 << 30}), -EBADF);
}

TEST(simulated_driver, closes_what_is_destroyed) {
  machine one(quiet());
  const int fd = one.opened("/f").native_handle();
  EXPECT_EQ(one.opened("/g").native_handle(), fd) << "the lowest is taken again";
}

TEST(simulated_driver, is_opened_by_name) {
  for (const std::string_view name : {"simulated", "simulated:7", "merging:simulated"}) {
    io_context context(open_driver({.name = name}).value());
    constexpr std::string_view text = "text";
    EXPECT_TRUE(context.run(replace_file(context, "/f", std::as_bytes(std::span(text))))) << name;
  }
  EXPECT_EQ(error_of(open_driver({.name = "simulated:x"})).value(), EINVAL);
  EXPECT_EQ(error_of(disk_with(quiet()).open_driver(0)).value(), EINVAL);
}

}  // namespace
}  // namespace weir::testing
