// The weir command. Exit status: 0 done; 1 something failed, and a sentence on standard error says
// what; 2 the command line was not understood.
//
//   bench.cc         how fast a disk is with each driver
//   cp.cc            copies files
//   doctor.cc        what this machine and a file system offer
//   get.cc, put.cc, send.cc   ask a daemon for files; daemon_client.* is what they share
//   serve.cc         the daemon; daemon_life.* its process
//   top.cc           what a daemon is doing; top/ is what that is made of
//   file_system.*    tries what a file system offers, for the doctor and for cp

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "subcommands.hpp"

namespace {

using weir::tools::action;

constexpr int failed = 1;
constexpr int misused = 2;

constexpr std::array<weir::tools::subcommand, 8> subcommands = {
    &weir::tools::add_bench, &weir::tools::add_cp,  &weir::tools::add_doctor,
    &weir::tools::add_get,   &weir::tools::add_put, &weir::tools::add_send,
    &weir::tools::add_serve, &weir::tools::add_top,
};

void complain(const std::string& sentence) noexcept {
  std::fprintf(stderr, "weir: %s\n", sentence.c_str());
}

// Where a standard stream was closed, the next file to be opened would take its number, and what is
// written to the stream would end up in that file.
void occupy_standard_streams() noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest number that is free, which is `fd`. O_PATH: neither to be read nor to be written.
    if (::open("/", O_PATH) < 0) return;  // NOLINT(android-cloexec-open): a standard stream
  }
}

// Output that did not arrive is a failure: a full disk, or nobody there to read.
int finish(int status) noexcept {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  const int error = errno;
  complain("cannot write to standard output" +
           (error != 0 ? ": " + std::system_category().message(error) : std::string()));
  return failed;
}

int print(const std::string& text) noexcept {
  std::fputs(text.c_str(), stdout);
  return finish(0);
}

// "weir cp: --queue-depth: 1 required N missing; see weir cp --help".
int complain_of_usage(const CLI::App& app, const std::string& problem) {
  std::string command = "weir";
  for (const CLI::App* sub : app.get_subcommands()) command += " " + sub->get_name();
  std::fprintf(stderr, "%s: %s; see %s --help\n", command.c_str(), problem.c_str(),
               command.c_str());
  return misused;
}

// CLI11 takes "[a,b]" for a list and "++" for the end of a subcommand. Here they are names of
// files, and stay so with a directory before them.
std::string plain(const std::string& argument) {
  const bool list = argument.starts_with('[') && argument.ends_with(']');
  return list || argument == "++" ? "./" + argument : argument;
}

// As CLI11 takes them: the last one first.
std::vector<std::string> arguments_of(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) arguments.push_back(plain(argv[i]));
  return arguments;
}

// CLI11's own way out prints to where it likes and has exit codes of its own.
int parse(CLI::App& app, int argc, char** argv, const action& chosen) {
  try {
    app.parse(arguments_of(argc, argv));
  } catch (const CLI::CallForHelp&) {
    return print(app.help());
  } catch (const CLI::CallForVersion&) {
    return print("weir " WEIR_VERSION "\n");
  } catch (const CLI::ExtrasError&) {
    const std::string surplus = "'" + app.remaining(true).at(0) + "'";
    return complain_of_usage(app, app.get_subcommands().empty()
                                      ? "there is no subcommand or option " + surplus
                                      : surplus + " was not expected");
  } catch (const CLI::ParseError& e) {
    return complain_of_usage(app, e.what());
  }
  if (chosen) return 0;
  std::fputs(app.help().c_str(), stderr);
  return misused;
}

int run(int argc, char** argv) {
  action chosen;
  CLI::App app("Asynchronous file I/O, from the command line", "weir");
  for (const auto add : subcommands) add(app, chosen);
  for (CLI::App* each : app.get_subcommands({})) each->set_version_flag("--version", WEIR_VERSION);
  app.set_version_flag("--version", WEIR_VERSION);
  // One at most: behind the first, "cp" and "doctor" are names of files.
  app.require_subcommand(0, 1);
  const int status = parse(app, argc, argv, chosen);
  return chosen && status == 0 ? finish(chosen()) : status;
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error like any other: EFBIG
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    complain("there is not enough memory");
  } catch (const std::filesystem::filesystem_error& e) {
    complain("'" + e.path1().string() + "': " + e.code().message());
  } catch (const std::exception& e) {
    complain(e.what());
  }
  return failed;
}
