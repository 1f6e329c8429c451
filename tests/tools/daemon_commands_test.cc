// weir get, weir send and weir put, as a user runs them, beside a daemon.

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "daemon_fixture.hpp"

namespace weir::test {
namespace {

using testing::descriptor;

constexpr std::size_t large = (3 << 20) + 7;

std::string all_from(int fd) {
  std::string text;
  std::array<char, 65536> piece{};
  ssize_t got = 0;
  while ((got = ::read(fd, piece.data(), piece.size())) > 0) {
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  return text;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

// --- get -----------------------------------------------------------------------------------------

class get_command : public daemon_test {};

TEST_F(get_command, writes_a_file_to_standard_output) {
  serve();
  write_file(served("ten"), "0123456789");
  const outcome got = ask("get", {"ten"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(got.out, "0123456789");
  EXPECT_EQ(got.err, "");
}

TEST_F(get_command, writes_a_part_of_it) {
  serve();
  write_file(served("ten"), "0123456789");
  EXPECT_EQ(ask("get", {"--offset", "3", "--length", "5", "ten"}).out, "34567");
  EXPECT_EQ(ask("get", {"--offset", "10", "ten"}).exit_code, 0);
  const outcome behind = ask("get", {"--offset", "11", "ten"});
  EXPECT_EQ(behind.exit_code, 1);
  EXPECT_EQ(behind.err, "weir get: cannot get 'ten': Numerical result out of range\n");
}

TEST_F(get_command, makes_a_file_of_a_large_one) {
  serve();
  const std::string text = patterned(large);
  write_file(served("large"), text);
  const outcome got = ask("get", {"large", "-o", outside("copy")});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_TRUE(read_file(outside("copy")) == text);
}

TEST_F(get_command, replaces_a_file_when_the_new_one_is_whole_and_keeps_its_permissions) {
  serve();
  write_file(served("ten"), "0123456789");
  write_file(outside("copy"), "old");
  ASSERT_EQ(::chmod(outside("copy").c_str(), 0640), 0);
  EXPECT_EQ(ask("get", {"missing", "-o", outside("copy")}).exit_code, 1);
  EXPECT_EQ(read_file(outside("copy")), "old");
  EXPECT_EQ(ask("get", {"ten", "-o", outside("copy")}).exit_code, 0);
  EXPECT_EQ(read_file(outside("copy")), "0123456789");
  struct stat about{};
  ASSERT_EQ(::stat(outside("copy").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0640U);
}

TEST_F(get_command, says_what_the_daemon_refuses) {
  serve();
  ASSERT_EQ(::mkdir(served("directory").c_str(), 0700), 0);
  const outcome missing = ask("get", {"missing"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(missing.err, "weir get: cannot get 'missing': No such file or directory\n");
  EXPECT_EQ(ask("get", {"directory"}).exit_code, 1);
  EXPECT_EQ(ask("get", {"../socket"}).exit_code, 1);
}

TEST_F(get_command, says_that_there_is_no_daemon) {
  const outcome got = ask("get", {"ten"});
  EXPECT_EQ(got.exit_code, 1);
  EXPECT_EQ(got.err, "weir get: no daemon at '" + socket() +
                         "': No such file or directory; weir serve starts one\n");
}

TEST_F(get_command, says_that_nobody_takes_its_output) {
  serve();
  write_file(served("large"), patterned(large));
  const outcome got = ask("get", {"large"}, {.out_to = "/dev/full"});
  EXPECT_EQ(got.exit_code, 1);
  EXPECT_EQ(got.err, "weir get: cannot write to standard output: No space left on device\n");
}

/// A daemon that answers as the test wants: promises 100 bytes and gives ten.
class failing_daemon {
 public:
  explicit failing_daemon(const std::string& path)
      : listener_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 1) != 0) {
      throw std::system_error(errno, std::system_category(), "bind");
    }
  }

  void answer_in_part() {
    connection_ = descriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    channel_ = receive_channel();
    const weir_file_info promised{.kind = WEIR_FILE_INFO, .version = 1, .length = 100, .size = 100};
    ASSERT_EQ(::write(channel_.get(), &promised, sizeof promised), WEIR_ANSWER_SIZE);
    ASSERT_EQ(::write(channel_.get(), "0123456789", 10), 10);
  }
  void go_away() {
    channel_.reset();
    connection_.reset();
  }

 private:
  descriptor receive_channel() const {
    std::array<char, 4096> bytes{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(connection_.get(), &message, MSG_CMSG_CLOEXEC) < 0) return descriptor();
    int passed = -1;
    std::memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof passed);
    return descriptor(passed);
  }

  descriptor listener_;
  descriptor connection_;
  descriptor channel_;
};

TEST_F(get_command, says_how_far_it_came_when_the_daemon_goes_away) {
  failing_daemon daemon(socket());
  running_command get({"get", "--socket", socket(), "file", "-o", outside("copy")});
  daemon.answer_in_part();
  daemon.go_away();
  const outcome ended = get.wait();
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_EQ(ended.err,
            "weir get: cannot get 'file': the daemon could not read on; it ended after 10 of 100 "
            "bytes\n");
  EXPECT_NE(::access(outside("copy").c_str(), F_OK), 0);
}

TEST_F(get_command, leaves_nothing_behind_when_it_is_interrupted) {
  failing_daemon daemon(socket());
  const std::string into = outside("into");
  ASSERT_EQ(::mkdir(into.c_str(), 0700), 0);
  running_command get({"get", "--socket", socket(), "file", "-o", into + "/copy"});
  daemon.answer_in_part();
  // The ten bytes are written when it listens for signals.
  ASSERT_TRUE(testing::eventually([&] {
    const auto names = names_in(into);
    return names.size() == 1 && std::filesystem::file_size(into + "/" + names[0]) == 10;
  }));
  get.kill(SIGTERM);
  EXPECT_EQ(get.wait().signal, SIGTERM);
  EXPECT_TRUE(names_in(into).empty());
}

// --- send ----------------------------------------------------------------------------------------

class send_command : public daemon_test {};

TEST_F(send_command, lets_the_daemon_write_to_standard_output) {
  serve();
  write_file(served("ten"), "0123456789");
  const outcome sent =
      ask("send", {"--offset", "2", "--length", "3", "ten"}, {.out_to = outside("out")});
  EXPECT_EQ(sent.exit_code, 0) << sent.err;
  EXPECT_EQ(read_file(outside("out")), "234");
}

TEST_F(send_command, sends_to_a_local_socket) {
  serve();
  const std::string text = patterned(large);
  write_file(served("large"), text);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  outside("listener").copy(address.sun_path, sizeof address.sun_path - 1);
  const descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  std::string received;
  std::thread receiver([&] {
    const descriptor peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    received = all_from(peer.get());
  });
  const outcome sent = ask("send", {"--to", "unix:" + outside("listener"), "large"});
  receiver.join();
  EXPECT_EQ(sent.exit_code, 0) << sent.err;
  EXPECT_TRUE(received == text);
}

TEST_F(send_command, sends_by_the_network) {
  serve();
  write_file(served("ten"), "0123456789");
  const descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  std::string received;
  std::thread receiver([&] {
    const descriptor peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    received = all_from(peer.get());
  });
  const std::string where = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  const outcome sent = ask("send", {"--to", where, "ten"});
  receiver.join();
  EXPECT_EQ(sent.exit_code, 0) << sent.err;
  EXPECT_EQ(received, "0123456789");
}

TEST_F(send_command, says_who_does_not_listen) {
  serve();
  const outcome sent = ask("send", {"--to", "unix:" + outside("nobody"), "ten"});
  EXPECT_EQ(sent.exit_code, 1);
  EXPECT_EQ(sent.err, "weir send: cannot connect to 'unix:" + outside("nobody") +
                          "': No such file or directory\n");
  EXPECT_EQ(ask("send", {"--to", "no port", "ten"}).exit_code, 1);
  EXPECT_EQ(ask("send", {"--to-fd", "99", "ten"}).exit_code, 1);
  EXPECT_EQ(ask("send", {"missing"}, {.out_to = "/dev/null"}).err,
            "weir send: cannot send 'missing': No such file or directory\n");
}

// --- put -----------------------------------------------------------------------------------------

class put_command : public daemon_test {};

TEST_F(put_command, puts_a_file) {
  serve();
  const std::string text = patterned(large);
  write_file(outside("large"), text);
  ASSERT_EQ(::chmod(outside("large").c_str(), 0640), 0);
  const outcome put = ask("put", {"--durable", outside("large"), "copy"});
  EXPECT_EQ(put.exit_code, 0) << put.err;
  EXPECT_TRUE(read_file(served("copy")) == text);
  struct stat about{};
  ASSERT_EQ(::stat(served("copy").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0640U);
}

TEST_F(put_command, puts_what_comes_on_standard_input) {
  serve();
  const outcome put = ask("put", {"-", "copy"}, {.input = "from a stream"});
  EXPECT_EQ(put.exit_code, 0) << put.err;
  EXPECT_EQ(read_file(served("copy")), "from a stream");
}

TEST_F(put_command, replaces_what_is_there_unless_it_must_not) {
  serve();
  write_file(served("copy"), "something longer than the other");
  write_file(outside("new"), "new");
  const outcome refused = ask("put", {"--exclusive", outside("new"), "copy"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(refused.err, "weir put: cannot put 'copy': File exists\n");
  EXPECT_EQ(ask("put", {outside("new"), "copy"}).exit_code, 0);
  EXPECT_EQ(read_file(served("copy")), "new");
  write_file(outside("empty"), "");
  EXPECT_EQ(ask("put", {outside("empty"), "copy"}).exit_code, 0);
  EXPECT_EQ(read_file(served("copy")), "");
}

TEST_F(put_command, is_refused_where_nobody_may_write) {
  serve({});
  write_file(outside("large"), patterned(large));
  const outcome put = ask("put", {outside("large"), "copy"});
  EXPECT_EQ(put.exit_code, 1);
  EXPECT_EQ(put.err, "weir put: cannot put 'copy': Read-only file system\n");
}

TEST_F(put_command, says_what_it_cannot_read) {
  serve();
  EXPECT_EQ(ask("put", {outside("missing"), "copy"}).err,
            "weir put: cannot read '" + outside("missing") + "': No such file or directory\n");
  EXPECT_EQ(ask("put", {outside(""), "copy"}).exit_code, 1);
}

TEST(daemon_commands, say_how_they_are_used) {
  for (const char* command : {"get", "send", "put"}) {
    EXPECT_EQ(run({command}).exit_code, 2) << command;
    EXPECT_EQ(run({command, "--help"}).exit_code, 0) << command;
    EXPECT_EQ(run({command, "--name", "a", "--socket", "b", "x", "y"}).exit_code, 2) << command;
  }
  EXPECT_EQ(run({"get", "--length", "0", "x"}).exit_code, 2);
  EXPECT_EQ(run({"send", "--to", "a:1", "--to-fd", "1", "x"}).exit_code, 2);
}

}  // namespace
}  // namespace weir::test
