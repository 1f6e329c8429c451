#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "command.hpp"
#include "support/support.hpp"
#include "weir/daemon.h"

namespace weir::test {

inline void write_file(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// Not a short pattern: what is in the wrong place is seen.
inline std::string patterned(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>(testing::pattern(i));
  }
  return text;
}

/// A directory, and a real daemon that serves it.
class daemon_test : public ::testing::Test {
 protected:
  void serve(std::vector<std::string> more = {"--allow-write"}, command_options options = {}) {
    std::vector<std::string> arguments{"serve", "--root", root(), "--socket", socket()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    daemon_ = std::make_unique<running_command>(std::move(arguments), options);
    ASSERT_TRUE(testing::eventually([this] { return answers(); }));
  }

  /// Whether somebody accepts connections there, and answers.
  bool answers() const {
    const testing::descriptor connection(::weir_connect(socket().c_str()));
    if (!connection) return false;
    const testing::descriptor channel(::weir_daemon_info(connection.get(), 0));
    char byte = 0;
    return channel && ::read(channel.get(), &byte, 1) == 1;
  }

  /// Asks the daemon to end, and says how it did.
  outcome end() {
    daemon_->kill(SIGTERM);
    const outcome ended = daemon_->wait();
    daemon_.reset();
    return ended;
  }

  const std::string& root() const { return root_.path(); }
  std::string served(std::string_view name) const { return root_ / name; }
  std::string socket() const { return elsewhere_ / "socket"; }
  /// A name outside what is served.
  std::string outside(std::string_view name) const { return elsewhere_ / name; }
  const running_command& daemon() const { return *daemon_; }

  /// `weir COMMAND --socket …`, to its end.
  outcome ask(std::string command, std::vector<std::string> arguments,
              const command_options& options = {}) const {
    arguments.insert(arguments.begin(), {std::move(command), "--socket", socket()});
    return run(std::move(arguments), options);
  }

 private:
  testing::temp_directory root_;
  testing::temp_directory elsewhere_;
  std::unique_ptr<running_command> daemon_;
};

}  // namespace weir::test
