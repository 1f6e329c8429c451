// What only the client of a daemon does: the conformance suite runs through it as well. The daemon
// is a process of its own.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "daemon/support.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;

class daemon_driver : public ::testing::Test {
 protected:
  void serve(std::vector<std::string> options = {"--allow-write"}) {
    daemon_.emplace(std::move(options));
  }
  std::string name() const { return "daemon:" + daemon_->socket_path(); }
  std::unique_ptr<io_context> connect(driver_options options = {}) const {
    const std::string full = name();
    options.name = full;
    return open_context(full, options);
  }
  std::string path(std::string_view file) const { return directory_ / file; }

  /// The daemon's descriptors, once it has so many clients, who are counted on a connection of one
  /// more: what has just been closed here may still be open there.
  std::size_t descriptors_with(std::uint64_t clients) {
    if (!watcher_) watcher_.emplace(daemon_->socket_path());
    EXPECT_TRUE(comes_true([&] { return watcher_->info().values[4] == clients + 1; }));
    return daemon_->descriptors();
  }

  temp_directory directory_;
  std::optional<daemon_process> daemon_;
  std::optional<raw_client> watcher_;
};

std::int32_t answer_to(io_context& context, const request& what) {
  recorded op(what);
  context.start(op);
  context.run();
  EXPECT_EQ(op.completions, 1);
  return op.answer();
}

constexpr std::int32_t lost = detail::answer_of(errc::daemon_lost);

// --- whom it finds -------------------------------------------------------------------------------

TEST_F(daemon_driver, says_that_nobody_listens) {
  std::vector<driver_report> tried;
  const auto opened = open_driver({.name = "daemon:" + path("nobody")}, tried);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error(), std::errc::no_such_file_or_directory);
  ASSERT_EQ(tried.size(), 1);
  EXPECT_EQ(tried[0].name, "daemon");
  EXPECT_NE(tried[0].reason.find(path("nobody")), std::string::npos) << tried[0].reason;
  EXPECT_NE(tried[0].reason.find("no daemon listens there"), std::string::npos) << tried[0].reason;
  EXPECT_NE(tried[0].advice.find("weir serve"), std::string::npos) << tried[0].advice;
}

TEST_F(daemon_driver, says_that_a_name_cannot_be_one) {
  for (const std::string& name : {std::string(), "/" + std::string(200, 'x')}) {
    std::vector<driver_report> tried;
    EXPECT_FALSE(open_driver({.name = "daemon:" + name}, tried));
    ASSERT_EQ(tried.size(), 1);
    EXPECT_NE(tried[0].reason.find("names no daemon"), std::string::npos) << tried[0].reason;
  }
}

TEST_F(daemon_driver, is_wrapped_like_any_other) {
  serve();
  const auto context = open_context("merging:" + name());
  const descriptor file = make_patterned_file(path("file"), block);
  std::array<std::byte, block> memory{};
  EXPECT_EQ(answer_to(*context, read_request(file.get(), memory)), block);
  EXPECT_TRUE(holds_pattern(memory, 0));
}

// --- which file ----------------------------------------------------------------------------------

// A number that was closed behind the driver's back, and is another file's now.
TEST_F(daemon_driver, notices_that_a_number_is_another_file) {
  serve();
  const auto context = connect();
  descriptor first = make_patterned_file(path("first"), block);
  const int number = first.get();
  std::array<std::byte, block> memory{};
  ASSERT_EQ(answer_to(*context, read_request(number, memory)), block);
  for (unsigned seed = 1; seed < 600; ++seed) {
    const std::string other = path("other" + std::to_string(seed % 3));
    descriptor next = make_file(other);
    std::array<std::byte, block> wanted{};
    fill(wanted, 0, seed);
    ASSERT_EQ(::pwrite(next.get(), wanted.data(), wanted.size(), 0), block);
    ASSERT_EQ(::dup3(next.get(), number, O_CLOEXEC), number);
    ASSERT_EQ(answer_to(*context, read_request(number, memory)), block);
    ASSERT_TRUE(holds_pattern(memory, 0, seed)) << seed;
  }
}

// The same file opened again, with other rights: what the descriptor permits is what counts.
TEST_F(daemon_driver, notices_that_a_number_has_other_rights) {
  serve();
  const auto context = connect();
  descriptor file = make_patterned_file(path("file"), block);
  std::array<std::byte, 10> memory{};
  ASSERT_EQ(answer_to(*context, write_request(file.get(), memory)), 10);
  const descriptor reading = open_file(path("file"), O_RDONLY);
  ASSERT_EQ(::dup3(reading.get(), file.get(), O_CLOEXEC), file.get());
  EXPECT_EQ(answer_to(*context, write_request(file.get(), memory)), -EBADF);
}

