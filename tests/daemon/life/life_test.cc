// The steps by which a process becomes a daemon, each in a process of its own.

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "child.hpp"
#include "daemon/life/activation.hpp"
#include "daemon/life/hardening.hpp"
#include "daemon/life/identity.hpp"
#include "daemon/life/notification.hpp"
#include "daemon/life/starter.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using life::activated_socket;
using life::find_identity;
using life::identity;

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

bool is_root() { return ::geteuid() == 0; }

constexpr auto need_root = "SKIPPED: only root may become somebody else";

sockaddr_un address_of(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

int bound_socket(const std::string& path, int type) {
  const int made = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  if (::bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return -1;
  return made;
}

// --- leaving the terminal ------------------------------------------------------------------------

/// What a detached process finds around itself, for the test to look at.
std::string surroundings(pid_t session_before) {
  std::ostringstream text;
  text << "cwd " << std::filesystem::current_path().string() << '\n';
  text << "session " << (::getsid(0) == session_before ? "of before" : "own") << '\n';
  text << "leader " << (::getsid(0) == ::getpid() ? "yes" : "no") << '\n';
  text << "umask " << std::oct << ::umask(0) << '\n';
  std::array<char, 64> target{};
  for (const char* stream : {"0", "1"}) {
    target.fill('\0');
    const std::string link = std::string("/proc/self/fd/") + stream;
    if (::readlink(link.c_str(), target.data(), target.size() - 1) < 0) return "no /proc";
    text << stream << ' ' << target.data() << '\n';
  }
  return text.str();
}

TEST(detaching, leaves_everything_behind_and_reports_when_ready) {
  const temp_directory directory;
  const std::string report = directory / "report";
  const int stray = ::open("/dev/null", O_RDONLY);  // as a shell might leave one
  const ending ended = in_child([&] {
    const pid_t session = ::getsid(0);
    const int kept = ::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    life::starter starter;
    if (!starter.detach({&kept, 1})) return 9;
    const bool closed = ::fcntl(stray, F_GETFD) < 0 && errno == EBADF;
    const bool still_open = ::fcntl(kept, F_GETFD) >= 0;
    std::ofstream(report) << surroundings(session) << (closed ? "closed" : "left open") << '\n'
                          << (still_open ? "kept" : "lost") << '\n';
    if (!starter.ready()) return 9;
    return 0;
  });
  ::close(stray);
  EXPECT_EQ(ended, ending{.status = 0});
  EXPECT_EQ(text_of(report),
            "cwd /\nsession own\nleader no\numask 77\n0 /dev/null\n1 /dev/null\nclosed\nkept\n");
}

TEST(detaching, reports_a_failure) {
  const ending ended = in_child([] {
    life::starter starter;
    if (!starter.detach({})) return 9;
    starter.failed(ENOSPC);
    return 0;
  });
  EXPECT_EQ(ended, ending{.status = 1});
}

TEST(detaching, reports_a_death) {
  const ending ended = in_child([] {
    life::starter starter;
    if (!starter.detach({})) return 9;
    ::raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(ended, ending{.status = 1});
}

// --- telling the starter -------------------------------------------------------------------------

int word_at(int relay) {
  int word = -1;
  return ::read(relay, &word, sizeof word) == sizeof word ? word : -1;
}

TEST(a_starter, hears_the_first_word_and_no_other) {
  std::array<int, 2> relay{};
  ASSERT_EQ(::pipe2(relay.data(), O_CLOEXEC), 0);
  life::starter starter;
  ASSERT_TRUE(starter.tell_through(relay[1]));
  starter.failed(EADDRINUSE);
  ASSERT_TRUE(starter.ready());
  EXPECT_EQ(word_at(relay[0]), EADDRINUSE);
  EXPECT_EQ(word_at(relay[0]), -1);
  ::close(relay[0]);
}

TEST(a_starter, hears_nothing_of_who_said_nothing) {
  std::array<int, 2> relay{};
  ASSERT_EQ(::pipe2(relay.data(), O_CLOEXEC), 0);
  {
    life::starter starter;
    ASSERT_TRUE(starter.tell_through(relay[1]));
  }
  EXPECT_EQ(word_at(relay[0]), -1);
  ::close(relay[0]);
}

TEST(a_starter, needs_a_descriptor_that_is_open) {
  life::starter starter;
  const auto told = starter.tell_through(9999);
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().error, EBADF);
}

// --- the service manager -------------------------------------------------------------------------

TEST(a_service_manager, is_told) {
  const temp_directory directory;
  const std::string path = directory / "notify";
  const int manager = bound_socket(path, SOCK_DGRAM);
  ASSERT_GE(manager, 0);
  ASSERT_EQ(::setenv("NOTIFY_SOCKET", path.c_str(), 1), 0);
  life::notification told;
  const auto opened = told.open();
  ::unsetenv("NOTIFY_SOCKET");
  ASSERT_TRUE(opened) << opened.error().sentence;
  told.tell("READY=1");
  std::array<char, 64> text{};
  ASSERT_EQ(::recv(manager, text.data(), text.size(), 0), 7);
  EXPECT_STREQ(text.data(), "READY=1");
  ::close(manager);
  told.tell("STOPPING=1");  // to nobody: no harm
}

TEST(a_service_manager, is_told_in_the_abstract_namespace) {
  const std::string name = "weir-life-test-" + std::to_string(::getpid());
  const int manager = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = address_of("@" + name);
  address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(::bind(manager, reinterpret_cast<const sockaddr*>(&address), length), 0);
  ASSERT_EQ(::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1), 0);
  life::notification told;
  const auto opened = told.open();
  ::unsetenv("NOTIFY_SOCKET");
  ASSERT_TRUE(opened) << opened.error().sentence;
  told.tell("READY=1");
  std::array<char, 64> text{};
  EXPECT_EQ(::recv(manager, text.data(), text.size(), 0), 7);
  ::close(manager);
}

TEST(a_service_manager, that_is_not_there_is_a_failure_and_none_is_not) {
  life::notification told;
  EXPECT_TRUE(told.open());
  told.tell("READY=1");
  ASSERT_EQ(::setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1), 0);
  const auto opened = told.open();
  ::unsetenv("NOTIFY_SOCKET");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().error, ENOENT);
}

