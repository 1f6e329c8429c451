#include "transfer/receiver.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>
#include <vector>

#include "support/contestant.hpp"
#include "support/fail.hpp"
#include "support/units.hpp"

namespace weir::bench {
namespace {

/// The end that is written to, and the one that is read from.
struct ends {
  int in;
  int out;
};

ends connected_by_tcp() {
  const int listening = checked("socket", ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  checked("bind", ::bind(listening, generic, size));
  checked("listen", ::listen(listening, 1));
  checked("getsockname", ::getsockname(listening, generic, &size));
  const int in = checked("socket", ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  checked("connect", ::connect(in, generic, size));
  const int out = checked("accept", ::accept(listening, nullptr, nullptr));
  ::close(listening);
  return {in, out};
}

ends connected(link_kind kind) {
  std::array<int, 2> made{};
  switch (kind) {
    case link_kind::tcp:
      return connected_by_tcp();
    case link_kind::unix_stream:
      checked("socketpair", ::socketpair(AF_UNIX, SOCK_STREAM, 0, made.data()));
      return {made[0], made[1]};
    case link_kind::pipe:
      break;
  }
  checked("pipe", ::pipe(made.data()));
  // What an unprivileged program may have; with the usual 64 KiB both sides mostly wait.
  checked("F_SETPIPE_SZ", ::fcntl(made[0], F_SETPIPE_SZ, static_cast<int>(mib)));
  return {made[1], made[0]};
}

// The sender has been pinned to the core that this has been forked on.
void move_to_other_cores() {
  cpu_set_t others;
  CPU_ZERO(&others);
  const auto count = static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN));
  for (unsigned core = 0; core < count; ++core) CPU_SET(core, &others);
  cpu_set_t mine;
  checked("sched_getaffinity", ::sched_getaffinity(0, sizeof mine, &mine));
  CPU_XOR(&others, &others, &mine);
  if (CPU_COUNT(&others) != 0) {
    checked("sched_setaffinity", ::sched_setaffinity(0, sizeof others, &others));
  }
}

[[noreturn]] void serve(int from, int orders, int answers) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<std::byte> memory(256 * kib);
  std::uint64_t expected = 0;
  while (::read(orders, &expected, sizeof expected) == sizeof expected) {
    const double began = seconds_now(timed_by::process);
    while (expected != 0) {
      const auto count =
          ::read(from, memory.data(), std::min<std::size_t>(expected, memory.size()));
      if (count <= 0) ::_exit(1);
      expected -= static_cast<std::uint64_t>(count);
    }
    const double took = seconds_now(timed_by::process) - began;
    if (::write(answers, &took, sizeof took) != sizeof took) ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace

receiver::receiver(link_kind kind) {
  const ends link = connected(kind);
  std::array<int, 2> orders{};
  std::array<int, 2> answers{};
  checked("pipe", ::pipe(orders.data()));
  checked("pipe", ::pipe(answers.data()));
  process_ = checked("fork", ::fork());
  if (process_ == 0) {
    ::close(link.in);
    ::close(orders[1]);
    ::close(answers[0]);
    move_to_other_cores();
    serve(link.out, orders[0], answers[1]);
  }
  ::close(link.out);
  ::close(orders[0]);
  ::close(answers[1]);
  fd_ = link.in;
  orders_ = orders[1];
  answers_ = answers[0];
}

receiver::~receiver() {
  for (const int each : {fd_, orders_, answers_}) ::close(each);
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

void receiver::set_nonblocking() const {
  checked("F_SETFL", ::fcntl(fd_, F_SETFL, checked("F_GETFL", ::fcntl(fd_, F_GETFL)) | O_NONBLOCK));
}

receiver::outcome receiver::carry(std::uint64_t bytes,
                                  const std::function<void(int fd)>& send) const {
  outcome came;
  const double began = seconds_now(timed_by::wall);
  const double began_working = seconds_now(timed_by::process);
  expect_whole("write", ::write(orders_, &bytes, sizeof bytes), sizeof bytes);
  send(fd_);
  came.sender_seconds = seconds_now(timed_by::process) - began_working;
  expect_whole("read", ::read(answers_, &came.receiver_seconds, sizeof came.receiver_seconds),
               sizeof came.receiver_seconds);
  came.seconds = seconds_now(timed_by::wall) - began;
  return came;
}

}  // namespace weir::bench
