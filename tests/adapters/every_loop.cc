// What weir must do in every event loop, on every driver. Each loop's test program is linked with
// this file.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

class every_loop : public driver_test {
 protected:
  static constexpr unsigned depth = 32;

  void SetUp() override {
    driver_test::SetUp();
    if (IsSkipped()) return;
    context_ = open_context(GetParam(), {.queue_depth = depth});
    ASSERT_TRUE(loop().attach(context()));
  }
  // The order that is asked of users: the attachment, the context, the loop.
  void TearDown() override { loop().drop(); }

  event_loop& loop() { return *loop_; }
  io_context& context() { return *context_; }

  temp_directory directory_;
  std::unique_ptr<event_loop> loop_ = make_event_loop();
  std::unique_ptr<io_context> context_;
};

INSTANTIATE_TEST_SUITE_P(drivers, every_loop, ::testing::ValuesIn(driver_names), name_of_driver);

/// Reads one byte after the other of a file, for ever: `width` at a time, each started by the
/// completion of another, until it is told to stop.
class endless_reads {
 public:
  endless_reads(io_context& context, const descriptor& file, std::size_t width) : bytes_(width) {
    for (std::size_t i = 0; i < width; ++i) {
      add(reads_, read_request(file.get(), std::span(&bytes_[i], 1), i)).then = [&](recorded& op) {
        ++completed;
        if (!stopped) context.start(op);
      };
    }
    start_all(context, reads_);
  }
  bool over() const {
    return std::ranges::none_of(reads_, [](const auto& op) { return op->in_flight(); });
  }
  ::testing::AssertionResult succeeded() const {
    for (const auto& op : reads_) {
      if (op->answer() != 1) return ::testing::AssertionFailure() << op->answer();
    }
    return holds_pattern(bytes_, 0);
  }

  std::size_t completed = 0;
  bool stopped = false;

 private:
  std::vector<std::byte> bytes_;
  batch reads_;
};

/// A byte that goes round between two sockets: each time the loop finds it, it is sent again.
class circulating_byte {
 public:
  circulating_byte(event_loop& loop, std::function<void()> when_seen)
      : when_seen_(std::move(when_seen)) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
      throw std::system_error(errno, std::system_category(), "socketpair");
    }
    here_ = descriptor(ends[0]);
    there_ = descriptor(ends[1]);
    send();
    loop.on_readable(here_.get(), [this] { receive(); });
  }
  int seen = 0;

 private:
  void send() const { EXPECT_EQ(::write(there_.get(), "x", 1), 1); }
  void receive() {
    char byte = 0;
    ASSERT_EQ(::read(here_.get(), &byte, 1), 1);
    ++seen;
    when_seen_();
    send();
  }

  std::function<void()> when_seen_;
  descriptor here_;
  descriptor there_;
};

// --- operations ----------------------------------------------------------------------------------

TEST_P(every_loop, completes_what_was_started_before_it_ran) {
  file f(context(), make_patterned_file(directory_ / "file", 8192).release());
  std::array<std::byte, 4096> memory{};
  result<std::size_t> heard = 0;
  bool done = false;
  start(f.read_at(memory, 100), [&](result<std::size_t> count) {
    heard = count;
    done = true;
  });
  EXPECT_FALSE(done);
  loop().run_until([&] { return done; });
  EXPECT_EQ(heard, 4096U);
  EXPECT_TRUE(holds_pattern(memory, 100));
}