TEST_F(daemon_driver, serves_more_files_than_there_are_slots) {
  serve();
  const auto context = connect();
  constexpr unsigned count = 2 * detail::daemon::slots_max + 10;
  std::vector<descriptor> files;
  for (unsigned i = 0; i < count; ++i) {
    files.push_back(make_patterned_file(path(std::to_string(i)), 100 + i));
  }
  std::vector<std::array<std::byte, 1000>> memory(count);
  batch reads;
  for (unsigned i = 0; i < count; ++i) add(reads, read_request(files[i].get(), memory[i]));
  start_all(*context, reads);
  context->run();
  for (unsigned i = 0; i < count; ++i) {
    EXPECT_TRUE(answered(*reads[i], static_cast<std::int32_t>(100 + i)));
    EXPECT_TRUE(holds_pattern(std::span(memory[i]).first(100 + i), 0));
  }
}

// Of what is closed by its number, as of a file that was removed meanwhile, nothing is held for
// long.
TEST_F(daemon_driver, lets_go_of_what_is_not_used) {
  serve();
  const auto context = connect();
  const std::size_t there = descriptors_with(1);
  const std::size_t before = count_descriptors();
  descriptor file = make_patterned_file(path("file"), block);
  std::array<std::byte, block> memory{};
  ASSERT_EQ(answer_to(*context, read_request(file.get(), memory)), block);
  EXPECT_EQ(daemon_->descriptors(), there + 1);
  file.reset();
  EXPECT_GT(count_descriptors(), before);
  while (count_descriptors() != before) {
    context->run([](io_context& on) -> task<> {
      EXPECT_TRUE((co_await on.sleep_for(std::chrono::milliseconds(20))).has_value());
    }(*context));
  }
  EXPECT_TRUE(comes_true([&] { return daemon_->descriptors() == there; }));
}

TEST_F(daemon_driver, lets_go_at_once_of_what_is_closed_through_it) {
  serve();
  const auto context = connect();
  const std::size_t before = count_descriptors();
  descriptor file = make_patterned_file(path("file"), block);
  std::array<std::byte, block> memory{};
  ASSERT_EQ(answer_to(*context, read_request(file.get(), memory)), block);
  EXPECT_EQ(answer_to(*context, {.op = opcode::close, .fd = file.release()}), 0);
  EXPECT_EQ(count_descriptors(), before);
}

// What is no file on a disk is none of the daemon's business, and works all the same.
TEST_F(daemon_driver, leaves_pipes_and_the_kernels_files_to_the_client) {
  serve();
  const auto context = connect();
  const std::size_t there = descriptors_with(1);
  const pipe_ends pipe = make_pipe();
  pipe.feed(5);
  std::array<std::byte, 100> memory{};
  EXPECT_EQ(answer_to(*context, read_request(pipe.read.get(), memory)), 5);
  const descriptor name = open_file("/proc/self/comm", O_RDONLY);
  const std::int32_t length = answer_to(*context, read_request(name.get(), memory));
  ASSERT_GT(length, 1);
  const std::string read(reinterpret_cast<const char*>(memory.data()),
                         static_cast<std::size_t>(length) - 1);
  EXPECT_EQ(std::filesystem::path(program_invocation_name).filename().string().find(read), 0);
  EXPECT_EQ(daemon_->descriptors(), there);
}

// --- how much ------------------------------------------------------------------------------------

