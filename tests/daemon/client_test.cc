// The client in C++, beside a daemon in a process of its own.

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/support.hpp"
#include "weir/daemon.hpp"
#include "weir/weir.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t large = (1 << 20) + 5;

std::error_code code(int error) { return {error, std::system_category()}; }

class daemon_client_test : public ::testing::Test {
 protected:
  daemon_client_test() : daemon_({"--allow-write"}), context_(open_driver().value()) {
    make_patterned_file(daemon_.root() / "large", large);
    make_patterned_file(daemon_.root() / "small", 10);
  }

  daemon_client connected() {
    auto client = context_.run(daemon_client::connect(context_, daemon_.socket_path()));
    if (!client) throw std::system_error(client.error());
    return std::move(*client);
  }

  daemon_process daemon_;
  io_context context_;
};

TEST_F(daemon_client_test, connecting_to_nobody_says_so) {
  const auto client = context_.run(daemon_client::connect(context_, daemon_.root() / "nobody"));
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error(), code(ENOENT));
}

TEST_F(daemon_client_test, a_file_is_read_into_memory) {
  auto client = connected();
  std::vector<std::byte> memory(large);
  std::uint64_t told = 0;
  daemon_file_info about;
  const auto moved =
      context_.run(client.read("large", memory,
                               {.started = [&](const daemon_file_info& info) { about = info; },
                                .progress = [&](std::uint64_t bytes) { told += bytes; }}));
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(*moved, large);
  EXPECT_EQ(told, large);
  EXPECT_EQ(about.size, large);
  EXPECT_NE(about.id, 0U);
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_F(daemon_client_test, a_read_ends_where_the_file_does) {
  auto client = connected();
  std::vector<std::byte> memory(100);
  const auto moved = context_.run(client.read("small", memory, {.offset = 3}));
  ASSERT_TRUE(moved) << moved.error().message();
  ASSERT_EQ(*moved, 7U);
  EXPECT_TRUE(holds_pattern(std::span(memory).first(7), 3));
  EXPECT_EQ(context_.run(client.read("small", memory, {.offset = 10})).value(), 0U);
  EXPECT_EQ(context_.run(client.read("small", memory, {.offset = 11})).error(), code(ERANGE));
}

TEST_F(daemon_client_test, refusals_are_errors) {
  auto client = connected();
  std::array<std::byte, 10> memory{};
  EXPECT_EQ(context_.run(client.read("missing", memory)).error(), code(ENOENT));
  EXPECT_EQ(context_.run(client.read("", memory)).error(), code(EBADMSG));
  EXPECT_EQ(context_.run(client.read(std::string(5000, 'x'), memory)).error(), code(ENAMETOOLONG));
  EXPECT_EQ(context_.run(client.send("small", -1)).error(), code(EBADF));
  EXPECT_EQ(context_.run(client.stat("missing")).error(), code(ENOENT));
  EXPECT_EQ(context_.run(client.cancel(1)).error(), code(ENOENT));
}

TEST_F(daemon_client_test, a_file_is_sent) {
  auto client = connected();
  const descriptor out = make_file(daemon_.root() / "copy");
  std::uint64_t told = 0;
  const auto moved = context_.run(
      client.send("large", out.get(), {.progress = [&](std::uint64_t bytes) { told += bytes; }}));
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(*moved, large);
  EXPECT_EQ(told, large);
  EXPECT_EQ(contents_of(daemon_.root() / "copy"), contents_of(daemon_.root() / "large"));
}

TEST_F(daemon_client_test, a_file_is_received) {
  auto client = connected();
  pipe_ends pipe = make_pipe();
  pipe.feed(1000);
  pipe.write.reset();
  const auto moved = context_.run(
      client.receive("new", pipe.read.get(), {.create = true, .durable = true, .mode = 0640}));
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(*moved, 1000U);
  const auto about = context_.run(client.stat("new"));
  ASSERT_TRUE(about);
  EXPECT_EQ(about->size, 1000U);
  EXPECT_TRUE(context_.run(client.sync("new")));
  EXPECT_TRUE(context_.run(client.sync("new", true)));
}

TEST_F(daemon_client_test, times_are_in_nanoseconds) {
  auto client = connected();
  const auto told = context_.run(client.stat("small"));
  ASSERT_TRUE(told);
  struct stat about{};
  ASSERT_EQ(::stat((daemon_.root() / "small").c_str(), &about), 0);
  EXPECT_EQ(told->modified_ns, about.st_mtim.tv_sec * 1'000'000'000 + about.st_mtim.tv_nsec);
}

// A receiver that never reads holds the transfer; what waits for it hears of the cancel.
TEST_F(daemon_client_test, a_transfer_is_cancelled) {
  auto client = connected();
  const socket_pair sockets = make_sockets();
  std::uint64_t id = 0;
  const auto begun = [&](const daemon_file_info& info) { id = info.id; };
  const auto cancelled = [&]() -> task<result<void>> {
    while (id == 0) {
      [[maybe_unused]] const auto next = co_await context_.schedule();
    }
    co_return co_await client.cancel(id);
  };
  const std::string name = "huge";
  const descriptor huge = make_file(daemon_.root() / name, 64 << 20);
  const auto both = [&]() -> task<std::pair<transfer_result, result<void>>> {
    auto [moved, answer] =
        co_await when_all(client.send(name, sockets.theirs.get(), {.started = begun}), cancelled());
    co_return std::pair(moved, answer);
  };
  const auto [moved, answer] = context_.run(both());
  EXPECT_TRUE(answer) << answer.error().message();
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error(), code(ECANCELED));
  EXPECT_LT(moved.transferred, std::size_t{64} << 20);
}

TEST_F(daemon_client_test, many_requests_go_on_at_a_time) {
  auto client = connected();
  constexpr std::size_t count = 200;
  std::vector<std::array<std::byte, 10>> memory(count);
  std::vector<task<transfer_result>> reads;
  reads.reserve(count);
  for (auto& each : memory) reads.push_back(client.read("small", each));
  const auto all = [&]() -> task<std::vector<transfer_result>> {
    co_return co_await when_all(std::move(reads));
  };
  for (const transfer_result& moved : context_.run(all())) {
    ASSERT_TRUE(moved) << moved.error().message();
    EXPECT_EQ(*moved, 10U);
  }
  for (const auto& each : memory) EXPECT_TRUE(holds_pattern(each, 0));
}

TEST_F(daemon_client_test, a_dead_daemon_is_lost) {
  const std::string place = daemon_.root() / "another";
  test::running_command doomed({"serve", "--root", daemon_.root().path(), "--socket", place});
  std::optional<daemon_client> client;
  ASSERT_TRUE(comes_true([&] {
    auto connection = context_.run(daemon_client::connect(context_, place));
    if (connection) client.emplace(std::move(*connection));
    return client.has_value();
  }));
  const socket_pair sockets = make_sockets();
  const descriptor huge = make_file(daemon_.root() / "huge", 64 << 20);
  const auto kill = [&](const daemon_file_info&) { doomed.kill(SIGKILL); };
  const auto moved = context_.run(client->send("huge", sockets.theirs.get(), {.started = kill}));
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error(), make_error_code(errc::daemon_lost));
  EXPECT_EQ(doomed.wait().signal, SIGKILL);
}

}  // namespace
}  // namespace weir::testing
