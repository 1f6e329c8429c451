#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include "temporary_file.hpp"
#include "weir/daemon.h"

// What the subcommands that talk to a daemon share: finding it, hearing it out, saying what it
// said.
namespace weir::tools {

/// Which daemon.
struct daemon_place {
  std::string name = "default";
  std::string socket;  ///< instead of the name

  const std::string& place() const noexcept { return socket.empty() ? name : socket; }
};

/// --name and --socket.
void add_daemon_place(CLI::App& command, daemon_place& place);

/// Which part of a file.
struct file_range {
  std::uint64_t offset = 0;
  std::uint64_t length = WEIR_TO_THE_END;
  bool lock = false;

  unsigned flags() const noexcept { return lock ? unsigned{WEIR_LOCK} : 0U; }
};

/// --offset, --length and --lock.
void add_range(CLI::App& command, file_range& range);

/// Says "COMMAND: SENTENCE" on standard error; returns the exit status of a failure.
int complain(const char* command, const std::string& sentence);

/// A connection; or why there is none, as a sentence.
std::expected<descriptor, std::string> connect_to(const daemon_place& place);

/// How a transfer went.
struct transfer_outcome {
  std::uint64_t bytes = 0;
  std::error_code error;
};

/// A request that has been sent: its channel. Blocks while it waits for answers.
class daemon_request {
 public:
  /// `channel` as a function of the C interface has returned it: a descriptor or a negative errno.
  daemon_request(const descriptor& connection, int channel) noexcept;

  /// The file's information, which comes first; or why the daemon will not. Of a daemon that has
  /// gone `errc::daemon_lost`, or why it does not serve this user.
  std::expected<weir_file_info, std::error_code> information();
  /// Then, where progress is told: all of it, to the end. Calls `moved` as `pump` does.
  transfer_outcome to_the_end(const std::function<bool(std::uint64_t)>& moved);

  /// Then, where bytes follow: those.
  int bytes() const noexcept { return channel_.get(); }

 private:
  std::error_code read_answer(weir_answer& answer, const std::function<bool()>& go_on) const;
  std::error_code why_lost() const;

  const descriptor& connection_;
  descriptor channel_;
  int refused_ = 0;
};

/// For who makes nothing of progress.
bool always(std::uint64_t bytes);

}  // namespace weir::tools
