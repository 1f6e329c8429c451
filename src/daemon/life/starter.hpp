#pragma once

#include <span>
#include <vector>

#include "daemon/life/outcome.hpp"

namespace weir::life {

/// Whoever started this process and waits to hear what became of it: at a pipe that it has made
/// (`weir_daemon_spawn`), or as the process that `detach` has left behind. It hears an `int`: 0
/// when the daemon is ready, else the errno of what failed; the sentence is on standard error.
class starter {
 public:
  starter() noexcept = default;
  starter(const starter&) = delete;
  starter& operator=(const starter&) = delete;
  /// Ends without a word where none has been said: then the starter knows that it failed.
  ~starter();

  /// It listens at this descriptor, which is owned from now on.
  outcome<> tell_through(int relay);

  /// Leaves the session, the terminal and the working directory (daemon(7)). Returns in the daemon
  /// alone; the process that called ends when the daemon has spoken, with status 0 or 1. All
  /// descriptors are closed but standard error, which goes with `ready`, and those that are kept.
  outcome<> detach(std::span<const int> kept);

  /// The two words; only the first that is said is heard. Ready, a detached daemon has no standard
  /// error any more.
  outcome<> ready();
  void failed(int error) noexcept;

 private:
  void say(int word) noexcept;

  std::vector<int> relays_;
  int nothing_ = -1;  // /dev/null, of a detached daemon
};

}  // namespace weir::life
