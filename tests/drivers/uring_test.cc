// What only the io_uring driver does: older kernels, played by restrictions, and the kernel's own
// threads.

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "drivers/drivers.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::driver_limits;
using detail::open_uring;
using detail::uring_restrictions;

constexpr std::uint64_t every_opcode = (std::uint64_t{1} << opcode_count) - 1;

constexpr std::uint64_t only(opcode op) { return std::uint64_t{1} << static_cast<unsigned>(op); }

/// A kernel that lacks something, and what must work there all the same.
struct older_kernel {
  std::string name;
  uring_restrictions restrictions;
};
std::ostream& operator<<(std::ostream& out, const older_kernel& kernel) {
  return out << kernel.name;
}

class uring_on : public ::testing::TestWithParam<older_kernel> {
 protected:
  void SetUp() override {
    const driver_report& report = report_of("uring");
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
  }

  io_context& open(const driver_limits& limits = {.queue_depth = 16, .threads = 4}) {
    auto opened = open_uring(limits, GetParam().restrictions);
    if (!opened) throw std::runtime_error(opened.error().call);
    context_ = std::make_unique<io_context>(std::move(*opened));
    return *context_;
  }
  io_context& context() { return *context_; }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

std::vector<older_kernel> older_kernels() {
  return {
      {"this_kernel", {}},
      {"before_6_1", {.refused_setup_flags = IORING_SETUP_DEFER_TASKRUN}},
      {"before_6_0", {.refused_setup_flags = IORING_SETUP_SINGLE_ISSUER}},
      {"before_5_19",
       {.refused_setup_flags =
            IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG}},
      {"before_5_18", {.refused_setup_flags = IORING_SETUP_SUBMIT_ALL}},
      {"without_ftruncate", {.missing_opcodes = only(opcode::ftruncate)}},
      {"without_openat_and_close", {.missing_opcodes = only(opcode::openat) | only(opcode::close)}},
      {"without_reads", {.missing_opcodes = only(opcode::read) | only(opcode::readv)}},
      {"without_any_opcode", {.missing_opcodes = every_opcode & ~only(opcode::cancel)}},
      {"with_next_to_nothing",
       {.refused_setup_flags = IORING_SETUP_SUBMIT_ALL,
        .missing_opcodes = every_opcode & ~only(opcode::cancel)}},
  };
}

INSTANTIATE_TEST_SUITE_P(kernels, uring_on, ::testing::ValuesIn(older_kernels()),
                         [](const auto& tested) { return tested.param.name; });

TEST_P(uring_on, carries_a_file_through_its_life) {
  open();
  auto live = [&]() -> task<> {
    const std::string path = directory_ / "file";
    const open_options options{.read = true, .write = true, .create = true};
    result<file> opened = co_await weir::open(context(), path, options);
    EXPECT_TRUE(opened.has_value());
    if (!opened) co_return;
    std::vector<std::byte> memory(100'000);
    fill(memory, 0);
    const transfer_result written = co_await opened->write_all_at(memory, 0);
    EXPECT_EQ(written, memory.size());
    const result<void> synced = co_await opened->sync();
    EXPECT_TRUE(synced.has_value());
    const result<void> truncated = co_await opened->truncate(50'000);
    EXPECT_TRUE(truncated.has_value());
    const result<file_status> status = co_await opened->stat();
    EXPECT_EQ(status.value().size, 50'000);
    std::ranges::fill(memory, std::byte{0});
    const transfer_result read = co_await opened->read_exactly_at(memory, 0);
    EXPECT_EQ(read.transferred, 50'000);
    EXPECT_EQ(read.error(), errc::short_read);
    EXPECT_TRUE(holds_pattern(std::span(memory).first(50'000), 0));
    const int fd = opened->native_handle();
    const result<void> closed = co_await opened->close();
    EXPECT_TRUE(closed.has_value());
    EXPECT_FALSE(is_open(fd));
  };
  context().run(live());
}

// Invariants 3 and 13. Without SUBMIT_ALL a submission ends at the first operation that is refused
// while it is prepared, as a vector at no address is.
TEST_P(uring_on, submits_what_stands_behind_a_refused_operation) {
  open({.queue_depth = 4, .threads = 2});
  const descriptor file = make_patterned_file(directory_ / "file", 300);
  std::array<std::byte, 300> memory{};
  batch good;
  batch bad;
  for (std::size_t i = 0; i < 300; ++i) {
    add(bad, {.op = opcode::readv, .fd = file.get(), .address = nullptr, .length = 3});
    add(good, read_request(file.get(), std::span(memory).subspan(i, 1), i));
    context().start(*bad.back());
    context().start(*good.back());
  }
  context().run();
  EXPECT_TRUE(all_answered(good, 1));
  EXPECT_TRUE(all_answered(bad, -EFAULT));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_P(uring_on, shows_at_fd_what_it_was_woken_for) {
  open();
  std::array<std::byte, 1> byte{};
  const pipe_ends pipe = make_pipe();
  recorded blocked(read_request(pipe.read.get(), byte));
  context().start(blocked);
  context().dispatch(false);
  bool shown = true;
  for (int i = 0; i < 20 && shown; ++i) {
    recorded posted{request{}};
    std::thread starter([&] { context().start(posted); });
    shown = poll_until(context(), [&] { return posted.completions == 1; });
    starter.join();
    drive_until(context(), [&] { return posted.completions == 1; });
  }
  EXPECT_TRUE(shown) << "what another thread had started";
  EXPECT_EQ(blocked.completions, 0);
  const int polling = this_thread();
  std::thread feeder([&] {
    EXPECT_TRUE(eventually([&] { return is_asleep(polling); }));
    pipe.feed(1);
  });
  EXPECT_TRUE(poll_until(context(), [&] { return blocked.completions == 1; }));
  feeder.join();
  context().run();
  EXPECT_TRUE(answered(blocked, 1));
}

TEST_P(uring_on, ends_a_wait_for_another_thread) {
  open();
  for (int i = 0; i < 200; ++i) {
    recorded posted{request{}};
    std::thread starter([&] { context().start(posted); });
    EXPECT_EQ(context().dispatch(true), 1);
    starter.join();
  }
}

TEST_P(uring_on, cancels_and_ends_while_busy) {
  open({.queue_depth = 4, .threads = 1});
  pipe_ends pipe = make_pipe();
  std::array<std::byte, 12> memory{};
  batch reads;
  for (std::byte& each : memory) {
    add(reads, read_request(pipe.read.get(), {&each, 1})).then = [&](recorded& self) {
      if (self.answer() == -ECANCELED) pipe.write.reset();  // lets a blocked thread go
    };
  }
  start_all(context(), reads);
  context().flush();
  recorded cancel(cancel_request(*reads[1]));
  context().start(cancel);
  context().dispatch(true);
  context_.reset();
  for (const auto& op : reads) EXPECT_EQ(op->completions, 1);
  EXPECT_EQ(cancel.completions, 1);
}

// --- on this kernel ------------------------------------------------------------------------------

class uring : public ::testing::Test {
 protected:
  void SetUp() override {
    const driver_report& report = report_of("uring");
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
  }
  temp_directory directory_;
};

// The flags on every rung of the ladder.
TEST_F(uring, needs_a_kernel_that_can_start_a_ring_disabled) {
  const auto opened = open_uring({.queue_depth = 4, .threads = 1},
                                 {.refused_setup_flags = IORING_SETUP_R_DISABLED});
  ASSERT_FALSE(opened.has_value());
  EXPECT_STREQ(opened.error().call, "io_uring_setup");
  EXPECT_EQ(opened.error().error, EINVAL);
}

TEST_F(uring, leaves_nothing_behind_when_it_cannot_be_opened) {
  const std::size_t before = count_descriptors();
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(open_uring({.queue_depth = 4, .threads = 1},
                            {.refused_setup_flags = IORING_SETUP_R_DISABLED}));
  }
  EXPECT_EQ(count_descriptors(), before);
}

// With SINGLE_ISSUER the kernel would otherwise refuse every thread but the first.
TEST_F(uring, may_be_opened_on_one_thread_and_driven_on_another) {
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  std::unique_ptr<io_context> context;
  std::thread([&] { context = open_context("uring"); }).join();
  std::array<std::byte, 100> memory{};
  recorded op(read_request(file.get(), memory));
  std::thread([&] {
    context->start(op);
    context->run();
  }).join();
  EXPECT_TRUE(answered(op, 100));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_F(uring, works_with_a_queue_of_one) {
  const descriptor file = make_patterned_file(directory_ / "file", 500);
  const auto context = open_context("uring", {.queue_depth = 1});
  std::array<std::byte, 500> memory{};
  batch reads;
  for (std::size_t i = 0; i < memory.size(); ++i) {
    add(reads, read_request(file.get(), std::span(memory).subspan(i, 1), i));
  }
  start_all(*context, reads);
  context->run();
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_F(uring, works_with_the_longest_queue) {
  const auto context = open_context("uring", {.queue_depth = 16384});
  batch many;
  for (int i = 0; i < 40'000; ++i) add(many, {});
  start_all(*context, many);
  context->run();
  EXPECT_TRUE(all_answered(many, 0));
}

/// Looks at the kernel's workers whenever an operation completes.
class worker_watch {
 public:
  void on_completion() {
    if (++completions_ % 16 == 0) most_ = std::max(most_, count_kernel_workers());
  }
  std::size_t most() const { return most_; }

 private:
  std::size_t completions_ = 0;
  std::size_t most_ = 0;
};

// Invariant 15. fsync always goes to a worker: so without the cap there would be dozens.
TEST_F(uring, keeps_the_kernels_workers_within_their_bound) {
  const descriptor file = make_patterned_file(directory_ / "file", 1000);
  const auto context = open_context("uring", {.threads = 2});
  worker_watch watch;
  batch syncs;
  for (int i = 0; i < 500; ++i) {
    add(syncs, {.op = opcode::fdatasync, .fd = file.get()}).then = [&](recorded&) {
      watch.on_completion();
    };
  }
  start_all(*context, syncs);
  context->run();
  EXPECT_TRUE(all_answered(syncs, 0));
  EXPECT_GE(watch.most(), 1) << "there was nothing to bound";
  EXPECT_LE(watch.most(), 2);
}

// Invariant 15
TEST_F(uring, thousands_of_cold_reads_do_not_make_hundreds_of_kernel_threads) {
  constexpr std::size_t size = 32 << 20;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  ASSERT_EQ(::fsync(file.get()), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  const auto context = open_context("uring", {.queue_depth = 4096});
  std::vector<std::byte> memory(size);
  worker_watch watch;
  batch reads;
  for (std::size_t at = 0; at < size; at += 8192) {
    add(reads, read_request(file.get(), std::span(memory).subspan(at, 4096), at)).then =
        [&](recorded&) { watch.on_completion(); };
  }
  start_all(*context, reads);
  context->run();
  EXPECT_TRUE(all_answered(reads, 4096));
  EXPECT_LE(watch.most(), 16);
}

}  // namespace
}  // namespace weir::testing
