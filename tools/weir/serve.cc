// weir serve: the daemon as a process. What it serves is src/daemon's business; here are its
// command line, its socket, and its end by a signal.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "subcommands.hpp"
#include "weir/daemon.hpp"
#include "weir/weir.hpp"

namespace weir::tools {
namespace {

struct serve_arguments {
  std::string root;
  std::string name = "default";
  std::string socket;
  std::string driver;
  std::string metrics;
  unsigned queue_depth = 256;
  unsigned open_timeout_ms = 30'000;
  bool read_only = false;
  daemon_options daemon;
};

int complain(const std::string& what, const std::error_code& why) {
  std::fprintf(stderr, "weir serve: %s: %s\n", what.c_str(), why.message().c_str());
  return 1;
}

std::error_code last_error() { return {errno, std::system_category()}; }

/// Owns a descriptor.
class descriptor {
 public:
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

// Each transfer has a few, and what is not allowed to be used helps nobody.
void use_all_descriptors() {
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return;
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
}

// --- signals -------------------------------------------------------------------------------------

// Before there are other threads: they leave these signals alone as well, so that only the
// descriptor tells of them.
int signals_as_descriptor() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  sigset_t ending;
  ::sigemptyset(&ending);
  ::sigaddset(&ending, SIGTERM);
  ::sigaddset(&ending, SIGINT);
  if (::sigprocmask(SIG_BLOCK, &ending, nullptr) != 0) return -1;
  return ::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
}

// The first lets everybody finish; the second does not.
task<> end_by_signals(io_context& context, daemon_server& server, int signals,
                      std::stop_token over) {
  bool draining = false;
  while (auto readable = co_await with_stop(context.poll(signals, POLLIN), over)) {
    signalfd_siginfo heard{};
    if (::read(signals, &heard, sizeof heard) != sizeof heard) continue;
    draining ? server.stop() : server.drain();
    draining = true;
  }
}

task<> serve_to_the_end(daemon_server& server, std::stop_source& over) {
  co_await server.serve();
  over.request_stop();
}

task<> run(io_context& context, daemon_server& server, int signals) {
  std::stop_source over;
  co_await when_all(serve_to_the_end(server, over),
                    end_by_signals(context, server, signals, over.get_token()));
}

// --- the command ---------------------------------------------------------------------------------

result<std::string> socket_of(const serve_arguments& arguments) {
  if (!arguments.socket.empty()) return arguments.socket;
  return daemon_socket_path(arguments.name);
}

// Another one in this place is not a failure of the system's, but has a sentence of its own.
int complain_of_socket(const std::string& path, const std::error_code& why) {
  if (why != std::errc::address_in_use) return complain("'" + path + "'", why);
  std::fprintf(stderr, "weir serve: already running: a daemon listens at '%s'\n", path.c_str());
  return 1;
}

int serve(const serve_arguments& arguments) {
  const descriptor root(::open(arguments.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return complain("'" + arguments.root + "'", last_error());
  const auto path = socket_of(arguments);
  if (!path) return complain("'" + arguments.name + "'", path.error());
  const descriptor signals(signals_as_descriptor());
  if (!signals) return complain("signals", last_error());
  use_all_descriptors();

  daemon_options options = arguments.daemon;
  options.root = root.get();
  options.open_timeout = std::chrono::milliseconds(arguments.open_timeout_ms);
  auto socket = daemon_socket::listen(*path, !options.allowed_uids.empty());
  if (!socket) return complain_of_socket(*path, socket.error());
  auto driver = open_driver({.name = arguments.driver, .queue_depth = arguments.queue_depth});
  if (!driver) return complain("no driver", driver.error());

  io_context context(std::move(*driver));
  daemon_server server(context, socket->release(), std::move(options));
  std::printf("serving '%s' at '%s'\n", arguments.root.c_str(), path->c_str());
  std::fflush(stdout);
  context.run(run(context, server, signals.get()));
  return 0;
}

void add_limits(CLI::App& serve, serve_arguments& arguments) {
  serve.add_option("--max-transfers", arguments.daemon.max_transfers, "Transfers at a time")
      ->type_name("N")
      ->check(CLI::Range(1U, 1U << 20));
  serve
      .add_option("--max-transfers-per-client", arguments.daemon.max_transfers_per_client,
                  "The same, of one connection")
      ->type_name("N")
      ->check(CLI::Range(1U, 1U << 20));
  serve.add_option("--max-clients", arguments.daemon.max_clients, "Connections at a time")
      ->type_name("N")
      ->check(CLI::Range(1U, 1U << 20));
  serve
      .add_option("--open-timeout", arguments.open_timeout_ms,
                  "How long an opened file waits to be sent, in milliseconds")
      ->type_name("MS")
      ->check(CLI::Range(1U, 3'600'000U));
}

void add_permissions(CLI::App& serve, serve_arguments& arguments) {
  serve
      .add_option("--allow-uid", arguments.daemon.allowed_uids,
                  "A user who is served besides the daemon's own; may be repeated")
      ->type_name("UID");
  auto* write = serve.add_flag("--allow-write", arguments.daemon.allow_write,
                               "Clients may write to files, and create them");
  serve.add_flag("--read-only", arguments.read_only, "They may not, which is the default")
      ->excludes(write);
}

}  // namespace

void add_serve(CLI::App& app, action& chosen) {
  CLI::App* serve_command =
      app.add_subcommand("serve", "Serve a directory's files to other processes");
  auto arguments = std::make_shared<serve_arguments>();
  serve_command->add_option("--root", arguments->root, "What is served: nothing outside it")
      ->type_name("DIR")
      ->required();
  auto* name =
      serve_command->add_option("--name", arguments->name, "The daemon's name")->type_name("NAME");
  serve_command->add_option("--socket", arguments->socket, "Where it listens, instead of by name")
      ->type_name("PATH")
      ->excludes(name);
  add_limits(*serve_command, *arguments);
  add_permissions(*serve_command, *arguments);
  serve_command
      ->add_option("--driver", arguments->driver,
                   "uring, linux_aio, threads or sync; the best available by default")
      ->type_name("D");
  serve_command->add_option("--queue-depth", arguments->queue_depth, "Operations in flight at most")
      ->type_name("N")
      ->check(CLI::Range(1U, 16384U));
  serve_command->callback(
      [arguments, &chosen] { chosen = [arguments] { return serve(*arguments); }; });
}

}  // namespace weir::tools
