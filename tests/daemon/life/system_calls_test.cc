// What is left to a daemon when its system calls are restricted, with every driver; and what is
// not.

#include "daemon/life/system_calls.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "child.hpp"
#include "daemon/life/hardening.hpp"
#include "support/support.hpp"
#include "weir/weir.hpp"

namespace weir::testing {
namespace {

using life::restrict_system_calls;

/// What `call` comes to in a restricted process: 0 or its errno.
template <class Call>
ending when_restricted(Call call) {
  return in_child([&] {
    if (!restrict_system_calls()) return 99;
    errno = 0;
    return call() < 0 ? errno : 0;
  });
}

constexpr ending refused{.status = EPERM};
constexpr ending killed{.signal = SIGSYS};
constexpr ending fine{.status = 0};

TEST(a_restricted_process, makes_no_sockets) {
  EXPECT_EQ(when_restricted([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }), refused);
  EXPECT_EQ(when_restricted([] { return ::socket(AF_INET, SOCK_STREAM, 0); }), refused);
}

TEST(a_restricted_process, becomes_nobody_else) {
  EXPECT_EQ(when_restricted([] { return ::setuid(::getuid()); }), refused);
  EXPECT_EQ(when_restricted([] { return ::chroot("/"); }), refused);
  EXPECT_EQ(when_restricted([] { return ::kill(::getppid(), 0); }).status,
            life::is_sanitized ? 0 : EPERM);
}

TEST(a_restricted_process, is_ended_for_what_only_intruders_do) {
  EXPECT_EQ(when_restricted([] { return ::execl("/bin/true", "true", nullptr); }), killed);
  EXPECT_EQ(when_restricted([] {
              std::array<char, 256> parameters{};
              return ::syscall(SYS_io_uring_setup, 8, parameters.data());
            }),
            killed);
}

TEST(a_restricted_process, runs_no_memory_of_its_own) {
  constexpr std::size_t size = 4096;
  EXPECT_EQ(when_restricted([] {
              void* const page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return page == MAP_FAILED ? -1 : 0;
            }),
            refused);
  EXPECT_EQ(when_restricted([] {
              void* const page =
                  ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return page == MAP_FAILED ? 0 : ::mprotect(page, size, PROT_READ | PROT_EXEC);
            }),
            refused);
}

TEST(a_restricted_process, forks_no_more) {
  if (life::is_sanitized) GTEST_SKIP() << "SKIPPED: a sanitizer needs to";
  const ending ended = when_restricted([] { return ::fork(); });
  EXPECT_TRUE(ended == refused || ended == killed);  // as the C library makes it
}

TEST(a_restricted_process, has_threads) {
  EXPECT_EQ(in_child([] {
              if (!restrict_system_calls()) return 99;
              int value = 0;
              std::thread([&] { value = 7; }).join();
              return value == 7 ? 0 : 1;
            }),
            fine);
}

TEST(a_restricted_process, restricts_the_threads_it_already_has) {
  EXPECT_EQ(in_child([] {
              std::array<int, 2> go{};
              if (::pipe(go.data()) != 0) return 98;
              int error = 0;
              std::thread earlier([&] {
                char byte = 0;
                if (::read(go[0], &byte, 1) != 1) return;
                error = ::socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
              });
              if (!restrict_system_calls()) return 99;
              if (::write(go[1], "x", 1) != 1) return 97;
              earlier.join();
              return error;
            }),
            refused);
}

// --- with every driver ---------------------------------------------------------------------------

class with_driver : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(daemon, with_driver,
                         ::testing::Values("uring", "linux_aio", "threads", "sync"),
                         [](const auto& each) { return each.param; });

/// Everything a daemon does with its files. True when all of it worked.
task<bool> use_files(io_context& context, std::string path, std::size_t size) {
  auto made = co_await weir::open(context, path, {.read = true, .write = true, .create = true});
  if (!made) co_return false;
  const std::vector<std::byte> written(size, std::byte{7});
  std::vector<std::byte> read(size);
  if (!co_await made->write_all_at(written, 0) || !co_await made->sync()) co_return false;
  if (!co_await made->read_exactly_at(read, 0) || read != written) co_return false;
  const auto about = co_await made->stat();
  if (!about || about->size != size || !co_await made->allocate(0, 2 * size)) co_return false;
  if (!co_await made->truncate(1) || !co_await made->close()) co_return false;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) co_return false;
  if (!co_await context.poll(ends[1], POLLOUT)) co_return false;
  const auto slept = co_await context.sleep_for(std::chrono::milliseconds(1));
  co_return slept.has_value();
}

// O_DIRECT, which is what Linux AIO is for; where there is none, through the page cache.
task<bool> read_past_the_cache(io_context& context, std::string path) {
  auto opened = co_await weir::open(context, path, {.direct = true});
  if (!opened) opened = co_await weir::open(context, path);
  if (!opened) co_return false;
  buffer memory(4096);
  co_return (co_await opened->read_at(memory.span(), 0)).has_value();
}

TEST_P(with_driver, a_restricted_daemon_works) {
  const driver_report& report = report_of(GetParam());
  if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
  const temp_directory directory;
  const ending ended = in_child([&] {
    auto opened = open_driver({.name = GetParam(), .restricted = true});
    if (!opened) return 98;
    io_context context(std::move(*opened));
    if (!life::harden() || !restrict_system_calls()) return 99;
    if (!context.run(use_files(context, directory / "file", 8192))) return 1;
    return context.run(read_past_the_cache(context, directory / "file")) ? 0 : 2;
  });
  EXPECT_EQ(ended, fine);
}

TEST_P(with_driver, a_restricted_daemon_makes_threads_when_they_are_needed) {
  const driver_report& report = report_of(GetParam());
  if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
  const temp_directory directory;
  const ending ended = in_child([&] {
    auto opened = open_driver({.name = GetParam(), .threads = 8, .restricted = true});
    if (!opened) return 98;
    io_context context(std::move(*opened));
    if (!life::harden() || !restrict_system_calls()) return 99;
    std::vector<task<bool>> all;
    for (int i = 0; i < 32; ++i) {
      all.push_back(use_files(context, directory / std::to_string(i), 100'000));
    }
    const auto outcomes = context.run([](std::vector<task<bool>> each) -> task<std::vector<bool>> {
      const auto done = co_await when_all(std::move(each));
      co_return std::vector<bool>(done.begin(), done.end());
    }(std::move(all)));
    return std::ranges::all_of(outcomes, std::identity()) ? 0 : 1;
  });
  EXPECT_EQ(ended, fine);
}

}  // namespace
}  // namespace weir::testing
