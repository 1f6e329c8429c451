#include "daemon/life/starter.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

namespace weir::life {
namespace {

/// In the process that was called: waits, and ends as the daemon's beginning did.
[[noreturn]] void end_as_told(int relay, pid_t child) noexcept {
  int word = EIO;  // a daemon that dies says nothing
  ssize_t got = -1;
  do {
    got = ::read(relay, &word, sizeof word);
  } while (got < 0 && errno == EINTR);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  ::_exit(got == sizeof word && word == 0 ? 0 : 1);
}

/// All above standard error, but those that are kept.
int close_all_but(std::vector<unsigned> kept) noexcept {
  std::ranges::sort(kept);
  unsigned next = STDERR_FILENO + 1;
  for (const unsigned fd : kept) {
    if (fd > next && ::close_range(next, fd - 1, 0) != 0) return errno;
    next = std::max(next, fd + 1);
  }
  return ::close_range(next, std::numeric_limits<unsigned>::max(), 0) == 0 ? 0 : errno;
}

}  // namespace

starter::~starter() {
  for (const int relay : relays_) ::close(relay);
  if (nothing_ >= 0) ::close(nothing_);
}

outcome<> starter::tell_through(int relay) {
  if (::fcntl(relay, F_SETFD, FD_CLOEXEC) != 0) {
    return life::failed("descriptor " + std::to_string(relay) + " cannot be told through");
  }
  relays_.push_back(relay);
  return {};
}

// Forks twice: the second time so that the daemon leads no session, and cannot get a terminal.
outcome<> starter::detach(std::span<const int> kept) {
  std::array<int, 2> relay{};
  if (::pipe2(relay.data(), O_CLOEXEC) != 0) return life::failed("a pipe could not be made");
  const pid_t child = ::fork();
  if (child < 0) return life::failed("a process could not be made");
  if (child > 0) {
    ::close(relay[1]);
    end_as_told(relay[0], child);
  }
  ::close(relay[0]);
  relays_.push_back(relay[1]);
  if (::setsid() < 0) return life::failed("a session could not be begun");
  const pid_t grandchild = ::fork();
  if (grandchild < 0) return life::failed("a process could not be made");
  if (grandchild > 0) ::_exit(0);
  nothing_ = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nothing_ < 0) return life::failed("/dev/null could not be opened");
  std::vector<unsigned> open(kept.begin(), kept.end());
  open.push_back(static_cast<unsigned>(nothing_));
  open.insert(open.end(), relays_.begin(), relays_.end());
  if (const int error = close_all_but(std::move(open))) {
    return life::failed("descriptors could not be closed", error);
  }
  ::umask(0077);
  if (::chdir("/") != 0) return life::failed("the working directory could not be changed to /");
  if (::dup2(nothing_, STDIN_FILENO) < 0 || ::dup2(nothing_, STDOUT_FILENO) < 0) {
    return life::failed("standard streams could not be left");
  }
  return {};
}

outcome<> starter::ready() {
  if (nothing_ >= 0 && ::dup2(nothing_, STDERR_FILENO) < 0) {
    return life::failed("standard error could not be left");
  }
  say(0);
  return {};
}

void starter::failed(int error) noexcept { say(error != 0 ? error : EIO); }

// A starter that has gone meanwhile (EPIPE) needs no answer. SIGPIPE is ignored by then: a daemon's
// clients close their pipes, too.
void starter::say(int word) noexcept {
  for (const int relay : relays_) {
    while (::write(relay, &word, sizeof word) < 0 && errno == EINTR) {
    }
    ::close(relay);
  }
  relays_.clear();
}

}  // namespace weir::life
