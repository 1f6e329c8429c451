// How a daemon begins and ends, and what it has outlived.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <random>
#include <string>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t small = 10;
constexpr std::size_t large = std::size_t{4} << 20;

class daemon_as_a_process : public ::testing::Test {
 protected:
  daemon_as_a_process() {
    make_patterned_file(daemon.root() / "small", small);
    make_patterned_file(daemon.root() / "large", large);
  }

  test::outcome run_another() const {
    return test::run({"serve", "--root", daemon.root().path(), "--socket", daemon.socket_path()});
  }

  daemon_process daemon;
};

bool serves(const raw_client& client) {
  const descriptor channel = client.read("small");
  return next_answer(channel.get()).has_value() && bytes_to_end(channel.get()).size() == small;
}

// --- its end -------------------------------------------------------------------------------------

// S-T20, S24
TEST_F(daemon_as_a_process, sigterm_and_sigint_end_an_idle_daemon_with_status_0) {
  for (const int number : {SIGTERM, SIGINT}) {
    daemon.signal(number);
    const test::outcome end = daemon.wait();
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_EQ(end.err, "");
    EXPECT_NE(::access(daemon.socket_path().c_str(), F_OK), 0) << "its socket is still there";
    daemon.restart();
  }
}

TEST_F(daemon_as_a_process, sigterm_lets_what_has_begun_finish) {
  const raw_client client = daemon.connect();
  socket_pair data = make_sockets();
  const descriptor status = client.send_to("large", data.theirs.get());
  data.theirs.reset();
  const descriptor read = client.read("large");
  const descriptor opened = client.open("small");
  const auto info = next_answer(opened.get());
  ASSERT_TRUE(next_answer(status.get()) && next_answer(read.get()) && info);

  daemon.signal(SIGTERM);
  // New ones are refused, from some moment on; then there is nobody to connect to, either.
  ASSERT_TRUE(comes_true([&] {
    const descriptor late = client.read("small");
    const auto said = next_answer(late.get());
    return said && said->kind == message::ended && said->status == -ESHUTDOWN;
  }));
  EXPECT_ANY_THROW(daemon.connect());

  const descriptor null = open_file("/dev/null", O_WRONLY);
  client.send_open(info->id, null.get());
  EXPECT_TRUE(ended_with(answers_to_end(opened.get()), {.total = small}));
  EXPECT_TRUE(holds_pattern(bytes_to_end(data.ours.get()), 0));
  EXPECT_TRUE(ended_with(answers_to_end(status.get()), {.total = large}));
  EXPECT_EQ(bytes_to_end(read.get()).size(), large);
  EXPECT_EQ(daemon.wait().exit_code, 0);
  daemon.restart();
}

TEST_F(daemon_as_a_process, a_second_signal_ends_what_has_begun) {
  const raw_client client = daemon.connect();
  const socket_pair data = make_sockets();
  const descriptor status = client.send_to("large", data.theirs.get());
  ASSERT_TRUE(next_answer(status.get()));
  daemon.signal(SIGTERM);
  ASSERT_TRUE(comes_true([&] {
    const descriptor late = client.read("small");
    const auto said = next_answer(late.get());
    return said && said->status == -ESHUTDOWN;
  }));
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait().exit_code, 0);
  const auto said = answers_to_end(status.get());
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said.back().status, -ECANCELED);
  daemon.restart();
}

TEST_F(daemon_as_a_process, sighup_changes_nothing) {
  const raw_client client = daemon.connect();
  daemon.signal(SIGHUP);
  EXPECT_TRUE(serves(client));
  daemon.signal(SIGPIPE);
  EXPECT_TRUE(serves(client));
}

TEST_F(daemon_as_a_process, its_metrics_file_is_whole_and_is_written_at_the_end) {
  const temp_directory place;
  const std::string path = place / "weir.prom";
  {
    const daemon_process counting({"--metrics", path});
    make_patterned_file(counting.root() / "small", small);
    ASSERT_TRUE(serves(counting.connect()));
  }
  const auto bytes = contents_of(path);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_NE(text.find("weir_requests_total{request=\"read\",outcome=\"completed\"} 1\n"),
            std::string::npos)
      << text;
  EXPECT_TRUE(text.ends_with('\n'));
}

// --- its place -----------------------------------------------------------------------------------

// S-D12: said to be a failure, when there was no syslog.
TEST_F(daemon_as_a_process, a_second_one_in_the_same_place_says_that_one_is_running) {
  const test::outcome second = run_another();
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_NE(second.err.find("already running"), std::string::npos) << second.err;
  EXPECT_TRUE(serves(daemon.connect()));
}

// S-D12: the socket of one that had crashed meant "already running" for ever.
TEST_F(daemon_as_a_process, the_socket_of_one_that_was_killed_does_not_stop_the_next) {
  for (int i = 0; i < 3; ++i) {
    const raw_client client = daemon.connect();
    const descriptor opened = client.open("small");
    ASSERT_TRUE(next_answer(opened.get()));
    daemon.kill();
    EXPECT_EQ(::access(daemon.socket_path().c_str(), F_OK), 0);
    EXPECT_TRUE(is_at_end(opened.get()));
    EXPECT_TRUE(is_at_end(client.fd()));
    daemon.restart();
    EXPECT_TRUE(serves(daemon.connect()));
  }
}

