#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon_client.hpp"
#include "failures.hpp"
#include "interrupts.hpp"
#include "subcommands.hpp"
#include "top/screen.hpp"
#include "top/view.hpp"

namespace weir::tools {
namespace {

constexpr auto command_name = "weir top";

struct top_arguments {
  daemon_place daemon;
  double interval = 1;
  bool once = false;
  bool json = false;
};

using snapshot_or_error = std::expected<top::snapshot, std::string>;

/// All bytes up to the end.
std::expected<std::string, std::error_code> read_all(int fd) {
  std::string text;
  std::array<char, 16384> piece{};
  for (;;) {
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno != EINTR) return std::unexpected(last_error());
    if (got == 0) return text;
    if (got > 0) text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

snapshot_or_error take_snapshot(const descriptor& connection) {
  const int asked = ::weir_daemon_metrics(connection.get(), 0);
  if (asked < 0) {
    return std::unexpected("the daemon went away: " + std::system_category().message(-asked));
  }
  const descriptor channel(asked);
  const auto text = read_all(channel.get());
  if (!text) return std::unexpected("cannot read what it counts: " + text.error().message());
  if (text->empty()) return std::unexpected("the daemon went away, or does not serve this user");
  return top::snapshot{.taken = std::chrono::steady_clock::now(),
                       .samples = top::parse_samples(*text)};
}

std::chrono::milliseconds interval_of(const top_arguments& asked) {
  return std::chrono::milliseconds(static_cast<int>(asked.interval * 1000));
}

void print(const top_arguments& asked, const top::snapshot& before, const top::snapshot& now) {
  if (asked.json) {
    std::puts(top::as_json(before, now).c_str());
  } else {
    for (const std::string& line : top::shown(before, now)) std::puts(line.c_str());
    if (!asked.once) std::puts("");
  }
  std::fflush(stdout);
}

// Where a signal comes meanwhile, the pause ends.
void pause_for(std::chrono::milliseconds interval) {
  static_cast<void>(::poll(nullptr, 0, static_cast<int>(interval.count())));
}

/// Lines, as long as there is somebody to read them.
int follow_in_lines(const top_arguments& asked, const descriptor& connection,
                    top::snapshot before) {
  while (!interrupted) {
    pause_for(interval_of(asked));
    if (interrupted) break;
    auto now = take_snapshot(connection);
    if (!now) return complain(command_name, now.error());
    print(asked, before, *now);
    if (asked.once || std::ferror(stdout) != 0) return 0;
    before = std::move(*now);
  }
  return end_by_signal();
}

/// The sentence of a failure is for the terminal as it was before.
int follow_on_screen(const top_arguments& asked, const descriptor& connection,
                     top::snapshot before) {
  std::optional<std::string> failed;
  {
    top::screen terminal;
    bool over = false;
    while (!over && !interrupted && !failed) {
      auto now = take_snapshot(connection);
      if (!now) {
        failed = now.error();
        break;
      }
      terminal.show(top::shown(before, *now));
      before = std::move(*now);
      over = top::screen::wait_for_end(interval_of(asked));
    }
  }
  if (failed) return complain(command_name, *failed);
  return interrupted ? end_by_signal() : 0;
}

int watch(const top_arguments& asked) {
  const auto connection = connect_to(asked.daemon);
  if (!connection) return complain(command_name, connection.error());
  auto first = take_snapshot(*connection);
  if (!first) return complain(command_name, first.error());
  listen_for_interrupts();
  const bool in_lines = asked.once || asked.json || ::isatty(STDOUT_FILENO) != 1;
  return in_lines ? follow_in_lines(asked, *connection, std::move(*first))
                  : follow_on_screen(asked, *connection, std::move(*first));
}

}  // namespace

void add_top(CLI::App& app, action& chosen) {
  CLI::App* top_command = app.add_subcommand("top", "Show what a daemon is doing");
  auto asked = std::make_shared<top_arguments>();
  add_daemon_place(*top_command, asked->daemon);
  top_command->add_option("--interval", asked->interval, "Seconds between two looks; 1 by default")
      ->type_name("S")
      ->check(CLI::Range(0.05, 3600.0));
  top_command->add_flag("--once", asked->once, "Show one interval, in lines, and end");
  top_command->add_flag("--json", asked->json, "The same, an object for each interval");
  top_command->callback([asked, &chosen] { chosen = [asked] { return watch(*asked); }; });
}

}  // namespace weir::tools
