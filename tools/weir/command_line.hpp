#pragma once

#include <CLI/CLI.hpp>

#include "subcommands.hpp"

namespace weir::tools {

/// Exit statuses, besides 0.
inline constexpr int failed = 1;
inline constexpr int misused = 2;

/// The command's own options, and all subcommands, which put into `chosen` what is to be done.
void describe_command(CLI::App& app, action& chosen);

/// What came of reading a command line.
struct understanding {
  int status = 0;         ///< to end with, where nothing was chosen
  std::string answer;     ///< for standard output: what was asked for, as --help
  std::string complaint;  ///< for standard error
};

/// Reads a command line, program's name first, as `app` describes it.
understanding understand(CLI::App& app, int argc, const char* const* argv, const action& chosen);

}  // namespace weir::tools
