#include "command_line.hpp"

#include <array>
#include <string>
#include <vector>

namespace weir::tools {
namespace {

constexpr std::array<subcommand, 8> subcommands = {
    &add_bench, &add_cp, &add_doctor, &add_get, &add_put, &add_send, &add_serve, &add_top,
};

// "weir cp: --queue-depth: 1 required N missing; see weir cp --help".
understanding misunderstood(const CLI::App& app, const std::string& problem) {
  std::string command = "weir";
  for (const CLI::App* sub : app.get_subcommands()) command += " " + sub->get_name();
  return {.status = misused,
          .answer = {},
          .complaint = command + ": " + problem + "; see " + command + " --help\n"};
}

// CLI11 takes "[a,b]" for a list and "++" for the end of a subcommand. Here they are names of
// files, and stay so with a directory before them.
std::string plain(const std::string& argument) {
  const bool list = argument.starts_with('[') && argument.ends_with(']');
  return list || argument == "++" ? "./" + argument : argument;
}

// As CLI11 takes them: the last one first.
std::vector<std::string> arguments_of(int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) arguments.push_back(plain(argv[i]));
  return arguments;
}

}  // namespace

void describe_command(CLI::App& app, action& chosen) {
  for (const auto add : subcommands) add(app, chosen);
  for (CLI::App* each : app.get_subcommands({})) each->set_version_flag("--version", WEIR_VERSION);
  app.set_version_flag("--version", WEIR_VERSION);
  // One at most: behind the first, "cp" and "doctor" are names of files.
  app.require_subcommand(0, 1);
}

// CLI11's own way out prints to where it likes and has exit codes of its own.
understanding understand(CLI::App& app, int argc, const char* const* argv, const action& chosen) {
  try {
    app.parse(arguments_of(argc, argv));
  } catch (const CLI::CallForHelp&) {
    return {.answer = app.help()};
  } catch (const CLI::CallForVersion&) {
    return {.answer = "weir " WEIR_VERSION "\n"};
  } catch (const CLI::ExtrasError&) {
    const std::string surplus = "'" + app.remaining(true).at(0) + "'";
    return misunderstood(app, app.get_subcommands().empty()
                                  ? "there is no subcommand or option " + surplus
                                  : surplus + " was not expected");
  } catch (const CLI::ParseError& e) {
    return misunderstood(app, e.what());
  }
  if (chosen) return {};
  return {.status = misused, .answer = {}, .complaint = app.help()};
}

}  // namespace weir::tools
