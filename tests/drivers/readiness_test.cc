// Waiting for the outside world: polls and timeouts. Each test runs on each driver; none of what is
// awaited uses up what file I/O needs.

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <ctime>
#include <random>
#include <thread>
#include <vector>

#include "perform.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr unsigned readable_events = POLLIN;
constexpr unsigned writable_events = POLLOUT;

request poll_request(int fd, unsigned events) {
  return {.op = opcode::poll, .fd = fd, .flags = events};
}

request timeout_request(steady_clock::time_point when) {
  const std::chrono::nanoseconds since_boot = when.time_since_epoch();
  return {.op = opcode::timeout, .offset = static_cast<std::uint64_t>(since_boot.count())};
}

request timeout_in(steady_clock::duration from_now) {
  return timeout_request(steady_clock::now() + from_now);
}

constexpr std::chrono::hours far_future{1};

struct socket_pair {
  explicit socket_pair(int flags = 0) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ends.data()), 0);
    near = descriptor(ends[0]);
    far = descriptor(ends[1]);
  }

  /// Until nothing more can be written at `near`.
  void fill_up() const {
    const std::array<char, 4096> bytes{};
    while (::send(near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
  }
  void empty() const {
    std::array<char, 4096> bytes;
    while (::recv(far.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
  }

  descriptor near, far;
};

class readiness : public driver_test {
 protected:
  io_context& context(const driver_options& options = {}) {
    if (!context_) context_ = open_context(GetParam(), options);
    return *context_;
  }

  /// Whether a read of an empty pipe leaves the context's thread free.
  bool can_be_blocked() const { return innermost(GetParam()) != "sync"; }

  std::int32_t answer_to(const request& what) {
    recorded op(what);
    context().start(op);
    context().run();
    EXPECT_EQ(op.completions, 1);
    return op.answer();
  }

  /// Starts it, and lets the driver have it.
  void set_off(recorded& op) {
    context().start(op);
    context().flush();
  }

  /// Nothing completes, however often one looks.
  void expect_quiet() {
    for (int i = 0; i < 10; ++i) EXPECT_EQ(context().dispatch(false), 0);
  }

  /// Until fd() is no longer readable; a driver that goes on for nothing makes its callers spin.
  void settle() {
    for (int turns = 0; readable(context().fd(), 0); ++turns) {
      ASSERT_LT(turns, 4) << "fd() is readable and there is nothing to do";
      context().dispatch(false);
    }
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

// Not on faults of timing, which put events into another order than that of their times.
INSTANTIATE_TEST_SUITE_P(drivers, readiness,
                         ::testing::Values("uring", "linux_aio", "threads", "sync", "merging:uring",
                                           "merging:linux_aio", "merging:threads", "merging:sync"),
                         name_of_driver);

// --- polls ---------------------------------------------------------------------------------------

TEST_P(readiness, of_a_pipe) {
  pipe_ends pipe = make_pipe();
  EXPECT_EQ(answer_to(poll_request(pipe.write.get(), POLLOUT)), POLLOUT);
  recorded reading(poll_request(pipe.read.get(), POLLIN));
  set_off(reading);
  expect_quiet();
  pipe.feed(1);
  context().run();
  EXPECT_TRUE(answered(reading, POLLIN));
  EXPECT_EQ(bytes_in(pipe), 1) << "a poll takes nothing";
  EXPECT_EQ(answer_to(poll_request(pipe.read.get(), POLLIN | POLLOUT)), POLLIN);
  pipe.write.reset();
  EXPECT_EQ(answer_to(poll_request(pipe.read.get(), POLLIN)), POLLIN | POLLHUP);
  EXPECT_EQ(answer_to(poll_request(pipe.read.get(), 0)), POLLHUP);
}

TEST_P(readiness, of_a_pipe_that_is_full_or_that_nobody_reads) {
  pipe_ends pipe = make_pipe(O_NONBLOCK);
  std::vector<std::byte> food(1 << 20);
  const auto fed = ::write(pipe.write.get(), food.data(), food.size());
  ASSERT_GT(fed, 0);
  recorded writing(poll_request(pipe.write.get(), POLLOUT));
  set_off(writing);
  expect_quiet();
  EXPECT_EQ(::read(pipe.read.get(), food.data(), food.size()), fed);
  context().run();
  EXPECT_TRUE(answered(writing, POLLOUT));
  ASSERT_EQ(::write(pipe.write.get(), food.data(), food.size()), fed);
  writing.completions = 0;
  set_off(writing);
  pipe.read.reset();
  context().run();
  EXPECT_EQ(writing.answer() & POLLERR, POLLERR);
}

TEST_P(readiness, of_an_eventfd) {
  const descriptor event(::eventfd(0, EFD_CLOEXEC));
  recorded op(poll_request(event.get(), POLLIN));
  for (int i = 0; i < 100; ++i) {
    op.completions = 0;
    set_off(op);
    expect_quiet();
    std::uint64_t count = 1;
    ASSERT_EQ(::write(event.get(), &count, sizeof count), 8);
    context().run();
    ASSERT_TRUE(answered(op, POLLIN));
    ASSERT_EQ(::read(event.get(), &count, sizeof count), 8);
  }
}

TEST_P(readiness, of_a_socket) {
  socket_pair sockets;
  const int fd = sockets.near.get();
  EXPECT_EQ(answer_to(poll_request(fd, POLLIN | POLLOUT)), POLLOUT);
  recorded reading(poll_request(fd, POLLIN | POLLRDHUP));
  set_off(reading);
  expect_quiet();
  ASSERT_EQ(::send(sockets.far.get(), "x", 1, 0), 1);
  context().run();
  EXPECT_TRUE(answered(reading, POLLIN));
  ASSERT_EQ(::shutdown(sockets.far.get(), SHUT_WR), 0);
  EXPECT_EQ(answer_to(poll_request(fd, POLLIN)), POLLIN);
  EXPECT_EQ(answer_to(poll_request(fd, POLLIN | POLLRDHUP)), POLLIN | POLLRDHUP);
  sockets.far.reset();
  EXPECT_EQ(answer_to(poll_request(fd, 0)), POLLHUP);
}

// Somebody who has said all there is to say and still listens: as long as nothing can be written to
// him, whoever waits for that and is told something else would ask again, for ever.
TEST_P(readiness, to_write_to_who_says_no_more_is_waited_for) {
  const socket_pair sockets;
  sockets.fill_up();
  recorded writing(poll_request(sockets.near.get(), POLLOUT));
  set_off(writing);
  expect_quiet();
  ASSERT_EQ(::shutdown(sockets.far.get(), SHUT_WR), 0);
  expect_quiet();
  recorded another(poll_request(sockets.near.get(), POLLOUT));
  set_off(another);
  expect_quiet();
  sockets.empty();
  context().run();
  EXPECT_TRUE(answered(writing, POLLOUT));
  EXPECT_TRUE(answered(another, POLLOUT));
}

TEST_P(readiness, of_what_is_always_ready) {
  const descriptor file = make_file(directory_ / "file");
  const descriptor null = open_file("/dev/null", O_RDWR);
  for (const int fd : {file.get(), null.get()}) {
    EXPECT_EQ(answer_to(poll_request(fd, POLLIN)), POLLIN);
    EXPECT_EQ(answer_to(poll_request(fd, POLLOUT)), POLLOUT);
    EXPECT_EQ(answer_to(poll_request(fd, POLLIN | POLLOUT | POLLPRI)), POLLIN | POLLOUT);
    EXPECT_EQ(answer_to(poll_request(fd, POLLPRI)), -EINVAL);
    EXPECT_EQ(answer_to(poll_request(fd, 0)), -EINVAL);
  }
}

// Invariant 2
TEST_P(readiness, of_nothing_is_refused) {
  const pipe_ends pipe = make_pipe();
  const descriptor name_only = open_file(directory_.path(), O_PATH);
  for (const unsigned events : {0u, readable_events, writable_events}) {
    for (const int fd : {-1, closed_descriptor(), name_only.get()}) {
      EXPECT_EQ(answer_to(poll_request(fd, events)), -EBADF);
    }
    EXPECT_EQ(answer_to(poll_request(pipe.read.get(), events | 0x10000)), -EINVAL);
  }
}

TEST_P(readiness, is_told_to_everyone_who_waits_for_it) {
  const socket_pair sockets;
  sockets.fill_up();
  batch readers;
  batch writers;
  for (int i = 0; i < 5; ++i) {
    add(readers, poll_request(sockets.near.get(), POLLIN));
    add(writers, poll_request(sockets.near.get(), POLLOUT));
  }
  start_all(context(), readers);
  start_all(context(), writers);
  context().flush();
  expect_quiet();
  ASSERT_EQ(::send(sockets.far.get(), "x", 1, 0), 1);
  drive_until(context(), [&] { return context().outstanding() == 5; });
  EXPECT_TRUE(all_answered(readers, POLLIN));
  sockets.empty();
  context().run();
  EXPECT_TRUE(all_answered(writers, POLLOUT));
}

// The number is another file's by then; the poll is about the one that it was given.
TEST_P(readiness, of_a_file_whose_descriptor_is_closed_meanwhile) {
  for (const unsigned events : {readable_events, 0u}) {
    pipe_ends pipe = make_pipe();
    recorded op(poll_request(pipe.read.get(), events));
    set_off(op);
    const int number = pipe.read.get();
    pipe.read.reset();
    const pipe_ends other = make_pipe();
    ASSERT_EQ(other.read.get(), number);
    other.feed(1);
    expect_quiet();
    pipe.write.reset();
    context().run();
    EXPECT_TRUE(answered(op, POLLHUP));
  }
}

// What one completion does may be what the next waits for.
TEST_P(readiness, that_an_operation_behind_it_brings_about) {
  const pipe_ends pipe = make_pipe();
  recorded reading(poll_request(pipe.read.get(), POLLIN));
  const std::array<std::byte, 1> byte{};
  recorded writing(write_request(pipe.write.get(), byte));
  context({.queue_depth = 1}).start(reading);
  context().start(writing);
  context().run();
  EXPECT_TRUE(answered(reading, POLLIN));
  EXPECT_TRUE(answered(writing, 1));
}

/// As many descriptors as may be.
void allow_many_descriptors() {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// Invariants 13 and 16
TEST_P(readiness, of_a_thousand_files_leaves_room_for_reads) {
  allow_many_descriptors();
  const pipe_ends pipe = make_pipe();
  const descriptor file = make_patterned_file(directory_ / "file", 1000);
  const std::size_t threads = count_threads();
  context({.queue_depth = 2, .threads = 2});
  batch polls;
  batch timers;
  for (int i = 0; i < 1000; ++i) add(polls, poll_request(pipe.read.get(), POLLIN));
  for (int i = 0; i < 1000; ++i) add(timers, timeout_in(far_future));
  start_all(context(), polls);
  start_all(context(), timers);
  context().flush();
  std::array<std::byte, 1000> memory{};
  batch reads;
  for (std::size_t i = 0; i < memory.size(); ++i) {
    add(reads, read_request(file.get(), std::span(memory).subspan(i, 1), i));
  }
  start_all(context(), reads);
  drive_until(context(), [&] { return context().outstanding() == 2000; });
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_TRUE(holds_pattern(memory, 0));
  // The pool's own two, and none for those that wait.
  EXPECT_LE(count_threads(), threads + 2 + 2);
  pipe.feed(1);
  drive_until(context(), [&] { return context().outstanding() == 1000; });
  EXPECT_TRUE(all_answered(polls, POLLIN));
  context_.reset();
  EXPECT_TRUE(all_answered(timers, -ECANCELED));
}

// Invariant 16
TEST_P(readiness, and_time_are_told_while_everything_else_is_stuck) {
  if (!can_be_blocked()) GTEST_SKIP() << "sync carries out in submit: it would block for ever";
  const pipe_ends idle = make_pipe();
  const pipe_ends pipe = make_pipe();
  context({.queue_depth = 2, .threads = 2});
  std::array<std::byte, 2> memory{};
  batch stuck;
  for (std::byte& each : memory) add(stuck, read_request(idle.read.get(), {&each, 1}));
  start_all(context(), stuck);
  context().flush();
  recorded timer(timeout_in(milliseconds(2)));
  recorded reading(poll_request(pipe.read.get(), POLLIN));
  context().start(timer);
  context().start(reading);
  drive_until(context(), [&] { return timer.completions == 1; });
  pipe.feed(1);
  drive_until(context(), [&] { return reading.completions == 1; });
  EXPECT_TRUE(answered(timer, 0));
  EXPECT_TRUE(answered(reading, POLLIN));
  idle.feed(2);
  context().run();
  EXPECT_TRUE(all_answered(stuck, 1));
}

// More than one look at the kernel tells of.
TEST_P(readiness, of_many_at_once_is_told_completely) {
  constexpr int count = 500;
  allow_many_descriptors();
  std::vector<pipe_ends> pipes;
  batch polls;
  for (int i = 0; i < count; ++i) {
    add(polls, poll_request(pipes.emplace_back(make_pipe()).read.get(), POLLIN));
  }
  const std::size_t descriptors = count_descriptors();
  for (int round = 0; round < 3; ++round) {
    for (const auto& each : polls) each->completions = 0;
    start_all(context({.queue_depth = 1}), polls);
    context().flush();
    for (const pipe_ends& each : pipes) each.feed(1);
    context().run();
    EXPECT_TRUE(all_answered(polls, POLLIN));
    std::byte byte;
    for (const pipe_ends& each : pipes) ASSERT_EQ(::read(each.read.get(), &byte, 1), 1);
  }
  context_.reset();
  EXPECT_EQ(count_descriptors(), descriptors);
}

TEST_P(readiness, may_be_asked_for_by_any_thread) {
  const pipe_ends pipe = make_pipe();
  io_context& on = context();
  for (int i = 0; i < 200; ++i) {
    recorded reading(poll_request(pipe.read.get(), POLLIN));
    recorded timer(timeout_in(std::chrono::microseconds(i)));
    std::thread starter([&] {
      on.start(reading);
      on.start(timer);
      pipe.feed(1);
    });
    drive_until(on, [&] { return reading.completions + timer.completions == 2; });
    starter.join();
    std::byte byte;
    ASSERT_EQ(::read(pipe.read.get(), &byte, 1), 1);
  }
}

// --- time ----------------------------------------------------------------------------------------

TEST_P(readiness, a_timeout_completes_when_its_time_has_come) {
  for (const int ms : {0, 1, 5, 20}) {
    const auto until = steady_clock::now() + milliseconds(ms);
    EXPECT_EQ(answer_to(timeout_request(until)), 0);
    EXPECT_GE(steady_clock::now(), until);
  }
}

TEST_P(readiness, a_time_that_has_passed_completes_at_once) {
  EXPECT_EQ(answer_to({.op = opcode::timeout, .offset = 0}), 0);
  EXPECT_EQ(answer_to({.op = opcode::timeout, .offset = 1}), 0);
  EXPECT_EQ(answer_to(timeout_in(-milliseconds(1))), 0);
  recorded op({.op = opcode::timeout, .offset = 0});
  set_off(op);
  EXPECT_EQ(context().dispatch(false), 1);
}

TEST_P(readiness, a_time_that_no_clock_shows_is_refused) {
  EXPECT_EQ(answer_to({.op = opcode::timeout, .offset = std::uint64_t{INT64_MAX} + 1}), -EINVAL);
  EXPECT_EQ(answer_to({.op = opcode::timeout, .offset = UINT64_MAX}), -EINVAL);
}

TEST_P(readiness, timeouts_complete_in_the_order_of_their_times) {
  const auto start = steady_clock::now() + milliseconds(5);
  std::mt19937 random(7);
  std::vector<int> order(200);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::ranges::shuffle(order, random);
  std::vector<int> completed;
  batch timers;
  for (const int each : order) {
    add(timers, timeout_request(start + std::chrono::microseconds(each * 50))).then =
        [&completed, each](recorded&) { completed.push_back(each); };
  }
  start_all(context(), timers);
  context().run();
  EXPECT_TRUE(all_answered(timers, 0));
  EXPECT_TRUE(std::ranges::is_sorted(completed));
}

// A program's tick.
TEST_P(readiness, a_timeout_may_be_started_again_from_its_completion) {
  int left = 50;
  recorded tick(timeout_in(milliseconds(0)), [&](recorded& self) {
    if (--left == 0) return;
    self.args = timeout_in(std::chrono::microseconds(100));
    context().start(self);
  });
  const auto began = steady_clock::now();
  context().start(tick);
  context().run();
  EXPECT_EQ(left, 0);
  EXPECT_GE(steady_clock::now() - began, std::chrono::microseconds(4'900));
}

TEST_P(readiness, a_hundred_thousand_timeouts_come_and_go) {
  constexpr std::size_t count = 100'000;
  std::mt19937 random(11);
  const auto start = steady_clock::now();
  batch timers;
  for (std::size_t i = 0; i < count; ++i) {
    const bool soon = i % 2 == 0;
    const std::chrono::microseconds within(random() % 20'000);
    add(timers, timeout_request(start + (soon ? within : far_future + within)));
  }
  start_all(context(), timers);
  drive_until(context(), [&] { return context().outstanding() == count / 2; });
  batch cancels;
  for (std::size_t i = 1; i < count; i += 2) add(cancels, cancel_request(*timers[i]));
  std::ranges::shuffle(cancels, random);
  start_all(context(), cancels);
  context().run();
  EXPECT_TRUE(all_answered(cancels, 0));
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_TRUE(answered(*timers[i], i % 2 == 0 ? 0 : -ECANCELED));
  }
}

// The clock of this thread, which does not run while it sleeps.
std::chrono::nanoseconds time_at_work() {
  timespec spent{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
}

// Invariant 13: nothing spins.
TEST_P(readiness, waiting_takes_no_processor_and_no_thread) {
  const pipe_ends pipe = make_pipe();
  context({.threads = 1});
  EXPECT_EQ(answer_to({}), 0);
  const std::size_t threads = count_threads();
  batch polls;
  for (int i = 0; i < 100; ++i) {
    add(polls, poll_request(pipe.read.get(), i % 2 == 0 ? POLLIN : POLLPRI));
  }
  start_all(context(), polls);
  std::size_t while_waiting = 0;
  recorded first(timeout_in(milliseconds(50)), [&](recorded&) { while_waiting = count_threads(); });
  context().start(first);
  drive_until(context(), [&] { return first.completions == 1; });
  EXPECT_LE(while_waiting, threads);
  recorded second(timeout_in(milliseconds(300)));
  context().start(second);
  const auto before = time_at_work();
  drive_until(context(), [&] { return second.completions == 1; });
  EXPECT_LT(time_at_work() - before, milliseconds(50));
  context_.reset();
  EXPECT_TRUE(all_answered(polls, -ECANCELED));
}

// --- cancelling ----------------------------------------------------------------------------------

TEST_P(readiness, is_no_longer_waited_for_once_cancelled) {
  const socket_pair sockets;
  sockets.fill_up();
  const request waits[] = {poll_request(sockets.near.get(), POLLIN),
                           poll_request(sockets.near.get(), POLLOUT),
                           timeout_in(far_future),
                           {.op = opcode::timeout, .offset = INT64_MAX}};
  for (const request& what : waits) {
    for (const bool in_flight : {false, true}) {
      recorded target(what);
      recorded cancel(cancel_request(target));
      context().start(target);
      if (in_flight) context().flush();
      context().start(cancel);
      context().run();
      EXPECT_TRUE(answered(cancel, 0));
      EXPECT_TRUE(answered(target, -ECANCELED));
      EXPECT_EQ(answer_to(cancel_request(target)), -ENOENT);
    }
  }
}

TEST_P(readiness, cancelling_one_wait_leaves_the_others) {
  for (const unsigned events : {readable_events, writable_events}) {
    const socket_pair sockets;
    sockets.fill_up();
    recorded first(poll_request(sockets.near.get(), events));
    recorded second(poll_request(sockets.near.get(), events));
    recorded cancel(cancel_request(first));
    context().start(first);
    context().start(second);
    context().flush();
    context().start(cancel);
    drive_until(context(), [&] { return context().outstanding() == 1; });
    EXPECT_TRUE(answered(cancel, 0));
    EXPECT_TRUE(answered(first, -ECANCELED));
    expect_quiet();
    ASSERT_EQ(::send(sockets.far.get(), "x", 1, 0), 1);
    sockets.empty();
    context().run();
    EXPECT_EQ(second.completions, 1);
    EXPECT_EQ(static_cast<unsigned>(second.answer()), events);
  }
}

// Invariant 4. What a cancel says and what becomes of its target must be the same story.
TEST_P(readiness, a_cancel_that_races_with_it_tells_one_story) {
  const pipe_ends pipe = make_pipe();
  for (int i = 0; i < 500; ++i) {
    const bool timed = i % 2 == 0;
    recorded target(timed ? timeout_in(std::chrono::microseconds(i / 10))
                          : poll_request(pipe.read.get(), POLLIN));
    recorded cancel(cancel_request(target));
    set_off(target);
    if (!timed) pipe.feed(1);
    context().start(cancel);
    context().run();
    ASSERT_EQ(target.completions, 1);
    ASSERT_EQ(cancel.completions, 1);
    if (cancel.answer() == 0) {
      ASSERT_EQ(target.answer(), -ECANCELED);
    } else {
      ASSERT_TRUE(cancel.answer() == -EALREADY || cancel.answer() == -ENOENT) << cancel.answer();
      ASSERT_EQ(target.answer(), timed ? 0 : POLLIN);
    }
    std::byte byte;
    ASSERT_EQ(timed ? 1 : ::read(pipe.read.get(), &byte, 1), 1);
  }
}

// Invariants 1 and 29
TEST_P(readiness, is_cancelled_where_the_context_ends) {
  const socket_pair sockets;
  sockets.fill_up();
  const std::size_t descriptors = count_descriptors();
  batch waits;
  for (int i = 0; i < 50; ++i) {
    add(waits, poll_request(sockets.near.get(), POLLIN));
    add(waits, poll_request(sockets.near.get(), POLLOUT));
    add(waits, timeout_in(far_future));
  }
  start_all(context({.queue_depth = 4}), waits);
  context().flush();
  // One that a completion of the end starts.
  recorded late(timeout_in(far_future));
  io_context* const ending = context_.get();
  waits[0]->then = [&late, ending](recorded&) { ending->start(late); };
  context_.reset();
  EXPECT_TRUE(all_answered(waits, -ECANCELED));
  EXPECT_TRUE(answered(late, -ECANCELED));
  EXPECT_EQ(count_descriptors(), descriptors);
}

// Invariant 29. driver.hpp: then their completions are lost, and nothing else.
TEST_P(readiness, a_driver_that_ends_forgets_those_who_wait) {
  const pipe_ends pipe = make_pipe();
  const std::size_t descriptors = count_descriptors();
  operation reading(poll_request(pipe.read.get(), POLLIN), nullptr);
  operation writing(poll_request(pipe.read.get(), POLLPRI), nullptr);
  operation timer(timeout_in(far_future), nullptr);
  {
    const auto driver = open_driver_named(GetParam());
    operation_queue waits;
    for (operation* each : {&reading, &writing, &timer}) waits.push_back(*each);
    driver->submit(waits);
    EXPECT_TRUE(waits.empty());
    operation_queue completed;
    driver->reap(completed, deadline::now());
    EXPECT_TRUE(completed.empty());
  }
  EXPECT_EQ(count_descriptors(), descriptors);
}

// Invariant 31. The child's end of the epoll instance is the parent's, too.
TEST_P(readiness, a_forked_child_leaves_its_parents_waits_alone) {
  const socket_pair sockets;
  sockets.fill_up();
  recorded reading(poll_request(sockets.near.get(), POLLIN));
  recorded writing(poll_request(sockets.near.get(), POLLOUT));
  recorded timer(timeout_in(milliseconds(20)));
  for (recorded* each : {&reading, &writing, &timer}) set_off(*each);
  const child_outcome outcome = run_in_child([&] { context_.reset(); });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
  drive_until(context(), [&] { return timer.completions == 1; });
  EXPECT_EQ(context().outstanding(), 2);
  ASSERT_EQ(::send(sockets.far.get(), "x", 1, 0), 1);
  sockets.empty();
  context().run();
  EXPECT_TRUE(answered(reading, POLLIN));
  EXPECT_TRUE(answered(writing, POLLOUT));
}

// --- fd() ----------------------------------------------------------------------------------------

TEST_P(readiness, shows_at_fd) {
  const socket_pair sockets;
  for (int i = 0; i < 50; ++i) {
    sockets.fill_up();
    recorded reading(poll_request(sockets.near.get(), POLLIN));
    recorded writing(poll_request(sockets.near.get(), POLLOUT));
    set_off(reading);
    set_off(writing);
    settle();
    ASSERT_EQ(reading.completions + writing.completions, 0);
    ASSERT_EQ(::send(sockets.far.get(), "x", 1, 0), 1);
    ASSERT_TRUE(poll_until(context(), [&] { return reading.completions == 1; }));
    settle();
    sockets.empty();
    ASSERT_TRUE(poll_until(context(), [&] { return writing.completions == 1; }));
    settle();
    std::byte byte;
    ASSERT_EQ(::read(sockets.near.get(), &byte, 1), 1);
  }
}

TEST_P(readiness, wakes_a_thread_that_sleeps_at_fd) {
  const pipe_ends pipe = make_pipe();
  const int polling = this_thread();
  io_context& on = context();
  for (int i = 0; i < 20; ++i) {
    recorded reading(poll_request(pipe.read.get(), POLLIN));
    set_off(reading);
    settle();
    std::thread feeder([&] {
      EXPECT_TRUE(eventually([&] { return is_asleep(polling); }));
      pipe.feed(1);
    });
    const bool shown = poll_until(on, [&] { return reading.completions == 1; });
    feeder.join();
    on.run();
    ASSERT_TRUE(shown) << "poll(2) slept on";
    std::byte byte;
    ASSERT_EQ(::read(pipe.read.get(), &byte, 1), 1);
  }
}

TEST_P(readiness, a_timeout_shows_at_fd) {
  context().flush();
  settle();
  for (int i = 0; i < 20; ++i) {
    recorded timer(timeout_in(milliseconds(i % 4)));
    set_off(timer);
    ASSERT_TRUE(poll_until(context(), [&] { return timer.completions == 1; }));
    ASSERT_TRUE(answered(timer, 0));
    settle();
  }
}

TEST_P(readiness, a_timeout_shows_at_an_fd_that_is_asked_for_later) {
  recorded timer(timeout_in(milliseconds(10)));
  set_off(timer);
  EXPECT_TRUE(poll_until(context(), [&] { return timer.completions == 1; }));
  EXPECT_TRUE(answered(timer, 0));
}

// However the time between two looks at the kernel and the time between two timeouts fall together.
TEST_P(readiness, timeouts_in_close_succession_show_at_fd) {
  context().flush();
  settle();
  const auto start = steady_clock::now();
  batch timers;
  for (int i = 0; i < 5'000; ++i) {
    add(timers, timeout_request(start + std::chrono::microseconds(i * 15)));
  }
  start_all(context(), timers);
  context().flush();
  EXPECT_TRUE(poll_until(context(), [&] { return context().outstanding() == 0; }));
  context().run();
  EXPECT_TRUE(all_answered(timers, 0));
}

// What has finished by then did so without being told to show.
TEST_P(readiness, shows_at_an_fd_that_is_asked_for_later) {
  const pipe_ends pipe = make_pipe();
  recorded polling(poll_request(pipe.read.get(), POLLIN));
  set_off(polling);
  pipe.feed(1);
  EXPECT_TRUE(poll_until(context(), [&] { return polling.completions == 1; }));
  context().run();
  EXPECT_TRUE(answered(polling, POLLIN));
}

// Each is earlier than what the clock is set to; then each is later.
TEST_P(readiness, timeouts_show_at_fd_one_after_the_other) {
  context().flush();
  settle();
  recorded never(timeout_in(far_future));
  set_off(never);
  const auto start = steady_clock::now();
  batch timers;
  for (int i = 20; i > 0; --i) {
    add(timers, timeout_request(start + milliseconds(i)));
    set_off(*timers.back());
  }
  EXPECT_TRUE(poll_until(context(), [&] { return context().outstanding() == 1; }));
  EXPECT_TRUE(all_answered(timers, 0));
  settle();
  recorded cancel(cancel_request(never));
  set_off(cancel);
  EXPECT_TRUE(poll_until(context(), [&] { return context().outstanding() == 0; }));
  EXPECT_TRUE(answered(never, -ECANCELED));
}

// What was set for it may still go off, once; nothing spins.
TEST_P(readiness, a_cancelled_timeout_stops_showing_at_fd) {
  context().flush();
  settle();
  recorded soon(timeout_in(milliseconds(5)));
  recorded later(timeout_in(milliseconds(50)));
  set_off(soon);
  set_off(later);
  recorded cancel(cancel_request(soon));
  set_off(cancel);
  int turns = 0;
  EXPECT_TRUE(poll_until(context(), [&] {
    ++turns;
    return later.completions == 1;
  }));
  EXPECT_TRUE(answered(soon, -ECANCELED));
  EXPECT_LT(turns, 10);
  settle();
}

// The kernel's two clocks, of a sleeping loop and of fd(), do not disturb each other.
TEST_P(readiness, timeouts_end_waits_also_after_fd_was_asked_for) {
  settle();
  for (int i = 0; i < 20; ++i) {
    const auto until = steady_clock::now() + milliseconds(2);
    EXPECT_EQ(answer_to(timeout_request(until)), 0);
    EXPECT_GE(steady_clock::now(), until);
  }
}

}  // namespace
}  // namespace weir::testing
