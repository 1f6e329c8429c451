// Transfers that have to wait, for a receiver or a sender: nobody else is held up, they hold no
// memory, and they end when they are told to, or the other side has gone, with the right count.

#include <signal.h>
#include <sys/ioctl.h>

#include <chrono>
#include <functional>
#include <stop_token>
#include <string_view>

#include "transfer/pieces.hpp"
#include "transfer/transfer_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t large = std::size_t{2} << 20;

/// How a receiver is slow. Each has room for less than a file of `large` bytes.
constexpr std::string_view slow_kinds[] = {
    "tcp",  "tcp that does not block",  "unix", "unix that does not block",
    "pipe", "pipe that does not block", "fifo"};

class slow_receiver : public transfer_test {
 protected:
  channel make(std::string_view kind) {
    channel made;
    if (kind.starts_with("tcp")) made = small_tcp();
    if (kind.starts_with("unix")) made = unix_channel();
    if (kind.starts_with("pipe")) made = pipe_channel();
    if (kind == "fifo") made = fifo_channel(directory_ / ("fifo" + std::to_string(++fifos_)));
    if (kind.ends_with("not block")) set_nonblocking(made.near);
    return made;
  }

  /// A transfer that runs by itself.
  struct started {
    transfer_outcome outcome;
    bool ended = false;
  };
  static task<void> note(task<transfer_outcome> work, started& here) {
    here.outcome = co_await std::move(work);
    here.ended = true;
  }
  void start_sending(file& from, const channel& way, started& here, transfer_options options = {}) {
    spawn(*context_, note(send_file(from, way.near.get(), 0, large, std::move(options)), here));
  }

  /// Until the receiver takes nothing any more. The kernel may make room for more a moment later.
  void drive_until_full(const channel& way) {
    while (is_writable(way.near)) context_->dispatch(false);
    for (int turn = 0; turn < 10; ++turn) context_->dispatch(false);
  }

  /// Until nobody has any of what bytes pass through. Where somebody keeps it, this waits for ever,
  /// and the test program's time limit speaks.
  void drive_until_memory_is_free() {
    const auto free_pieces = [] {
      std::vector<detail::piece> taken;
      while (auto one = detail::piece_store::of_this_thread()->try_take()) {
        taken.push_back(*std::move(one));
      }
      return taken.size();
    };
    while (free_pieces() != detail::piece_store::most) context_->dispatch(false);
  }

  static std::size_t arrived(const channel& way) {
    int count = 0;
    return ::ioctl(way.far.get(), FIONREAD, &count) == 0 ? static_cast<std::size_t>(count) : 0;
  }

  /// What has been sent to a receiver, once nothing more comes.
  static std::vector<std::byte> rest_of(channel way) {
    way.near.reset();
    return read_all(way.far);
  }

