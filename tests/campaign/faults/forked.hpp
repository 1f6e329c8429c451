#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "campaign/trial.hpp"
#include "campaign/words.hpp"

namespace weir::campaign {

/// Runs `body` in a forked child, which then exits without any of its parent's ends.
template <class Body>
pid_t fork_and_run(Body body) {
  const pid_t child = ::fork();
  if (child < 0) not_available("fork");
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  body();
  ::_exit(0);
}

/// What waitpid(2) says of it.
inline int status_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) not_available("waitpid");
  }
  return status;
}

inline void expect_ended_well(trial& now, pid_t child) {
  const int status = status_of(child);
  if (status != 0) now.crashed(in_words("a forked child ended with status ", status));
}

}  // namespace weir::campaign
