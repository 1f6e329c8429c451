// The life of `weir serve` as a process: how it begins, what it gives up, how it ends.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <sstream>
#include <system_error>

#include "daemon_fixture.hpp"

namespace weir::test {
namespace {

using testing::descriptor;
using testing::eventually;

bool is_root() { return ::geteuid() == 0; }
constexpr auto need_root = "SKIPPED: only root may become somebody else";

/// What /proc says of a process: the words behind `key`.
std::string status_of(pid_t process, const std::string& key) {
  std::istringstream lines(read_file("/proc/" + std::to_string(process) + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
  }
  return "nothing";
}

pid_t process_at(const std::string& socket) {
  const descriptor connection(::weir_connect(socket.c_str()));
  const descriptor channel(::weir_daemon_info(connection.get(), 0));
  weir_daemon_state state{};
  std::array<char, WEIR_ANSWER_SIZE> bytes{};
  const ssize_t got = ::read(channel.get(), bytes.data(), bytes.size());
  if (::weir_parse_daemon_info(bytes.data(), got, &state) != 1) return -1;
  return static_cast<pid_t>(state.process);
}

bool is_gone(pid_t process) { return ::kill(process, 0) != 0 && errno == ESRCH; }

class serve_life : public daemon_test {};

TEST_F(serve_life, detaches_when_clients_may_come) {
  write_file(served("ten"), "0123456789");
  const outcome started = run({"serve", "--root", root(), "--socket", socket(), "--daemonize"});
  ASSERT_EQ(started.exit_code, 0) << started.err;
  EXPECT_EQ(ask("get", {"ten"}).out, "0123456789");  // at once
  const pid_t process = process_at(socket());
  ASSERT_GT(process, 0);
  EXPECT_NE(::getsid(process), ::getsid(0));
  EXPECT_EQ(::kill(process, SIGTERM), 0);
  EXPECT_TRUE(
      eventually([&] { return is_gone(process) || status_of(process, "State")[0] == 'Z'; }));
}

TEST_F(serve_life, detaches_from_the_directory_that_its_paths_are_relative_to) {
  write_file(served("ten"), "0123456789");
  const outcome started =
      run({"serve", "--root", ".", "--socket", "here", "--daemonize"}, {.cwd = root()});
  ASSERT_EQ(started.exit_code, 0) << started.err;
  const outcome got = run({"get", "--socket", "here", "ten"}, {.cwd = root()});
  EXPECT_EQ(got.out, "0123456789") << got.err;
  ASSERT_EQ(::kill(process_at(served("here")), SIGTERM), 0);
  EXPECT_TRUE(eventually([&] { return ::access(served("here").c_str(), F_OK) != 0; }));
}

TEST_F(serve_life, keeps_its_metrics_when_it_has_detached) {
  const outcome started =
      run({"serve", "--root", root(), "--socket", socket(), "--daemonize", "--metrics", "metrics"},
          {.cwd = root()});
  ASSERT_EQ(started.exit_code, 0) << started.err;
  ASSERT_EQ(::kill(process_at(socket()), SIGTERM), 0);  // written at the end, too
  EXPECT_TRUE(eventually([&] {
    return read_file(served("metrics")).find("weir_clients_accepted_total") != std::string::npos;
  }));
}

TEST_F(serve_life, tells_whoever_started_it_why_it_did_not) {
  serve();
  const outcome second = run({"serve", "--root", root(), "--socket", socket(), "--daemonize"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_EQ(second.err, "weir serve: already running: a daemon listens at '" + socket() + "'\n");
  const outcome nowhere =
      run({"serve", "--root", "/nowhere/at/all", "--socket", outside("x"), "--daemonize"});
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_EQ(nowhere.err, "weir serve: '/nowhere/at/all': No such file or directory\n");
}

TEST_F(serve_life, ends_with_success_when_asked_and_removes_its_socket) {
  serve();
  const outcome ended = end();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NE(::access(socket().c_str(), F_OK), 0);
}

TEST_F(serve_life, gives_up_what_it_does_not_need) {
  serve();
  EXPECT_EQ(status_of(daemon().pid(), "NoNewPrivs"), "1");
  EXPECT_EQ(status_of(daemon().pid(), "Seccomp"), "2");
  if (is_root()) {
    const std::string environment =
        read_file("/proc/" + std::to_string(daemon().pid()) + "/limits");
    EXPECT_NE(environment.find("Max core file size        0"), std::string::npos);
  }
}

TEST_F(serve_life, keeps_everything_when_it_is_unconfined) {
  serve({"--unconfined"});
  EXPECT_EQ(status_of(daemon().pid(), "Seccomp"), "0");
}

TEST_F(serve_life, becomes_another_user) {
  if (!is_root()) GTEST_SKIP() << need_root;
  ASSERT_EQ(::chmod(root().c_str(), 0755), 0);
  write_file(served("ten"), "0123456789");
  serve({"--user", "12345", "--group", "23456", "--allow-uid", "0"});
  EXPECT_EQ(status_of(daemon().pid(), "Uid"), "12345\t12345\t12345\t12345");
  EXPECT_EQ(status_of(daemon().pid(), "Gid"), "23456\t23456\t23456\t23456");
  EXPECT_EQ(status_of(daemon().pid(), "Groups"), " ");
  EXPECT_EQ(status_of(daemon().pid(), "CapEff"), "0000000000000000");
  EXPECT_EQ(ask("get", {"ten"}).out, "0123456789");
  write_file(served("secret"), "for root");
  ASSERT_EQ(::chmod(served("secret").c_str(), 0600), 0);
  EXPECT_EQ(ask("get", {"secret"}).err, "weir get: cannot get 'secret': Permission denied\n");
}

TEST_F(serve_life, does_not_become_root) {
  for (const auto& [user, group] : {std::pair("root", "nogroup"), std::pair("nobody", "root")}) {
    const outcome refused =
        run({"serve", "--root", root(), "--socket", socket(), "--user", user, "--group", group});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.err.find("Operation not permitted"), std::string::npos) << refused.err;
  }
}

TEST_F(serve_life, becomes_nobody_else_without_the_right_to) {
  if (is_root()) GTEST_SKIP() << "SKIPPED: root has the right to";
  const outcome refused =
      run({"serve", "--root", root(), "--socket", socket(), "--user", "nobody"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("Operation not permitted"), std::string::npos) << refused.err;
}

TEST_F(serve_life, sees_nothing_but_its_root) {
  if (!is_root()) GTEST_SKIP() << need_root;
  write_file(served("ten"), "0123456789");
  serve({"--chroot", "--user", "12345", "--group", "23456", "--allow-uid", "0"});
  std::array<char, 4096> link{};
  const std::string name = "/proc/" + std::to_string(daemon().pid()) + "/root";
  ASSERT_GT(::readlink(name.c_str(), link.data(), link.size() - 1), 0);
  EXPECT_EQ(std::string(link.data()), root());
}

TEST_F(serve_life, serves_with_every_driver_confined) {
  const std::string text = patterned(1 << 20);
  write_file(outside("large"), text);
  for (const char* driver : {"uring", "linux_aio", "threads", "sync"}) {
    if (!testing::report_of(driver).available) continue;
    serve({"--allow-write", "--driver", driver});
    EXPECT_EQ(ask("put", {"--durable", outside("large"), "large"}).exit_code, 0) << driver;
    const descriptor file = testing::open_file(served("large"), O_RDONLY);
    ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    EXPECT_TRUE(ask("get", {"large"}).out == text) << driver;
    EXPECT_EQ(end().exit_code, 0) << driver;
  }
}

// --- the service manager -------------------------------------------------------------------------

descriptor bound(const std::string& path, int type) {
  descriptor made(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::system_error(errno, std::system_category(), "bind");
  }
  return made;
}

std::string next_word(const descriptor& manager) {
  if (!testing::readable(manager.get(), 30'000)) return "nothing";
  std::array<char, 64> text{};
  const ssize_t got = ::recv(manager.get(), text.data(), text.size(), 0);
  return {text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

TEST_F(serve_life, tells_the_service_manager) {
  const descriptor manager = bound(outside("notify"), SOCK_DGRAM);
  serve({}, {.env = {"NOTIFY_SOCKET=" + outside("notify")}});
  EXPECT_EQ(next_word(manager), "READY=1");
  EXPECT_EQ(end().exit_code, 0);
  EXPECT_EQ(next_word(manager), "STOPPING=1");
}

TEST_F(serve_life, takes_over_a_socket) {
  write_file(served("ten"), "0123456789");
  const descriptor listener = bound(socket(), SOCK_SEQPACKET);
  ASSERT_EQ(::listen(listener.get(), 16), 0);
  const pid_t manager = ::fork();
  ASSERT_GE(manager, 0);
  if (manager == 0) {
    ::dup2(listener.get(), 3);
    ::fcntl(3, F_SETFD, 0);  // where it was 3 already
    ::execl("/bin/sh", "sh", "-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve --root \"$1\"",
            WEIR_COMMAND, root().c_str(), nullptr);
    ::_exit(127);
  }
  EXPECT_EQ(ask("get", {"ten"}).out, "0123456789");
  EXPECT_EQ(process_at(socket()), manager);
  ASSERT_EQ(::kill(manager, SIGTERM), 0);
  int status = -1;
  ASSERT_EQ(::waitpid(manager, &status, 0), manager);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(::access(socket().c_str(), F_OK), 0);  // it is not the daemon's to remove
}

}  // namespace
}  // namespace weir::test
