// Serves the files of a directory by HTTP/1.1: weir in an epoll loop, a thread and a context for
// each processor that it is to use.
//
//     http_file_server DIRECTORY --port 8080
//
//   main.cc            the command line, threads, signals
//   server.*           one thread's server: listens, accepts, ends
//   event_loop.*       its loop: sockets, files, deadlines, turns
//   connection.*       one client: receives requests, chooses answers, sends them
//   client_socket.*    its socket, awaited
//   site.hpp           what the connections of one thread share
//   file_cache.*       files that are open already
//   page_cache.*       what of a file is in memory
//   request.*          a request's head, by Boost.Beast's parser
//   target.*           from a request-target to a path
//   conditions.*       304, 206, 412, 416: validators and ranges
//   response.*         the text of responses
//   listing.*          a directory as a page
//   http_date.*, media_type.*
//   stall_meter.*      how late the loop has been at worst

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "server.hpp"

namespace {

using http_file_server::options;
using http_file_server::server;
using http_file_server::shared_descriptors;

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

int complain(const std::string& what, const std::error_code& error) {
  std::fprintf(stderr, "http_file_server: %s: %s\n", what.c_str(), error.message().c_str());
  return 1;
}

void describe(CLI::App& app, options& settings) {
  using std::chrono::milliseconds;
  const auto as_duration = [&](const char* name, milliseconds& value, const char* meaning) {
    app.add_option_function<long>(
           name, [&value](long count) { value = milliseconds(count); }, meaning)
        ->default_str(std::to_string(value.count()))
        ->check(CLI::NonNegativeNumber);
  };
  app.add_option("directory", settings.root, "What to serve")->required();
  app.add_option("--address", settings.address, "Where to listen")->capture_default_str();
  app.add_option("--port", settings.port, "0: any that is free")->capture_default_str();
  app.add_option("--threads", settings.threads, "With a loop each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--connections", settings.connections, "The most at once, of each thread")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--open-files", settings.open_files, "Kept open, by each thread")
      ->capture_default_str();
  as_duration("--timeout", settings.timeout, "Of a client that does nothing, in ms");
  as_duration("--grace", settings.grace, "To send what has begun, at the end, in ms");
  as_duration("--revalidate", settings.revalidate, "How long an open file is believed, in ms");
  app.add_flag("--list", settings.list_directories, "List directories without an index.html");
  app.add_flag("--measure-stalls", settings.measure_stalls, "Say at the end how late a loop was");
}

// Each connection and each open file takes one; and one more of each while it is looked up anew.
std::size_t descriptors_of(const options& settings) noexcept {
  return settings.threads * (2 * settings.connections + settings.open_files) + 64;
}

// The kernel doubles a table of descriptors that is full, and where threads share it, as kernel
// workers do, it waits for RCU: a loop would stand still for milliseconds. So it is made large
// enough while there is one thread. A limit that is too low is met later, by whom it concerns.
void reserve_descriptors(const options& settings) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const auto last = std::min<std::size_t>(descriptors_of(settings), limit.rlim_cur - 1);
  const int high = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, static_cast<int>(last));
  if (high >= 0) ::close(high);
}

// Never read, so that it stays readable for every thread. SIGPIPE, because sendfile(2) has no flag
// that stands for "say EPIPE instead".
int signals_to_end() noexcept {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return -1;
  return ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/// One thread's context and server.
class worker {
 public:
  worker(std::unique_ptr<weir::driver> driver, const options& settings,
         const shared_descriptors& shared)
      : context_(std::move(driver)), server_(context_, settings, shared) {}

  server& serving() noexcept { return server_; }
  void run() { outcome_ = server_.run(); }
  const weir::result<void>& outcome() const noexcept { return outcome_; }

 private:
  weir::io_context context_;
  server server_;
  weir::result<void> outcome_;
};

using workers = std::vector<std::unique_ptr<worker>>;

int open_workers(workers& all, options settings, const shared_descriptors& shared) {
  for (unsigned i = 0; i < settings.threads; ++i) {
    auto driver = weir::open_driver();
    if (!driver) return complain("no driver", driver.error());
    all.push_back(std::make_unique<worker>(std::move(*driver), settings, shared));
    if (auto opened = all.back()->serving().open(); !opened) {
      return complain(settings.address, opened.error());
    }
    const auto port = all.back()->serving().port();
    if (!port) return complain(settings.address, port.error());
    settings.port = *port;  // the others share the one that the first was given
  }
  std::printf("http://%s:%u/ serves %s\n", settings.address.c_str(), unsigned{settings.port},
              settings.root.c_str());
  return std::fflush(stdout) == 0 ? 0 : complain("standard output", last_error());
}

int run(const workers& all, const options& settings) {
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < all.size(); ++i) {
      threads.emplace_back([&each = *all[i]] { each.run(); });
    }
    all.front()->run();
  }
  std::chrono::duration<double, std::milli> worst{0};
  int status = 0;
  for (const auto& each : all) {
    worst = std::max<decltype(worst)>(worst, each->serving().worst_stall());
    if (!each->outcome()) status = complain("the loop", each->outcome().error());
  }
  if (settings.measure_stalls) std::printf("worst stall: %.3f ms\n", worst.count());
  return status;
}

}  // namespace

int main(int count, char** arguments) {
  options settings;
  CLI::App app("Serves the files of a directory by HTTP/1.1.", "http_file_server");
  describe(app, settings);
  CLI11_PARSE(app, count, arguments);

  reserve_descriptors(settings);
  const shared_descriptors shared{
      .root = ::open(settings.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC),
      .ending = signals_to_end(),
  };
  if (shared.root < 0) return complain(settings.root, last_error());
  if (shared.ending < 0) return complain("signals", last_error());
  workers all;
  if (const int failed = open_workers(all, settings, shared)) return failed;
  return run(all, settings);
}
