// The daemon as a child process, for C: started with a pipe on which it says that it is ready, or
// why not; asked to end, and waited for.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <expected>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "conversions.hpp"
#include "uninterrupted.hpp"
#include "weir/daemon.h"

using weir::detail::read_options;
using weir::detail::uninterrupted;
using weir::detail::without_exceptions;

namespace {

/// The descriptor that the child finds its pipe at.
constexpr int relay_at = 3;

std::vector<std::string> arguments_of(const weir_daemon_options& options) {
  std::vector<std::string> arguments{options.program != nullptr ? options.program : "weir", "serve",
                                     "--root", options.root};
  const auto add = [&](std::initializer_list<std::string> more) {
    arguments.insert(arguments.end(), more);
  };
  if (options.name != nullptr) add({"--name", options.name});
  if (options.socket_path != nullptr) add({"--socket", options.socket_path});
  if (options.max_transfers != 0) add({"--max-transfers", std::to_string(options.max_transfers)});
  if (options.open_timeout_ms != 0) {
    add({"--open-timeout", std::to_string(options.open_timeout_ms)});
  }
  if (options.allow_write != 0) add({"--allow-write"});
  add({"--ready-fd", std::to_string(relay_at)});
  for (const char* const* other = options.others; other != nullptr && *other != nullptr; ++other) {
    arguments.emplace_back(*other);
  }
  return arguments;
}

/// What posix_spawn(3) does in the child before it becomes the daemon.
class spawn_plan {
 public:
  explicit spawn_plan(int relay) noexcept {
    if (!keep(::posix_spawn_file_actions_init(&files_))) return;
    has_files_ = true;
    if (!keep(::posix_spawnattr_init(&attributes_))) return;
    has_attributes_ = true;
    keep(::posix_spawn_file_actions_adddup2(&files_, relay, relay_at));
    keep(::posix_spawn_file_actions_addclosefrom_np(&files_, relay_at + 1));
    keep(::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0));
    sigset_t signals;
    sigemptyset(&signals);
    keep(::posix_spawnattr_setsigmask(&attributes_, &signals));
    sigfillset(&signals);
    keep(::posix_spawnattr_setsigdefault(&attributes_, &signals));
    keep(::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  }
  spawn_plan(const spawn_plan&) = delete;
  spawn_plan& operator=(const spawn_plan&) = delete;
  ~spawn_plan() {
    if (has_files_) ::posix_spawn_file_actions_destroy(&files_);
    if (has_attributes_) ::posix_spawnattr_destroy(&attributes_);
  }

  /// The child's process, or an errno: also what became of looking the program up, and of exec.
  std::expected<pid_t, int> start(std::vector<std::string>& arguments) const {
    if (error_ != 0) return std::unexpected(error_);
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string& each : arguments) argv.push_back(each.data());
    argv.push_back(nullptr);
    pid_t child = -1;
    const int error =
        ::posix_spawnp(&child, argv[0], &files_, &attributes_, argv.data(), ::environ);
    if (error != 0) return std::unexpected(error);
    return child;
  }

 private:
  bool keep(int error) noexcept {
    if (error_ == 0) error_ = error;
    return error == 0;
  }

  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
  bool has_files_ = false;
  bool has_attributes_ = false;
  int error_ = 0;
};

int wait_for(pid_t child) noexcept {
  int status = 0;
  const pid_t ended = uninterrupted([&] { return ::waitpid(child, &status, 0); });
  return ended < 0 ? ended : status;
}

/// 0 when the child says that it is ready, its errno when it says that; none when it ends without
/// a word.
std::expected<int, int> hear(int relay) noexcept {
  int said = 0;
  // So little comes whole.
  const ssize_t got = uninterrupted([&] { return ::read(relay, &said, sizeof said); });
  if (got == sizeof said) return said;
  return std::unexpected(got < 0 ? static_cast<int>(-got) : 0);
}

/// The daemon's options were refused: its complaint is on standard error.
constexpr int usage_status = 2;

int spawn(const weir_daemon_options& options, pid_t& process) {
  std::array<int, 2> relay{};
  if (::pipe2(relay.data(), O_CLOEXEC) != 0) return -errno;
  std::vector<std::string> arguments = arguments_of(options);
  const auto child = spawn_plan(relay[1]).start(arguments);
  ::close(relay[1]);
  const auto said = child ? hear(relay[0]) : std::unexpected(0);
  ::close(relay[0]);
  if (!child) return -child.error();
  if (said == 0) {
    process = *child;
    return 0;
  }
  const int status = wait_for(*child);
  if (said == EADDRINUSE) return 0;  // one is running already
  if (said) return -*said;
  return WIFEXITED(status) && WEXITSTATUS(status) == usage_status ? -EINVAL : -EIO;
}

}  // namespace

extern "C" {

int weir_daemon_spawn(const struct weir_daemon_options* options, pid_t* process) {
  if (options == nullptr || process == nullptr) return -EINVAL;
  return without_exceptions([&] {
    weir_daemon_options known;
    if (const int error = read_options(options, known); error != 0) return error;
    const bool one_place = (known.name == nullptr) != (known.socket_path == nullptr);
    if (known.root == nullptr || !one_place || known.reserved != 0) return -EINVAL;
    *process = 0;
    return spawn(known, *process);
  });
}

int weir_daemon_shutdown(pid_t process) {
  const weir::detail::errno_kept kept;
  if (process <= 0) return -EINVAL;  // kill(2) would take it for several
  return ::kill(process, SIGTERM) == 0 ? wait_for(process) : -errno;
}

}  // extern "C"
