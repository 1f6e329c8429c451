// weir serve: the daemon as a process. What it serves is src/daemon's business; here are its
// command line, its socket, and its end by a signal.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon_life.hpp"
#include "metrics_file.hpp"
#include "subcommands.hpp"
#include "temporary_file.hpp"
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
  unsigned threads = 0;
  unsigned open_timeout_ms = 30'000;
  bool read_only = false;
  daemon_options daemon;
  life_options life;
};

std::error_code error_of(const descriptor& refused) {
  return {refused.error(), std::system_category()};
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
task<> end_by_signals(io_context& context, daemon_server& server, const daemon_life& life,
                      int signals, std::stop_token over) {
  bool draining = false;
  while (auto readable = co_await with_stop(context.poll(signals, POLLIN), over)) {
    signalfd_siginfo heard{};
    if (::read(signals, &heard, sizeof heard) != sizeof heard) continue;
    if (!draining) life.stopping();
    draining ? server.stop() : server.drain();
    draining = true;
  }
}

task<> serve_to_the_end(daemon_server& server, std::stop_source& over) {
  co_await server.serve();
  over.request_stop();
}

task<> keep_metrics(io_context& context, daemon_server& server, metrics_file* file,
                    std::stop_token over) {
  if (file != nullptr) co_await file->keep_up(context, server, std::move(over));
}

task<> run(io_context& context, daemon_server& server, const daemon_life& life, int signals,
           metrics_file* metrics) {
  std::stop_source over;
  co_await when_all(serve_to_the_end(server, over),
                    end_by_signals(context, server, life, signals, over.get_token()),
                    keep_metrics(context, server, metrics, over.get_token()));
}

// --- the command ---------------------------------------------------------------------------------

// A daemon leaves the directory that it was started in.
std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).string();
}

result<std::string> socket_of(const serve_arguments& arguments) {
  if (arguments.socket.empty()) return daemon_socket_path(arguments.name);
  return absolute(arguments.socket);
}

int failed(daemon_life& life, const std::string& what, const std::error_code& why) {
  return life.failed(what + ": " + why.message(), why.value());
}

/// What a daemon listens at: made by the service manager, who removes it, too; or its own.
struct listening {
  std::string path;  ///< of its own
  std::optional<daemon_socket> own;
  int socket = -1;
};

std::expected<listening, int> listen(const serve_arguments& arguments, daemon_life& life,
                                     std::string path) {
  if (const auto passed = life.activated_socket()) return listening{.path = {}, .socket = *passed};
  auto made = daemon_socket::listen(path, !arguments.daemon.allowed_uids.empty());
  // Another one in this place is not a failure of the system's, but has a sentence of its own.
  if (!made && made.error() == std::errc::address_in_use) {
    return std::unexpected(
        life.failed("already running: a daemon listens at '" + path + "'", made.error().value()));
  }
  if (!made) return std::unexpected(failed(life, "'" + path + "'", made.error()));
  const int socket = made->release();
  return listening{.path = std::move(path), .own = std::move(*made), .socket = socket};
}

int serve(const serve_arguments& arguments) {
  daemon_life life(arguments.life);
  const descriptor root(::open(arguments.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto path = socket_of(arguments);
  const std::string metrics_path = absolute(arguments.metrics);
  if (auto over = life.begin(root.get())) return *over;
  std::optional<metrics_file> metrics;
  if (!arguments.metrics.empty()) metrics.emplace(metrics_path);
  if (!root) return failed(life, "'" + arguments.root + "'", error_of(root));
  if (!path) return failed(life, "'" + arguments.name + "'", path.error());
  const descriptor signals(signals_as_descriptor());
  if (!signals) return failed(life, "signals", error_of(signals));
  const auto at = listen(arguments, life, *path);
  if (!at) return at.error();
  if (auto over = life.settle(root.get(), at->path)) return *over;

  auto driver = open_driver({.name = arguments.driver,
                             .queue_depth = arguments.queue_depth,
                             .threads = arguments.threads,
                             .restricted = !arguments.life.unconfined});
  if (!driver) return failed(life, "no driver", driver.error());
  io_context context(std::move(*driver));
  daemon_options options = arguments.daemon;
  options.root = root.get();
  options.open_timeout = std::chrono::milliseconds(arguments.open_timeout_ms);
  daemon_server server(context, at->socket, std::move(options));
  std::printf("serving '%s' at '%s'\n", arguments.root.c_str(), path->c_str());
  std::fflush(stdout);
  if (auto over = life.confine()) return *over;
  if (auto over = life.ready()) return *over;
  context.run(run(context, server, life, signals.get(), metrics ? &*metrics : nullptr));
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
  serve_command
      ->add_option("--threads", arguments->threads,
                   "Threads, of the kernel or of weir, for what cannot be done asynchronously")
      ->type_name("N")
      ->check(CLI::Range(1U, 1024U));
  serve_command
      ->add_option("--metrics", arguments->metrics,
                   "A file that is kept up to date with what was counted, for Prometheus")
      ->type_name("PATH");
  add_life_options(*serve_command, arguments->life);
  serve_command->callback(
      [arguments, &chosen] { chosen = [arguments] { return serve(*arguments); }; });
}

}  // namespace weir::tools