// In a child, so that its descriptor 3 can be what it is meant to be.
int activated_with(int type, int how_many, bool listening) {
  const temp_directory directory;
  const int made = bound_socket(directory / "socket", type);
  if (made < 0 || (listening && ::listen(made, 4) != 0)) return 90;
  if (::dup2(made, 3) != 3) return 91;
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", std::to_string(how_many).c_str(), 1);
  const auto found = activated_socket();
  if (!found) return found.error().error;
  if (!*found) return 92;
  return **found == 3 && (::fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 ? 0 : 93;
}

TEST(a_service_manager, passes_a_socket) {
  EXPECT_EQ(in_child([] { return activated_with(SOCK_SEQPACKET, 1, true); }).status, 0);
}

TEST(a_service_manager, must_pass_the_right_socket) {
  EXPECT_EQ(in_child([] { return activated_with(SOCK_STREAM, 1, true); }).status, EINVAL);
  EXPECT_EQ(in_child([] { return activated_with(SOCK_SEQPACKET, 1, false); }).status, EINVAL);
  EXPECT_EQ(in_child([] { return activated_with(SOCK_SEQPACKET, 2, true); }).status, EINVAL);
}

TEST(a_service_manager, may_have_meant_somebody_else) {
  ASSERT_EQ(::setenv("LISTEN_PID", "1", 1), 0);
  ASSERT_EQ(::setenv("LISTEN_FDS", "1", 1), 0);
  const auto found = activated_socket();
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

// --- rights --------------------------------------------------------------------------------------

TEST(an_identity, is_found_by_name_and_by_number) {
  const auto by_name = find_identity("nobody", "");
  ASSERT_TRUE(by_name) << by_name.error().sentence;
  const auto by_number = find_identity(std::to_string(by_name->user), "");
  ASSERT_TRUE(by_number);
  EXPECT_EQ(by_number->group, by_name->group);
  const auto with_group = find_identity("nobody", "12345");
  ASSERT_TRUE(with_group);
  EXPECT_EQ(with_group->group, 12345U);
}

TEST(an_identity, is_never_roots) {
  for (const auto& [user, group] :
       {std::pair("root", ""), std::pair("0", ""), std::pair("nobody", "root"),
        std::pair("nobody", "0"), std::pair("root", "nogroup")}) {
    const auto found = find_identity(user, group);
    ASSERT_FALSE(found) << user << ' ' << group;
    EXPECT_EQ(found.error().error, EPERM);
  }
}

TEST(an_identity, must_exist) {
  for (const auto& [user, group] :
       {std::pair("no such user", ""), std::pair("nobody", "no such group"), std::pair("-1", ""),
        std::pair("4294967295", "1")}) {
    const auto found = find_identity(user, group);
    ASSERT_FALSE(found) << user << ' ' << group;
    EXPECT_EQ(found.error().error, ENOENT);
  }
  EXPECT_EQ(find_identity("3999999999", "").error().error, EINVAL);  // whose group is not known
}

TEST(an_identity, is_taken_for_good_with_no_other_groups) {
  if (!is_root()) GTEST_SKIP() << need_root;
  const ending ended = in_child([] {
    const std::array<gid_t, 2> groups{0, 4242};
    if (::setgroups(groups.size(), groups.data()) != 0) return 9;
    if (!life::become({.user = 12345, .group = 23456})) return 1;
    if (::getuid() != 12345 || ::getgid() != 23456 || ::getgroups(0, nullptr) != 0) return 2;
    if (::setuid(0) == 0 || ::setgid(0) == 0) return 3;
    return 0;
  });
  EXPECT_EQ(ended, ending{.status = 0});
}

TEST(an_identity, is_not_for_everybody_to_take) {
  const ending ended = in_child([] {
    if (is_root() && !life::become({.user = 12345, .group = 23456})) return 9;
    const auto became = life::become({.user = 12346, .group = 23456});
    return became ? 0 : became.error().error;
  });
  EXPECT_EQ(ended, ending{.status = EPERM});
}

TEST(the_root_directory, is_changed_to_an_open_one) {
  if (!is_root()) GTEST_SKIP() << need_root;
  const temp_directory directory;
  std::ofstream(directory / "inside") << "here";
  const ending ended = in_child([&] {
    const int root = ::open(directory.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!life::change_root(root)) return 1;
    return ::access("/inside", F_OK) == 0 && ::access("/proc", F_OK) != 0 ? 0 : 2;
  });
  EXPECT_EQ(ended, ending{.status = 0});
}

TEST(a_hardened_process, has_given_up_what_it_does_not_need) {
  const ending ended = in_child([] {
    if (!life::harden() || !life::raise_descriptor_limit() || !life::clear_environment()) return 1;
    rlimit core{};
    rlimit descriptors{};
    ::getrlimit(RLIMIT_CORE, &core);
    ::getrlimit(RLIMIT_NOFILE, &descriptors);
    if (core.rlim_max != 0 || descriptors.rlim_cur != descriptors.rlim_max) return 2;
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 3;
    if (!life::is_sanitized && ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 4;
    return std::getenv("PATH") == nullptr ? 0 : 5;
  });
  EXPECT_EQ(ended, ending{.status = 0});
}

}  // namespace
}  // namespace weir::testing
