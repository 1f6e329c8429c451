// What only the Linux AIO driver does: which operations the kernel carries out asynchronously, and
// which the threads. A seccomp filter in a child tells the two apart.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <functional>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;

class linux_aio : public ::testing::Test {
 protected:
  void SetUp() override {
    const driver_report& report = report_of("linux_aio");
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
    file_ = make_patterned_file(directory_ / "file", 64 * block);
    direct_ = open_direct(directory_ / "file");
    if (!direct_) GTEST_SKIP() << "the file system refuses O_DIRECT, and Linux AIO needs it";
  }

  io_context& context(const driver_options& options = {}) {
    if (!context_) context_ = open_context("linux_aio", options);
    return *context_;
  }

  std::int32_t answer_to(const request& what) {
    recorded op(what);
    context().start(op);
    context().run();
    EXPECT_EQ(op.completions, 1);
    return op.answer();
  }

  request direct_read(std::size_t at) {
    request what = read_request(direct_.get(), memory_.span().subspan(at, block), at);
    what.hints = hint::direct;
    return what;
  }

  /// Every block of the file, all at once, then what was read.
  void read_all(std::size_t times = 1) {
    batch reads;
    for (std::size_t i = 0; i < times; ++i) {
      for (std::size_t at = 0; at < memory_.size(); at += block) add(reads, direct_read(at));
    }
    start_all(context(), reads);
    context().run();
    EXPECT_TRUE(all_answered(reads, block));
    EXPECT_TRUE(holds_pattern(memory_.span(), 0));
  }

  temp_directory directory_;
  descriptor file_;
  descriptor direct_;
  buffer memory_{64 * block};
  std::unique_ptr<io_context> context_;
};

// Invariant 32
TEST_F(linux_aio, submits_direct_transfers_to_the_kernel) {
  const child_outcome outcome = run_in_child([&] {
    die_of_system_call(SYS_io_submit);
    answer_to(direct_read(0));
  });
  EXPECT_EQ(outcome.signal, SIGSYS) << outcome;
}

// io_submit(2) would carry them out before it returns, and the context with it.
TEST_F(linux_aio, leaves_everything_else_to_threads) {
  const child_outcome outcome = run_in_child([&] {
    die_of_system_call(SYS_io_submit);
    std::array<std::byte, 100> bytes{};
    EXPECT_EQ(answer_to(read_request(file_.get(), bytes)), 100);
    EXPECT_EQ(answer_to(write_request(file_.get(), bytes)), 100);
    EXPECT_EQ(answer_to({.op = opcode::fsync, .fd = direct_.get()}), 0);
    EXPECT_EQ(answer_to({.op = opcode::nop}), 0);
    request unhinted = direct_read(0);
    unhinted.hints = 0;
    EXPECT_EQ(answer_to(unhinted), block);
    request impossible = direct_read(0);
    impossible.offset = UINT64_MAX;
    EXPECT_EQ(answer_to(impossible), -EINVAL);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// Invariants 1 and 3
TEST_F(linux_aio, gives_what_the_kernel_refuses_to_threads) {
  for (const int error : {EAGAIN, EINVAL, ENOSYS}) {
    const child_outcome outcome = run_in_child([&] {
      refuse_system_call(SYS_io_submit, error);
      read_all();
    });
    EXPECT_TRUE(outcome.succeeded()) << error << outcome;
  }
}

TEST_F(linux_aio, takes_completions_without_a_system_call) {
  const child_outcome outcome = run_in_child([&] {
    die_of_system_call(SYS_io_getevents);
    read_all(10);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// A wrong hint costs speed, never correctness.
TEST_F(linux_aio, answers_alike_where_the_hint_is_wrong) {
  std::array<std::byte, 100> bytes{};
  request what = read_request(file_.get(), bytes, 50);
  what.hints = hint::direct;
  EXPECT_EQ(answer_to(what), 100);
  EXPECT_TRUE(holds_pattern(bytes, 50));
  what.offset = 64 * block - 10;
  EXPECT_EQ(answer_to(what), 10);
  what.offset = 64 * block;
  EXPECT_EQ(answer_to(what), 0);
  const descriptor folder = open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
  what.fd = folder.get();
  EXPECT_EQ(answer_to(what), -EISDIR);
}

// The kernel's ring has room for few events then, and is gone through many times.
TEST_F(linux_aio, goes_round_its_ring) {
  context({.queue_depth = 3});
  read_all(100);
}

TEST_F(linux_aio, works_with_a_queue_of_one) {
  context({.queue_depth = 1});
  read_all(2);
}

TEST_F(linux_aio, works_with_a_long_queue) {
  context({.queue_depth = 2048});
  read_all(50);
}

// Invariant 5
TEST_F(linux_aio, may_be_started_again_from_completions) {
  context({.queue_depth = 4});
  int left = 2'000;
  batch reads;
  for (std::size_t i = 0; i < 8; ++i) {
    add(reads, direct_read(i * block)).then = [&](recorded& self) {
      if (--left > 0) context().start(self);
    };
  }
  start_all(context(), reads);
  context().run();
  EXPECT_LE(left, 0);
  for (const auto& op : reads) EXPECT_EQ(op->answer(), block);
}

TEST_F(linux_aio, moves_vectors_past_the_page_cache) {
  std::array<iovec, 2> vectors{{{memory_.data(), block}, {memory_.data() + block, 3 * block}}};
  request what{.op = opcode::readv,
               .hints = hint::direct,
               .fd = direct_.get(),
               .address = vectors.data(),
               .offset = 0,
               .length = 2};
  EXPECT_EQ(answer_to(what), 4 * block);
  EXPECT_TRUE(holds_pattern(memory_.first(4 * block), 0));
  what.offset = 62 * block;
  EXPECT_EQ(answer_to(what), 2 * block);
  EXPECT_TRUE(holds_pattern(memory_.first(2 * block), 62 * block));
}

TEST_F(linux_aio, mixes_threads_and_kernel_in_one_batch) {
  std::array<std::byte, 64> bytes{};
  batch both;
  for (std::size_t i = 0; i < 64; ++i) {
    add(both, direct_read(i * block));
    add(both, read_request(file_.get(), std::span(bytes).subspan(i, 1), i));
    add(both, {.op = opcode::fdatasync, .fd = file_.get()});
  }
  start_all(context({.queue_depth = 16}), both);
  context().run();
  for (std::size_t i = 0; i < both.size(); i += 3) {
    EXPECT_TRUE(answered(*both[i], block));
    EXPECT_TRUE(answered(*both[i + 1], 1));
    EXPECT_TRUE(answered(*both[i + 2], 0));
  }
  EXPECT_TRUE(holds_pattern(memory_.span(), 0));
  EXPECT_TRUE(holds_pattern(bytes, 0));
}

// A transfer that the disk is busy with cannot be taken back, and says so.
TEST_F(linux_aio, cancels_of_direct_transfers_tell_the_truth) {
  batch reads;
  batch cancels;
  for (std::size_t at = 0; at < memory_.size(); at += block) {
    add(reads, direct_read(at));
    add(cancels, cancel_request(*reads.back()));
  }
  start_all(context({.queue_depth = 8}), reads);
  context().flush();
  start_all(context(), cancels);
  context().run();
  for (std::size_t i = 0; i < reads.size(); ++i) {
    ASSERT_EQ(reads[i]->completions, 1);
    ASSERT_EQ(cancels[i]->completions, 1);
    EXPECT_EQ(reads[i]->answer(), cancels[i]->answer() == 0 ? -ECANCELED : int{block});
  }
}

}  // namespace
}  // namespace weir::testing
