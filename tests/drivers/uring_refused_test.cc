// A ring that its thread may no longer use: a seccomp filter has come between. Each test is a
// child, since a filter cannot be taken back.

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>

#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

class uring_refused : public ::testing::Test {
 protected:
  void SetUp() override {
    const driver_report& report = report_of("uring");
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
    make_patterned_file(directory_ / "file", 4096);
    file_ = open_file(directory_ / "file", O_RDONLY);
  }

  static void refuse_io_uring(int error = EPERM) {
    for (const long call : {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register}) {
      refuse_system_call(call, error);
    }
  }

  /// `body` in a child that has a context.
  static void expect_success(const std::function<void(io_context&)>& body) {
    const child_outcome outcome = run_in_child([&] {
      const auto context = open_context("uring");
      body(*context);
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
  }

  /// Reads the whole file, and has the answer.
  void expect_answer(io_context& context, std::int32_t expected) {
    std::vector<std::byte> memory(4096);
    recorded op(read_request(file_.get(), memory));
    context.start(op);
    context.run();
    EXPECT_TRUE(answered(op, expected));
  }

  static request pause_without_end() {
    return {.op = opcode::timeout, .offset = std::uint64_t{INT64_MAX}};
  }

  temp_directory directory_;
  descriptor file_;
};

TEST_F(uring_refused, names_the_error_where_it_was_opened_before) {
  for (const int error : {EPERM, EACCES, ENOSYS}) {
    expect_success([&](io_context& context) {
      refuse_io_uring(error);
      for (int i = 0; i < 3; ++i) expect_answer(context, -error);
    });
  }
}

TEST_F(uring_refused, names_the_error_where_it_was_used_before) {
  expect_success([&](io_context& context) {
    expect_answer(context, 4096);
    refuse_io_uring();
    for (int i = 0; i < 3; ++i) expect_answer(context, -EPERM);
  });
}

TEST_F(uring_refused, ends_what_waits_for_the_outside_world) {
  expect_success([&](io_context& context) {
    const pipe_ends pipe = make_pipe();
    batch waiting;
    add(waiting, {.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLIN});
    add(waiting, {.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLPRI});
    add(waiting, pause_without_end());
    start_all(context, waiting);
    context.dispatch(false);
    refuse_io_uring();
    context.run();
    EXPECT_TRUE(all_answered(waiting, -EPERM));
  });
}

TEST_F(uring_refused, more_operations_than_the_queue_holds_are_all_answered) {
  expect_success([&](io_context& context) {
    std::vector<std::byte> memory(4096);
    batch reads;
    for (int i = 0; i < 5'000; ++i) add(reads, read_request(file_.get(), memory));
    refuse_io_uring();
    start_all(context, reads);
    context.run();
    EXPECT_TRUE(all_answered(reads, -EPERM));
  });
}

// io_uring has no form of it, so that our threads, which are asked for nothing else, do it.
TEST_F(uring_refused, what_threads_carry_out_has_its_own_answer) {
  expect_success([&](io_context& context) {
    const descriptor directory = open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
    std::vector<std::byte> entries(4096);
    recorded list({.op = opcode::getdents,
                   .fd = directory.get(),
                   .address = entries.data(),
                   .length = entries.size()});
    expect_answer(context, 4096);
    context.start(list);
    context.flush();
    refuse_io_uring();
    context.run();
    EXPECT_GT(list.answer(), 0);
  });
}

TEST_F(uring_refused, still_hears_of_what_other_threads_start) {
  expect_success([&](io_context& context) {
    expect_answer(context, 4096);
    refuse_io_uring();
    for (int i = 0; i < 20; ++i) {
      recorded op(read_request(file_.get(), {}));
      std::thread other([&] { context.start(op); });
      drive_until(context, [&] { return op.completions == 1; });
      other.join();
      EXPECT_TRUE(answered(op, -EPERM));
    }
  });
}

TEST_F(uring_refused, shows_its_answers_to_an_event_loop) {
  expect_success([&](io_context& context) {
    EXPECT_GE(context.fd(), 0);
    context.dispatch(false);
    batch operations;
    add(operations, read_request(file_.get(), {}));
    add(operations, pause_without_end());
    refuse_io_uring();
    start_all(context, operations);
    context.flush();
    const auto both_done = [&] {
      return operations[0]->completions == 1 && operations[1]->completions == 1;
    };
    EXPECT_TRUE(poll_until(context, both_done));
    EXPECT_TRUE(all_answered(operations, -EPERM));
  });
}

// The kernel may write to the memory of what it has, and has no way left to say when it has done
// so.
TEST_F(uring_refused, with_transfers_in_flight_ends_the_program_with_a_sentence) {
  const pipe_ends pipe = make_pipe();
  const child_outcome outcome = run_in_child([&] {
    const auto context = open_context("uring");
    std::vector<std::byte> memory(1);
    recorded op(read_request(pipe.read.get(), memory));
    context->start(op);
    context->dispatch(false);
    refuse_io_uring();
    context->run();
  });
  EXPECT_TRUE(aborted_saying(outcome, "io_uring was forbidden (seccomp)"));
}

}  // namespace
}  // namespace weir::testing
