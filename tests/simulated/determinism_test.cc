// The same seed gives the same trace, byte for byte: in every run, and with every compiler.

#include <string>
#include <vector>

#include "simulated/simulated_machine.hpp"

namespace weir::testing {
namespace {

/// Numbers of a program's own, the same everywhere.
class dice {
 public:
  explicit dice(std::uint64_t seed) noexcept : state_(seed * 2 + 1) {}
  std::uint64_t below(std::uint64_t count) noexcept {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return (state_ >> 33) % count;
  }

 private:
  std::uint64_t state_;
};

simulated_options everything_happens(std::uint64_t seed) {
  constexpr double often = 0.05;
  return {.seed = seed,
          .faults = {.misdirected = often,
                     .bit_rot = often,
                     .bad_sector = often,
                     .io_error = often,
                     .sync_failed = often,
                     .short_transfer = often,
                     .interrupted = often,
                     .would_block = often,
                     .stalled = often},
          .loss = seed % 2 == 0 ? power_loss::some : power_loss::in_order,
          .latency = {.how = seed % 3 == 0 ? simulated_latency::shape::heavy_tail
                                           : simulated_latency::shape::exponential},
          .dirty_limit = 16384,
          .writeback = often};
}

/// Whatever is answered: what is asked for does not depend on it.
task<> disorder(io_context& context, std::uint64_t seed) {
  dice random(seed);
  std::vector<std::byte> memory(20000);
  fill(memory, 0);
  for (int round = 0; round < 6; ++round) {
    const std::string path = "/" + std::to_string(random.below(4));
    const std::string other = "/" + std::to_string(random.below(4));
    const auto bytes = std::span(memory).first(1 + random.below(memory.size()));
    auto opened = co_await open(context, path, {.write = true, .create = true});
    if (opened) {
      static_cast<void>(co_await opened->write_at(bytes, random.below(10000)));
      static_cast<void>(co_await opened->read_at(bytes, random.below(10000)));
      static_cast<void>(co_await opened->sync());
      static_cast<void>(co_await opened->close());
    }
    static_cast<void>(co_await rename(context, path, other));
    static_cast<void>(co_await replace_file(context, "/whole", bytes));
    static_cast<void>(co_await context.sleep_for(std::chrono::microseconds(random.below(1000))));
  }
}

struct course {
  std::uint64_t digest;
  std::string text;
  std::vector<simulated_fault_at> faults;
};

/// Three at once until the power fails, and one on what is left.
course run(const simulated_options& options) {
  simulated_disk disk = disk_with(options);
  disk.power_off_after(60);
  {
    io_context context(disk.open_driver().value());
    for (std::uint64_t i = 0; i < 3; ++i) spawn(context, disorder(context, options.seed * 3 + i));
    context.run();
  }
  simulated_disk after = disk.power_on();
  io_context context(after.open_driver().value());
  context.run(disorder(context, options.seed));
  return {disk.trace_digest() * 31 + after.trace_digest(), disk.trace() + after.trace(),
          disk.faults_met()};
}

TEST(determinism, the_same_seed_gives_the_same_trace) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const course first = run(everything_happens(seed));
    const course second = run(everything_happens(seed));
    EXPECT_EQ(first.text, second.text);
    EXPECT_EQ(first.digest, second.digest);
    EXPECT_FALSE(first.faults.empty());
  }
}

TEST(determinism, other_seeds_give_other_traces) {
  EXPECT_NE(run(everything_happens(1)).digest, run(everything_happens(2)).digest);
}

TEST(determinism, a_digest_needs_no_trace) {
  simulated_options options = everything_happens(5);
  const std::uint64_t kept = run(options).digest;
  options.trace = false;
  const course dropped = run(options);
  EXPECT_EQ(dropped.digest, kept);
  EXPECT_EQ(dropped.text, "");
}

// The number was found with g++ 12 on x86-64. Who gets another has other traces, and what was found
// with a seed here is not found with it there. Who changes it raises `simulated_model`.
TEST(determinism, a_thousand_seeds_give_the_same_traces_everywhere) {
  std::uint64_t all = 0;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    simulated_options options = everything_happens(seed);
    options.trace = false;
    const std::uint64_t digest = run(options).digest;
    ASSERT_EQ(run(options).digest, digest) << seed;
    all = all * 0x9e3779b97f4a7c15 + digest;
  }
  EXPECT_EQ(all, 1330506840370833338U);
}

TEST(determinism, a_replay_meets_the_same_faults) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    simulated_options options = everything_happens(seed);
    const course first = run(options);
    options.replay = first.faults;
    EXPECT_EQ(run(options).faults, first.faults) << seed;
  }
}

TEST(determinism, a_replay_without_faults_meets_none) {
  simulated_options options = everything_happens(3);
  options.replay.emplace();
  EXPECT_TRUE(run(options).faults.empty());
}

}  // namespace
}  // namespace weir::testing
