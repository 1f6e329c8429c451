#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "weir/daemon.hpp"
#include "weir/io_context.hpp"
#include "weir/task.hpp"

namespace weir::tools {

/// The daemon's metrics in a file, written anew every few seconds and then renamed to its place, so
/// that who reads it finds a whole one: what node_exporter's textfile collector takes.
class metrics_file {
 public:
  /// Opens the directory, which the process may be about to lose sight of. Throws
  /// std::system_error.
  explicit metrics_file(const std::string& path);
  metrics_file(const metrics_file&) = delete;
  metrics_file& operator=(const metrics_file&) = delete;
  ~metrics_file();

  /// Until `over` is told; then a last time. A failure is said on standard error, once, and tried
  /// again the next time.
  task<> keep_up(io_context& context, const daemon_server& server, std::stop_token over);

 private:
  task<result<void>> write(io_context& context, const std::string& text) const;

  std::string path_;
  std::string name_;
  int directory_;
  bool failed_ = false;
};

}  // namespace weir::tools