// Nothing else wakes the loop here: if this were not handed over, it would wait for ever.
TEST_P(every_loop, hands_over_what_its_own_callbacks_start) {
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  std::array<std::byte, 100> memory{};
  recorded read(read_request(file.get(), memory));
  for (int round = 1; round <= 20; ++round) {
    loop().soon([&] { context().start(read); });
    loop().run_until([&] { return read.completions == round; });
    ASSERT_EQ(read.answer(), 100);
  }
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_P(every_loop, carries_out_many_more_operations_than_there_is_room_for) {
  constexpr std::size_t many = 2'000;
  const descriptor file = make_file(directory_ / "file");
  std::vector<std::byte> written(many);
  std::vector<std::byte> read(many);
  fill(written, 0);
  std::size_t done = 0;
  batch operations;
  const auto count = [&](recorded&) { ++done; };
  for (std::size_t i = 0; i < many; ++i) {
    const std::span<const std::byte> byte(&written[i], 1);
    add(operations, write_request(file.get(), byte, i)).then = count;
  }
  start_all(context(), operations);
  loop().run_until([&] { return done == many; });
  for (std::size_t i = 0; i < many; ++i) {
    add(operations, read_request(file.get(), std::span(&read[i], 1), i)).then = count;
  }
  loop().soon([&] {
    for (std::size_t i = many; i < 2 * many; ++i) context().start(*operations[i]);
  });
  loop().run_until([&] { return done == 2 * many; });
  EXPECT_TRUE(all_answered(operations, 1));
  EXPECT_TRUE(holds_pattern(read, 0));
}

TEST_P(every_loop, completes_what_other_threads_start) {
  constexpr int each = 500;
  const descriptor file = make_patterned_file(directory_ / "file", 1);
  struct starter {
    std::byte memory{};
    std::atomic<int> done = 0;
    recorded read{request{}};
    std::thread thread;
  };
  std::array<starter, 2> starters;
  int done = 0;
  for (starter& mine : starters) {
    mine.read.args = read_request(file.get(), {&mine.memory, 1});
    mine.read.then = [&](recorded& op) {
      EXPECT_EQ(op.answer(), 1);
      ++done;
      mine.done.fetch_add(1);
      mine.done.notify_one();
    };
    mine.thread = std::thread([&] {
      for (int i = 0; i < each; ++i) {
        context().start(mine.read);
        mine.done.wait(i);
      }
    });
  }
  loop().run_until([&] { return done == 2 * each; });
  for (starter& mine : starters) mine.thread.join();
}

TEST_P(every_loop, runs_coroutines_that_its_callbacks_spawn) {
  const std::string path = directory_ / "file";
  const descriptor made = make_patterned_file(path, 10'000);
  std::size_t total = 0;
  bool done = false;
  auto read_all = [&]() -> task<> {
    auto f = co_await open(context(), path);
    EXPECT_TRUE(f);
    for (std::uint64_t offset = 0;;) {
      auto [count, data] = co_await f->read_at(buffer(1000), offset);
      if (count.value_or(0) == 0) break;
      EXPECT_TRUE(holds_pattern(data.span().first(*count), offset));
      offset += *count;
      total += *count;
    }
    EXPECT_TRUE(co_await f->close());
    done = true;
  };
  loop().soon([&] { spawn(context(), read_all()); });
  loop().run_until([&] { return done; });
  EXPECT_EQ(total, 10'000U);
}

TEST_P(every_loop, ends_a_pause_of_the_context) {
  using namespace std::chrono_literals;
  bool done = false;
  loop().soon([&] {
    start(context().sleep_for(1ms), [&](result<void> slept) {
      EXPECT_TRUE(slept);
      done = true;
    });
  });
  loop().run_until([&] { return done; });
}

// --- fairness ------------------------------------------------------------------------------------

// The reads never end, so a turn that went on while there is something would never come back.
TEST_P(every_loop, serves_a_socket_in_each_turn_while_reads_never_end) {
  constexpr int enough = 200;
  const descriptor file = make_patterned_file(directory_ / "file", depth);
  endless_reads reads(context(), file, depth);
  std::size_t before = 0;
  std::size_t most = 0;
  circulating_byte socket(loop(), [&] {
    most = std::max(most, reads.completed - std::exchange(before, reads.completed));
  });
  loop().run_until([&] { return socket.seen >= enough && reads.completed >= 100 * depth; });
  // At most one turn's completions, and those of a turn that had begun.
  EXPECT_LE(most, 2 * depth);
  reads.stopped = true;
  loop().run_until([&] { return reads.over(); });
  EXPECT_TRUE(reads.succeeded());
}

TEST_P(every_loop, completes_reads_while_a_socket_is_always_readable) {
  const descriptor file = make_patterned_file(directory_ / "file", depth);
  endless_reads reads(context(), file, depth);
  const circulating_byte socket(loop(), [] {});
  loop().run_until([&] { return reads.completed >= 1000; });
  EXPECT_GT(socket.seen, 0);
  reads.stopped = true;
  loop().run_until([&] { return reads.over(); });
}

TEST_P(every_loop, keeps_its_timers_while_reads_never_end) {
  const descriptor file = make_patterned_file(directory_ / "file", depth);
  endless_reads reads(context(), file, depth);
  int ticks = 0;
  loop().every_millisecond([&] { ++ticks; });
  loop().run_until([&] { return ticks >= 20; });
  EXPECT_GT(reads.completed, 0U);
  reads.stopped = true;
  loop().run_until([&] { return reads.over(); });
}

TEST_P(every_loop, sleeps_while_there_is_nothing_to_do) {
  const descriptor file = make_patterned_file(directory_ / "file", 1);
  std::byte memory{};
  recorded read(read_request(file.get(), {&memory, 1}));
  context().start(read);
  loop().run_until([&] { return read.completions == 1; });
  int ticks = 0;
  int turns = 0;
  loop().every_millisecond([&] { ++ticks; });
  while (ticks < 20) {
    loop().turn();
    ++turns;
  }
  // Some loops wake a little early, and have to wait again; one that spins takes thousands.
  EXPECT_LT(turns, 200);
}

// --- attaching and detaching ---------------------------------------------------------------------

TEST_P(every_loop, leaves_what_is_in_flight_alone_when_it_is_detached) {
  const pipe_ends pipe = make_pipe();
  const descriptor file = make_patterned_file(directory_ / "file", 1);
  std::array<std::byte, 2> memory{};
  recorded ready(request{.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLIN});
  recorded read(read_request(file.get(), std::span(memory).first(1)));
  context().start(ready);
  context().start(read);
  loop().run_until([&] { return read.completions == 1; });
  loop().detach();
  pipe.feed(1);
  int turns = 0;
  loop().every_millisecond([&] { ++turns; });
  loop().run_until([&] { return turns == 3; });
  EXPECT_EQ(ready.completions, 0);

  ASSERT_TRUE(loop().attach_again());
  loop().run_until([&] { return ready.completions == 1; });
}

TEST_P(every_loop, hears_after_it_is_attached_again_of_what_was_started_meanwhile) {
  const descriptor file = make_patterned_file(directory_ / "file", 1);
  std::byte memory{};
  recorded read(read_request(file.get(), {&memory, 1}));
  for (int round = 1; round <= 10; ++round) {
    loop().detach();
    context().start(read);
    ASSERT_TRUE(loop().attach_again());
    loop().run_until([&] { return read.completions == round; });
  }
}

TEST_P(every_loop, lets_the_context_be_driven_by_hand_once_it_is_detached) {
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  std::vector<std::byte> memory(100);
  batch reads;
  for (std::size_t i = 0; i < 100; ++i) {
    add(reads, read_request(file.get(), std::span(&memory[i], 1), i));
  }
  start_all(context(), reads);
  loop().run_until([&] { return reads.front()->completions == 1; });
  loop().detach();
  context().run();
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_P(every_loop, may_be_detached_by_a_completion) {
  const descriptor file = make_patterned_file(directory_ / "file", 1);
  std::byte memory{};
  recorded second(read_request(file.get(), {&memory, 1}));
  recorded first(second.args, [&](recorded&) {
    context().start(second);
    loop().detach();
  });
  context().start(first);
  loop().run_until([&] { return first.completions == 1; });
  EXPECT_EQ(second.completions, 0);
  ASSERT_TRUE(loop().attach_again());
  loop().run_until([&] { return second.completions == 1; });
}

TEST_P(every_loop, may_lose_its_attachment_by_a_completion) {
  if (!loop().may_be_dropped_by_a_completion()) GTEST_SKIP() << "this loop says that it may not";
  const descriptor file = make_patterned_file(directory_ / "file", 1);
  std::byte memory{};
  recorded read(read_request(file.get(), {&memory, 1}), [&](recorded&) { loop().drop(); });
  context().start(read);
  loop().run_until([&] { return read.completions == 1; });
  ASSERT_TRUE(loop().attach(context()));
  read.then = nullptr;
  context().start(read);
  loop().run_until([&] { return read.completions == 2; });
}

TEST_P(every_loop, has_room_for_two_contexts) {
  const descriptor file = make_patterned_file(directory_ / "file", 1);
  const auto other_loop = make_event_loop();
  const auto other = open_context(GetParam());
  ASSERT_TRUE(other_loop->attach(*other));
  std::array<std::byte, 2> memory{};
  recorded here(read_request(file.get(), std::span(memory).first(1)));
  recorded there(read_request(file.get(), std::span(memory).last(1)));
  context().start(here);
  other->start(there);
  loop().run_until([&] { return here.completions == 1; });
  EXPECT_EQ(there.completions, 0);
  other_loop->run_until([&] { return there.completions == 1; });
  other_loop->drop();
}

TEST_P(every_loop, may_end_with_operations_in_flight_and_each_is_told) {
  const pipe_ends pipe = make_pipe();
  const descriptor file = make_patterned_file(directory_ / "file", 500);
  std::vector<std::byte> memory(500);
  batch operations;
  add(operations, {.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLIN});
  for (std::size_t i = 0; i < memory.size(); ++i) {
    add(operations, read_request(file.get(), std::span(&memory[i], 1), i));
  }
  start_all(context(), operations);
  loop().run_until([&] { return operations[1]->completions == 1; });
  loop().drop();
  context_.reset();
  for (const auto& op : operations) ASSERT_EQ(op->completions, 1);
  EXPECT_TRUE(answered(*operations[0], -ECANCELED));
}

}  // namespace
}  // namespace weir::testing
