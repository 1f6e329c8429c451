#pragma once

#include <signal.h>

namespace weir::detail {

/// While one lives, a call on this thread that raises SIGPIPE only says EPIPE: sendfile(2) and
/// splice(2) know no MSG_NOSIGNAL. The signal is for the thread, so it is held back and taken away
/// here, unless one was pending before, which is somebody else's.
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
  ~no_sigpipe() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  /// The call has said EPIPE.
  void take_away() const noexcept {
    constexpr timespec at_once{};
    if (!was_pending_) ::sigtimedwait(&sigpipe_, nullptr, &at_once);
  }

 private:
  sigset_t sigpipe_;
  sigset_t before_;
  bool was_pending_;
};

}  // namespace weir::detail