// Far more than there is shared memory for.
TEST_F(daemon_driver, moves_more_than_the_shared_memory_holds) {
  serve();
  constexpr std::size_t size = std::size_t{3} << 20;
  constexpr std::size_t count = 16;
  const auto context = connect();
  const descriptor file = make_file(path("file"));
  std::vector<std::byte> memory(count * size);
  fill(memory, 0);
  for (const opcode op : {opcode::write, opcode::read}) {
    batch transfers;
    for (std::size_t i = 0; i < count; ++i) {
      add(transfers, {.op = op,
                      .fd = file.get(),
                      .address = memory.data() + i * size,
                      .offset = i * size,
                      .length = size});
    }
    start_all(*context, transfers);
    context->run();
    EXPECT_TRUE(all_answered(transfers, size));
    if (op == opcode::write) std::ranges::fill(memory, std::byte{0});
  }
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_F(daemon_driver, cancels_what_is_large_between_its_pieces) {
  serve();
  constexpr std::size_t size = std::size_t{12} << 20;
  const auto context = connect();
  const descriptor file = make_patterned_file(path("file"), size);
  std::vector<std::byte> memory(size);
  for (int turns = 0; turns < 12; ++turns) {
    recorded read(read_request(file.get(), memory));
    recorded cancel(cancel_request(read));
    context->start(read);
    for (int i = 0; i < turns; ++i) context->dispatch(false);
    context->start(cancel);
    context->run();
    EXPECT_EQ(read.completions + cancel.completions, 2);
    if (read.answer() < 0) {
      EXPECT_EQ(read.answer(), -ECANCELED);
    } else {
      EXPECT_TRUE(
          holds_pattern(std::span(memory).first(static_cast<std::size_t>(read.answer())), 0));
    }
  }
}

TEST_F(daemon_driver, writes_nothing_for_a_daemon_that_only_reads) {
  serve({"--read-only"});
  const auto context = connect();
  const descriptor file = make_patterned_file(path("file"), block);
  std::array<std::byte, 10> memory{};
  EXPECT_EQ(answer_to(*context, read_request(file.get(), memory)), 10);
  EXPECT_EQ(answer_to(*context, write_request(file.get(), memory)), -EROFS);
  EXPECT_EQ(answer_to(*context, {.op = opcode::ftruncate, .fd = file.get()}), -EROFS);
  EXPECT_TRUE(holds_pattern(contents_of(path("file")), 0));
}

// --- a daemon that dies --------------------------------------------------------------------------

/// Of each transfer: it was done, or it is lost; nothing else.
void expect_done_or_lost(const batch& transfers, std::int32_t done) {
  for (const auto& each : transfers) {
    EXPECT_EQ(each->completions, 1);
    EXPECT_TRUE(each->answer() == done || each->answer() == lost) << each->answer();
  }
}

TEST_F(daemon_driver, tells_that_the_daemon_was_lost_and_finds_the_next) {
  serve();
  const auto context = connect();
  file opened(*context, make_patterned_file(path("file"), block).release());
  std::array<std::byte, block> memory{};
  const auto read = [&]() -> task<result<std::size_t>> {
    co_return co_await opened.read_at(memory, 0);
  };
  ASSERT_EQ(context->run(read()), block);

  daemon_->kill();
  EXPECT_EQ(error_of(context->run(read())), errc::daemon_lost);
  EXPECT_EQ(error_of(context->run(read())), errc::daemon_lost);

  daemon_->restart();
  memory = {};
  EXPECT_EQ(context->run(read()), block);
  EXPECT_TRUE(holds_pattern(memory, 0));
}

// Invariant 30, and nothing is lost: each operation completes, whatever the daemon was doing.
TEST_F(daemon_driver, completes_everything_when_the_daemon_is_killed) {
  serve();
  constexpr std::size_t count = 200;
  const descriptor file = make_patterned_file(path("file"), count * block);
  for (int round = 0; round < 10; ++round) {
    const auto context = connect({.queue_depth = 64});
    std::vector<std::byte> memory(count * block);
    batch transfers;
    std::size_t completed = 0;
    for (std::size_t i = 0; i < count; ++i) {
      transfers.push_back(std::make_unique<recorded>(
          read_request(file.get(), std::span(memory).subspan(i * block, block), i * block),
          [&](recorded&) {
            if (++completed == static_cast<std::size_t>(round) * 15) daemon_->signal(SIGKILL);
          }));
    }
    if (round == 0) daemon_->signal(SIGKILL);
    start_all(*context, transfers);
    context->run();
    expect_done_or_lost(transfers, block);
    daemon_->kill();
    daemon_->restart();
  }
}

TEST_F(daemon_driver, a_client_that_is_killed_leaves_nothing_behind) {
  serve();
  const descriptor file = make_patterned_file(path("file"), 256 * block);
  {
    const auto first = connect();
  }  // what the daemon sets up once
  const std::size_t there = descriptors_with(0);
  for (int round = 0; round < 10; ++round) {
    const child_outcome outcome = run_in_child([&] {
      const auto context = connect();
      std::vector<std::byte> memory(256 * block);
      batch reads;
      for (std::size_t i = 0; i < 256; ++i) {
        add(reads,
            read_request(file.get(), std::span(memory).subspan(i * block, block), i * block));
      }
      start_all(*context, reads);
      for (int i = 0; i < round; ++i) context->dispatch(context->outstanding() != 0);
      ::kill(::getpid(), SIGKILL);
    });
    EXPECT_EQ(outcome.signal, SIGKILL);
  }
  EXPECT_EQ(descriptors_with(0), there);
}

// A client with little room for files of its own: the shared memory counts as one.
TEST_F(daemon_driver, works_where_files_may_not_be_large) {
  serve();
  const std::string name = path("file");
  make_patterned_file(name, 100'000);
  const child_outcome outcome = run_in_child([&] {
    const rlimit most{.rlim_cur = 50'000, .rlim_max = 50'000};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &most), 0);
    ::signal(SIGXFSZ, SIG_IGN);
    const auto context = connect();
    const descriptor file = open_file(name, O_RDWR);
    std::vector<std::byte> memory(100'000);
    EXPECT_EQ(answer_to(*context, read_request(file.get(), memory)), 100'000);
    EXPECT_TRUE(holds_pattern(memory, 0));
    EXPECT_EQ(answer_to(*context, write_request(file.get(), memory)), 50'000);
    EXPECT_EQ(answer_to(*context, write_request(file.get(), memory, 50'000)), -EFBIG);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

}  // namespace
}  // namespace weir::testing
