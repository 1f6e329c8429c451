#pragma once

#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>

#include "daemon/life/identity.hpp"
#include "daemon/life/notification.hpp"
#include "daemon/life/starter.hpp"

namespace weir::tools {

/// What was asked of a daemon's process, whatever it serves.
struct life_options {
  bool detach = false;
  bool change_root = false;
  bool unconfined = false;
  std::string user;
  std::string group;
  int ready_fd = -1;
};

void add_life_options(CLI::App& serve, life_options& options);

/// The daemon's process, from its start to its end, in the order in which this must happen: each
/// step takes something away that the one before has needed. A step that fails has told the
/// starter, and is an exit status for `serve`; its sentence is on standard error.
class daemon_life {
 public:
  explicit daemon_life(life_options options) : options_(std::move(options)) {}

  /// Before there are threads, or descriptors but `root`: leaves the terminal and the working
  /// directory.
  std::optional<int> begin(int root);
  /// The socket that the service manager has opened, if it has.
  std::optional<int> activated_socket() const noexcept { return socket_; }

  /// When the socket is there, at `path` if that is not empty: becomes who it is to be, where it is
  /// to be.
  std::optional<int> settle(int root, const std::string& path);
  /// When the driver is there: gives up all that is not needed from here on.
  std::optional<int> confine();

  /// The rest is told to those who wait for it.
  std::optional<int> ready();
  void stopping() const noexcept { manager_.tell("STOPPING=1"); }

  /// Any other failure of the daemon's beginning. Returns the exit status.
  int failed(const std::string& sentence, int error) noexcept;

 private:
  std::optional<int> stop_if(const life::outcome<>& step);

  const life_options options_;
  life::starter starter_;
  life::notification manager_;
  std::optional<life::identity> identity_;
  std::optional<int> socket_;
};

}  // namespace weir::tools
