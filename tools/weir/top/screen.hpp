#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace weir::tools::top {

/// The whole terminal, until this goes.
class screen {
 public:
  screen();
  screen(const screen&) = delete;
  screen& operator=(const screen&) = delete;
  ~screen();

  /// Shows as many of the lines as there is room for, the first one highlighted.
  void show(const std::vector<std::string>& lines);
  /// Waits so long for a key, or until the terminal's size changes; whether it was the one that
  /// ends the program (q, or Ctrl-C as a key).
  static bool wait_for_end(std::chrono::milliseconds limit);
};

}  // namespace weir::tools::top
