#pragma once

#include <expected>
#include <string>

// How `weir serve` takes up its life as a daemon, a step a file:
//
//   starter.*        leaves the terminal, and tells whoever started it that it is ready, or why not
//   activation.*     takes over a socket from the service manager
//   notification.*   tells the service manager how it is (sd_notify(3))
//   identity.*       becomes another user, in another root directory
//   hardening.*      gives up what a daemon has no use for
//   system_calls.*   lets the kernel refuse every system call but the ones that are needed
namespace weir::life {

/// A step that was refused: a sentence for a person, and its errno.
struct failure {
  std::string sentence;
  int error;
};

template <class T = void>
using outcome = std::expected<T, failure>;

/// A failure "SENTENCE: what errno says".
std::unexpected<failure> failed(std::string sentence, int error);
/// The same with errno.
std::unexpected<failure> failed(std::string sentence);

}  // namespace weir::life
