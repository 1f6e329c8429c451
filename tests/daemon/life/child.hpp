#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace weir::testing {

/// How a process ended.
struct ending {
  int status = -1;  ///< -1: by a signal
  int signal = 0;

  friend bool operator==(const ending&, const ending&) = default;
};

/// Runs `work` in a process of its own, for what cannot be taken back, and waits for the end; what
/// it returns is the status.
template <class Work>
ending in_child(Work work) {
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (child == 0) ::_exit(work());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) return {.status = WEXITSTATUS(status)};
  return {.signal = WTERMSIG(status)};
}

}  // namespace weir::testing