// Found out by asking, for what listens there may hold no lock.
TEST_F(daemon_as_a_process, a_socket_that_somebody_else_listens_at_is_left_alone) {
  const temp_directory place;
  const std::string path = place / "theirs";
  const descriptor theirs(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(theirs.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(theirs.get(), 1), 0);
  const auto second = test::run({"serve", "--root", daemon.root().path(), "--socket", path});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_NE(second.err.find("already running"), std::string::npos) << second.err;
}

TEST_F(daemon_as_a_process, a_file_that_is_no_socket_is_left_alone) {
  const temp_directory place;
  make_patterned_file(place / "file", small);
  const auto second =
      test::run({"serve", "--root", daemon.root().path(), "--socket", place / "file"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_EQ(contents_of(place / "file").size(), small);
}

TEST_F(daemon_as_a_process, only_its_user_can_connect_unless_others_are_allowed) {
  struct stat about{};
  ASSERT_EQ(::stat(daemon.socket_path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
  const daemon_process open({"--allow-uid", "12345"});
  ASSERT_EQ(::stat(open.socket_path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0666U);
}

TEST_F(daemon_as_a_process, a_path_that_does_not_fit_is_refused_with_a_sentence) {
  const auto end =
      test::run({"serve", "--root", daemon.root().path(), "--socket", "/" + std::string(200, 'x')});
  EXPECT_EQ(end.exit_code, 1);
  EXPECT_NE(end.err.find("too long"), std::string::npos) << end.err;
}

// --- many at a time ------------------------------------------------------------------------------

// S-T14, S-T15
TEST_F(daemon_as_a_process, ten_clients_read_large_files_at_the_same_time) {
  for (const bool same : {true, false}) {
    std::vector<raw_client> clients;
    std::vector<descriptor> channels;
    for (unsigned i = 0; i < 10; ++i) {
      const std::string name = same ? "large" : "large" + std::to_string(i);
      if (!same) make_patterned_file(daemon.root() / name, large);
      clients.push_back(daemon.connect());
      channels.push_back(clients.back().read(name));
    }
    for (const descriptor& each : channels) {
      const auto info = next_answer(each.get());
      ASSERT_TRUE(info);
      EXPECT_EQ(info->values[0], large);
    }
    std::vector<std::vector<std::byte>> got(10);
    std::size_t ended = 0;
    while (ended < 10) {
      ended = 0;
      for (std::size_t i = 0; i < 10; ++i) {
        const auto more =
            next_bytes(channels[i].get(), std::min<std::size_t>(65536, large - got[i].size()));
        got[i].insert(got[i].end(), more.begin(), more.end());
        ended += got[i].size() == large ? 1U : 0U;
      }
    }
    for (std::size_t i = 0; i < 10; ++i) {
      EXPECT_TRUE(is_at_end(channels[i].get()));
      EXPECT_TRUE(holds_pattern(got[i], 0));
    }
  }
}

// This process needs a descriptor for each, too.
std::size_t as_many_as_there_may_be(std::size_t wanted) {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  return std::min<std::size_t>(wanted, descriptors.rlim_max / 2);
}

// Thousands that wait: a descriptor each, and little memory.
TEST(daemon_with_many, transfers_to_slow_receivers_take_little_and_hold_up_nobody) {
  const std::size_t many =
      as_many_as_there_may_be(address_sanitizer || thread_sanitizer ? 500 : 4000);
  const daemon_process daemon({"--max-transfers", "10000", "--max-transfers-per-client", "10000"});
  make_patterned_file(daemon.root() / "small", small);
  make_patterned_file(daemon.root() / "large", large);
  const raw_client slow = daemon.connect();
  const std::size_t descriptors = daemon.descriptors();
  const std::size_t memory = daemon.memory();
  std::vector<descriptor> channels;
  for (std::size_t i = 0; i < many; ++i) {
    channels.push_back(slow.read("large"));
    ASSERT_TRUE(next_answer(channels.back().get()));
  }
  EXPECT_EQ(slow.info().values[3], many);
  EXPECT_TRUE(comes_true([&] { return daemon.descriptors() <= descriptors + many + 2; }))
      << daemon.descriptors() - descriptors << " descriptors for " << many << " transfers";
  if (!address_sanitizer && !thread_sanitizer) {
    EXPECT_LT(daemon.memory() - memory, many * 4096);
  }
  const raw_client other = daemon.connect();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(serves(other));
  for (std::size_t i = 0; i < many; i += many / 10) {
    EXPECT_TRUE(holds_pattern(bytes_to_end(channels[i].get()), 0));
  }
}

}  // namespace
}  // namespace weir::testing
