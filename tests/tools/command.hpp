#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace weir::test {

/// How a command ended, and what it said.
struct outcome {
  int exit_code = -1;  ///< -1: it was ended by a signal
  int signal = 0;
  std::string out;
  std::string err;
};

struct command_options {
  std::string_view input;             ///< standard input
  std::string cwd;                    ///< "": ours
  std::vector<std::string> env;       ///< "NAME=value", besides ours; WEIR_DRIVER is not ours
  std::string out_to;                 ///< a file to write standard output to, in place of `out`
  std::function<void()> before_exec;  ///< in the child: what fork(2) allows there
};

/// The weir command, started. Its streams are files in memory, so neither side waits for the other
/// to read.
class running_command {
 public:
  explicit running_command(std::vector<std::string> args, const command_options& options = {})
      : in_(memory_file()), out_(memory_file()), err_(memory_file()) {
    args.insert(args.begin(), WEIR_COMMAND);
    const std::vector<char*> argv = pointers_to(args);
    std::vector<std::string> environment = environment_with(options.env);
    const std::vector<char*> envp = pointers_to(environment);
    give_input(options.input);
    child_ = ::fork();
    if (child_ < 0) throw std::system_error(errno, std::system_category(), "fork");
    if (child_ == 0) become(argv, envp, options);
  }
  running_command(const running_command&) = delete;
  running_command& operator=(const running_command&) = delete;
  ~running_command() {
    if (child_ > 0) {
      kill(SIGKILL);
      static_cast<void>(wait());
    }
    for (const int fd : {in_, out_, err_}) ::close(fd);
  }

  pid_t pid() const noexcept { return child_; }
  void kill(int signal) const noexcept { ::kill(child_, signal); }

  outcome wait() {
    int status = 0;
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
    }
    child_ = -1;
    return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
            .out = contents(out_),
            .err = contents(err_)};
  }

 private:
  static int memory_file() {
    const int fd = ::memfd_create("weir-test", MFD_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::system_category(), "memfd_create");
    return fd;
  }

  static std::vector<char*> pointers_to(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    pointers.reserve(words.size() + 1);
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
  }

  // Of two values of one name, getenv(3) finds the first.
  static std::vector<std::string> environment_with(std::vector<std::string> added) {
    for (char** each = environ; *each != nullptr; ++each) {
      const std::string_view variable = *each;
      if (!variable.starts_with("WEIR_DRIVER=")) added.emplace_back(variable);
    }
    return added;
  }

  void give_input(std::string_view input) const {
    if (::write(in_, input.data(), input.size()) != static_cast<ssize_t>(input.size())) {
      throw std::system_error(errno, std::system_category(), "write");
    }
    ::lseek(in_, 0, SEEK_SET);
  }

  // In the child.
  [[noreturn]] void become(const std::vector<char*>& argv, const std::vector<char*>& envp,
                           const command_options& options) const {
    constexpr int could_not = 127;
    int out = out_;
    if (!options.out_to.empty()) {
      out = ::open(options.out_to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    const bool ready = ::dup2(in_, STDIN_FILENO) >= 0 && ::dup2(out, STDOUT_FILENO) >= 0 &&
                       ::dup2(err_, STDERR_FILENO) >= 0 &&
                       (options.cwd.empty() || ::chdir(options.cwd.c_str()) == 0);
    if (!ready) ::_exit(could_not);
    // Of tests in a shell's background Ctrl-C is ignored, and whom they start inherits that.
    ::signal(SIGINT, SIG_DFL);
    if (options.before_exec) options.before_exec();
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(could_not);
  }

  static std::string contents(int fd) {
    struct stat about{};
    ::fstat(fd, &about);
    std::string text(static_cast<std::size_t>(about.st_size), '\0');
    const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }

  int in_;
  int out_;
  int err_;
  pid_t child_ = -1;
};

/// Runs `weir ARGS…` to its end.
inline outcome run(std::vector<std::string> args, const command_options& options = {}) {
  return running_command(std::move(args), options).wait();
}

}  // namespace weir::test
