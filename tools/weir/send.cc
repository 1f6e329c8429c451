#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon_client.hpp"
#include "failures.hpp"
#include "interrupts.hpp"
#include "progress.hpp"
#include "receiver.hpp"
#include "subcommands.hpp"

namespace weir::tools {
namespace {

constexpr auto command_name = "weir send";

struct send_arguments {
  daemon_place daemon;
  std::string path;
  std::string to;
  int to_fd = STDOUT_FILENO;
  file_range range;
};

std::string sentence(const send_arguments& asked, const std::error_code& why) {
  return "cannot send " + in_quotes(asked.path) + ": " + why.message();
}

int send_to(const send_arguments& asked, int receiver) {
  const auto connection = connect_to(asked.daemon);
  if (!connection) return complain(command_name, connection.error());
  const file_range& part = asked.range;
  daemon_request request(
      *connection, ::weir_daemon_send(connection->get(), asked.path.c_str(), receiver, part.offset,
                                      part.length, part.flags()));
  const auto information = request.information();
  if (!information) return complain(command_name, sentence(asked, information.error()));

  listen_for_interrupts();
  progress shown;
  shown.expect(1, information->length, true);
  const transfer_outcome done = request.to_the_end([&](std::uint64_t bytes) {
    shown.add_bytes(bytes);
    return !interrupted;
  });
  shown.clear();
  if (interrupted) return end_by_signal();  // the daemon hears of it by the connection's end
  if (!done.error) return 0;
  return complain(command_name, sentence(asked, done.error) + "; it ended after " +
                                    std::to_string(done.bytes) + " of " +
                                    std::to_string(information->length) + " bytes");
}

int send(const send_arguments& asked) {
  if (asked.to.empty()) return send_to(asked, asked.to_fd);
  ::signal(SIGPIPE, SIG_IGN);
  const auto receiver = connect_to_receiver(asked.to);
  if (!receiver) return complain(command_name, receiver.error());
  return send_to(asked, receiver->get());
}

}  // namespace

void add_send(CLI::App& app, action& chosen) {
  CLI::App* send_command =
      app.add_subcommand("send", "Let a daemon send a file to a socket, a pipe or a file");
  auto asked = std::make_shared<send_arguments>();
  add_daemon_place(*send_command, asked->daemon);
  send_command->add_option("PATH", asked->path, "The file, relative to the daemon's root")
      ->option_text("PATH")
      ->required();
  auto* const to_fd =
      send_command->add_option("--to-fd", asked->to_fd, "An open descriptor; 1 by default")
          ->type_name("N")
          ->check(CLI::NonNegativeNumber);
  send_command->add_option("--to", asked->to, "Somebody who listens, by a stream")
      ->type_name("HOST:PORT|unix:PATH")
      ->excludes(to_fd);
  add_range(*send_command, asked->range);
  send_command->callback([asked, &chosen] { chosen = [asked] { return send(*asked); }; });
}

}  // namespace weir::tools