 private:
  // Its buffers would take the file otherwise.
  static channel small_tcp() {
    channel made = tcp_channel();
    const int size = 64 << 10;
    ::setsockopt(made.near.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    ::setsockopt(made.far.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return made;
  }

  int fifos_ = 0;
};

INSTANTIATE_TEST_SUITE_P(drivers, slow_receiver, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

TEST_P(slow_receiver, holds_up_nobody) {
  file from = patterned(large);
  for (const std::string_view kind : slow_kinds) {
    for (const bool untrusted : {false, true}) {
      channel way = make(kind);
      const int flags = ::fcntl(way.near.get(), F_GETFL);
      started waits;
      start_sending(from, way, waits, {.untrusted = untrusted});
      context_->run([](io_context& context) -> task<void> {
        EXPECT_TRUE((co_await context.schedule()).has_value());
      }(*context_));
      drive_until_full(way);
      EXPECT_FALSE(waits.ended) << kind;
      channel other = unix_channel();
      EXPECT_TRUE(succeeded(send(from, other.near, 100, 50'000), 50'000));
      EXPECT_TRUE(holds_pattern(rest_of(std::move(other)), 100));
      collector arrives(std::move(way.far));
      drive_until(*context_, [&] { return waits.ended; });
      EXPECT_EQ(::fcntl(way.near.get(), F_GETFL), flags);
      way.near.reset();
      EXPECT_TRUE(succeeded(waits.outcome, large)) << kind;
      EXPECT_EQ(arrives.all().size(), large);
      EXPECT_TRUE(holds_pattern(arrives.all(), 0));
    }
  }
}

// However many wait, all memory that bytes pass through is free.
TEST_P(slow_receiver, is_waited_for_without_memory) {
  constexpr std::size_t many = 40;
  file from = patterned(large);
  std::vector<channel> ways;
  std::vector<started> waiting(many);
  std::stop_source stop;
  for (started& each : waiting) {
    ways.push_back(make("unix"));
    start_sending(from, ways.back(), each, {.stop = stop.get_token()});
  }
  for (const channel& each : ways) drive_until_full(each);
  drive_until_memory_is_free();
  stop.request_stop();
  drive_until(*context_, [&] {
    return std::ranges::all_of(waiting, [](const started& each) { return each.ended; });
  });
  for (std::size_t i = 0; i < many; ++i) {
    EXPECT_TRUE(failed_with(waiting[i].outcome, std::errc::operation_canceled));
    const auto bytes = rest_of(std::move(ways[i]));
    EXPECT_EQ(waiting[i].outcome.transferred, bytes.size());
    EXPECT_TRUE(holds_pattern(bytes, 0));
  }
}

TEST_P(slow_receiver, is_waited_for_until_somebody_says_stop) {
  file from = patterned(large);
  for (const std::string_view kind : slow_kinds) {
    channel way = make(kind);
    std::stop_source stop;
    started waits;
    start_sending(from, way, waits, {.stop = stop.get_token()});
    drive_until_full(way);
    std::thread([&] { stop.request_stop(); }).join();
    drive_until(*context_, [&] { return waits.ended; });
    EXPECT_TRUE(failed_with(waits.outcome, std::errc::operation_canceled)) << kind;
    const auto bytes = rest_of(std::move(way));
    EXPECT_EQ(waits.outcome.transferred, bytes.size()) << kind;
    EXPECT_TRUE(holds_pattern(bytes, 0));
  }
}

TEST_P(slow_receiver, is_waited_for_until_the_deadline) {
  file from = patterned(large);
  for (const std::string_view kind : slow_kinds) {
    channel way = make(kind);
    const transfer_outcome outcome =
        send(from, way.near, 0, large, {.deadline = std::chrono::milliseconds(20)});
    EXPECT_TRUE(failed_with(outcome, std::errc::timed_out)) << kind;
    const auto bytes = rest_of(std::move(way));
    EXPECT_EQ(outcome.transferred, bytes.size()) << kind;
    EXPECT_TRUE(holds_pattern(bytes, 0));
  }
}

TEST_P(slow_receiver, ends_a_transfer_by_going_away) {
  file from = patterned(large);
  for (const std::string_view kind : slow_kinds) {
    channel way = make(kind);
    started waits;
    start_sending(from, way, waits);
    drive_until_full(way);
    const std::size_t before = kind.starts_with("tcp") ? 0 : arrived(way);
    way.far.reset();
    drive_until(*context_, [&] { return waits.ended; });
    const std::error_code error = waits.outcome.error;
    EXPECT_TRUE(error == std::errc::broken_pipe || error == std::errc::connection_reset)
        << kind << ": " << error.message();
    EXPECT_GE(waits.outcome.transferred, before);
    EXPECT_LT(waits.outcome.transferred, large);
  }
}

// With the signal's default action, which ends the process.
TEST_P(slow_receiver, that_has_gone_raises_no_signal) {
  const std::string_view driver = GetParam();
  context_.reset();  // with its threads, which a fork would not have
  const auto in_child = run_in_child([&] {
    ::signal(SIGPIPE, SIG_DFL);
    context_ = open_context(driver);
    file from = patterned(large);
    for (const std::string_view kind : slow_kinds) {
      channel way = make(kind);
      way.far.reset();
      const transfer_outcome outcome = send(from, way.near);
      EXPECT_TRUE(outcome.error == std::errc::broken_pipe ||
                  outcome.error == std::errc::connection_reset)
          << kind << ": " << outcome.error.message();
      sigset_t pending;
      EXPECT_EQ(::sigpending(&pending), 0);
      EXPECT_EQ(::sigismember(&pending, SIGPIPE), 0) << kind;
    }
  });
  EXPECT_TRUE(in_child.succeeded()) << in_child;
}

// One that was pending before belongs to somebody else.
TEST_P(slow_receiver, that_has_gone_takes_no_signal_away) {
  const std::string_view driver = GetParam();
  context_.reset();  // with its threads, which a fork would not have
  const auto in_child = run_in_child([&] {
    sigset_t mask;
    ::sigemptyset(&mask);
    ::sigaddset(&mask, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    ::raise(SIGPIPE);
    context_ = open_context(driver);
    file from = patterned(large);
    channel way = make("pipe");
    way.far.reset();
    EXPECT_TRUE(failed_with(send(from, way.near), std::errc::broken_pipe));
    sigset_t pending;
    EXPECT_EQ(::sigpending(&pending), 0);
    EXPECT_EQ(::sigismember(&pending, SIGPIPE), 1);
  });
  EXPECT_TRUE(in_child.succeeded()) << in_child;
}

TEST_P(slow_receiver, of_a_context_that_shuts_down) {
  file from = patterned(large);
  channel way = make("unix");
  started waits;
  start_sending(from, way, waits);
  drive_until_full(way);
  context_->cancel_and_drain();
  EXPECT_TRUE(waits.ended);
  EXPECT_TRUE(failed_with(waits.outcome, std::errc::operation_canceled));
}

// --- receiving -----------------------------------------------------------------------------------

class slow_sender : public slow_receiver {};

INSTANTIATE_TEST_SUITE_P(drivers, slow_sender, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

TEST_P(slow_sender, is_waited_for_without_memory_until_somebody_says_stop) {
  for (const char* const kind : {"tcp", "unix", "pipe", "fifo"}) {
    for (const auto route : {transfer_route::automatic, transfer_route::buffered}) {
      channel way = make(kind);
      if (kind == std::string_view("pipe") || kind == std::string_view("fifo")) {
        std::swap(way.near, way.far);
      }
      file to = empty_target();
      std::stop_source stop;
      started waits;
      std::uint64_t seen = 0;
      transfer_options options{.progress = [&](std::uint64_t moved) { seen = moved; },
                               .stop = stop.get_token(),
                               .route = route};
      spawn(*context_,
            note(receive_file(way.near.get(), to, 0, to_the_end, std::move(options)), waits));
      std::vector<std::byte> bytes(1000);
      fill(bytes, 0);
      ASSERT_EQ(::write(way.far.get(), bytes.data(), bytes.size()), 1000);
      drive_until(*context_, [&] { return seen == 1000; });
      drive_until_memory_is_free();
      EXPECT_FALSE(waits.ended);
      stop.request_stop();
      drive_until(*context_, [&] { return waits.ended; });
      EXPECT_TRUE(failed_with(waits.outcome, std::errc::operation_canceled));
      EXPECT_EQ(waits.outcome.transferred, 1000);
      EXPECT_TRUE(holds_pattern(contents_of(target()), 0));
    }
  }
}

TEST_P(slow_sender, is_waited_for_until_the_deadline) {
  for (const char* const kind : {"tcp", "unix", "pipe"}) {
    channel way = make(kind);
    if (kind == std::string_view("pipe")) std::swap(way.near, way.far);
    file to = empty_target();
    const transfer_outcome outcome = context_->run(receive_file(
        way.near.get(), to, 0, to_the_end, {.deadline = std::chrono::milliseconds(20)}));
    EXPECT_TRUE(failed_with(outcome, std::errc::timed_out)) << kind;
    EXPECT_EQ(outcome.transferred, 0);
  }
}

}  // namespace
}  // namespace weir::testing
