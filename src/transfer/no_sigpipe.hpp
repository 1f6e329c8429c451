#pragma once

#include <signal.h>

namespace weir::detail {

/// While one lives, calls on this thread raise no SIGPIPE: sendfile(2) and splice(2) know no
/// MSG_NOSIGNAL. The signal is for the thread, so it is held back and taken away here, unless one
/// was pending before, which is somebody else's. That a call succeeds does not say that there is
/// none: it may have moved a part before the receiver was gone.
class no_sigpipe {
 public:
  no_sigpipe() noexcept {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    sigset_t pending;
    // Only what was blocked before can be pending.
    was_pending_ = ::sigismember(&before_, SIGPIPE) == 1 && ::sigpending(&pending) == 0 &&
                   ::sigismember(&pending, SIGPIPE) == 1;
  }
  no_sigpipe(const no_sigpipe&) = delete;
  no_sigpipe& operator=(const no_sigpipe&) = delete;
  ~no_sigpipe() {
    constexpr timespec at_once{};
    if (!was_pending_) ::sigtimedwait(&sigpipe_, nullptr, &at_once);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t sigpipe_;
  sigset_t before_;
  bool was_pending_;
};

}  // namespace weir::detail
