// The weir command. Exit status: 0 done; 1 something failed, and a sentence on standard error says
// what; 2 the command line was not understood.
//
//   bench.cc         how fast a disk is with each driver
//   cp.cc            copies files
//   doctor.cc        what this machine and a file system offer
//   get.cc, put.cc, send.cc   ask a daemon for files; daemon_client.* is what they share
//   command_line.*   which of these, and how it is asked for
//   serve.cc         the daemon; daemon_life.* its process
//   top.cc           what a daemon is doing; top/ is what that is made of
//   file_system.*    tries what a file system offers, for the doctor and for cp

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>

#include "command_line.hpp"

namespace {

using weir::tools::action;
using weir::tools::failed;

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

int run(int argc, char** argv) {
  action chosen;
  CLI::App app("Asynchronous file I/O, from the command line", "weir");
  weir::tools::describe_command(app, chosen);
  const auto understood = weir::tools::understand(app, argc, argv, chosen);
  std::fputs(understood.complaint.c_str(), stderr);
  if (understood.status != 0) return understood.status;
  if (understood.answer.empty()) return finish(chosen());
  std::fputs(understood.answer.c_str(), stdout);
  return finish(0);
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
