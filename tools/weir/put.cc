#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "daemon_client.hpp"
#include "failures.hpp"
#include "interrupts.hpp"
#include "progress.hpp"
#include "pump.hpp"
#include "subcommands.hpp"

namespace weir::tools {
namespace {

constexpr auto command_name = "weir put";

struct put_arguments {
  daemon_place daemon;
  std::string source;
  std::string path;
  bool durable = false;
  bool exclusive = false;
};

unsigned flags_of(const put_arguments& asked) {
  unsigned flags = WEIR_CREATE;
  flags |= asked.exclusive ? WEIR_EXCLUSIVE : WEIR_TRUNCATE;
  return asked.durable ? flags | WEIR_DURABLE : flags;
}

/// What is put: a file, of which it is known how long it is, or a stream.
struct source {
  descriptor own;  ///< none: standard input
  std::uint64_t length = WEIR_TO_THE_END;
  mode_t mode = 0666;
  int error = 0;

  int fd() const noexcept { return own ? own.get() : STDIN_FILENO; }
};

source opened(const std::string& name) {
  source made{.own = name == "-" ? descriptor()
                                 : descriptor(::open(name.c_str(), O_RDONLY | O_CLOEXEC))};
  if (name != "-" && !made.own) return {.error = made.own.error()};
  struct stat about{};
  if (::fstat(made.fd(), &about) != 0) return {.error = errno};
  if (S_ISDIR(about.st_mode)) return {.error = EISDIR};
  if (name != "-" && S_ISREG(about.st_mode)) {
    made.length = static_cast<std::uint64_t>(about.st_size);
    made.mode = about.st_mode & 0777;
  }
  return made;
}

/// The pipe between the source and the daemon. Its length is told to the daemon where it is known:
/// what ends before is then no whole file.
struct between {
  descriptor read;
  descriptor write;
};

std::expected<between, std::error_code> make_between() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::unexpected(last_error());
  return between{.read = descriptor(ends[0]), .write = descriptor(ends[1])};
}

std::string sentence(const put_arguments& asked, const std::error_code& why) {
  return "cannot put " + in_quotes(asked.path) + ": " + why.message();
}

int complain_of(const put_arguments& asked, const transfer_outcome& done) {
  return complain(command_name, sentence(asked, done.error) + "; it ended after " +
                                    std::to_string(done.bytes) + " bytes");
}

/// The daemon's word is the last: it alone knows what has arrived. But it cannot know that the
/// source has failed, nor that somebody has pressed Ctrl-C: to it, both are an end.
int move_all(const put_arguments& asked, const source& from, between& pipe, int connection,
             daemon_request& request, std::uint64_t id) {
  progress shown;
  if (from.length != WEIR_TO_THE_END) shown.expect(1, from.length, true);
  const pumped filled = pump(from.fd(), pipe.write.get(), from.length, [&](std::uint64_t bytes) {
    shown.add_bytes(bytes);
    return !interrupted;
  });
  shown.clear();
  const bool source_failed = filled.error && filled.at_input;
  // One that has ended by itself meanwhile is not there any more, and that is as good.
  if (interrupted || source_failed) static_cast<void>(::weir_daemon_cancel(connection, id));
  if (interrupted) return end_by_signal();
  pipe.write.close();
  const transfer_outcome done = request.to_the_end(always);
  if (source_failed) {
    return complain(command_name,
                    "cannot read " + in_quotes(asked.source) + ": " + filled.error.message());
  }
  return done.error ? complain_of(asked, done) : 0;
}

int put(const put_arguments& asked) {
  ::signal(SIGPIPE, SIG_IGN);
  const source from = opened(asked.source);
  if (from.error != 0) {
    return complain(command_name, "cannot read " + in_quotes(asked.source) + ": " +
                                      std::system_category().message(from.error));
  }
  const auto connection = connect_to(asked.daemon);
  if (!connection) return complain(command_name, connection.error());
  auto pipe = make_between();
  if (!pipe) return complain(command_name, sentence(asked, pipe.error()));
  daemon_request request(
      *connection, ::weir_daemon_receive(connection->get(), asked.path.c_str(), pipe->read.get(), 0,
                                         from.length, flags_of(asked), from.mode));
  pipe->read.close();  // so that a daemon which will not read on is noticed
  const auto information = request.information();
  if (!information) return complain(command_name, sentence(asked, information.error()));
  listen_for_interrupts();
  return move_all(asked, from, *pipe, connection->get(), request, information->id);
}

}  // namespace

void add_put(CLI::App& app, action& chosen) {
  CLI::App* put_command =
      app.add_subcommand("put", "Put a file where a daemon serves it, if it lets clients write");
  auto asked = std::make_shared<put_arguments>();
  add_daemon_place(*put_command, asked->daemon);
  put_command->add_option("FILE", asked->source, "What to put; - for standard input")
      ->option_text("FILE|-")
      ->required();
  put_command->add_option("PATH", asked->path, "Its name there, relative to the daemon's root")
      ->option_text("PATH")
      ->required();
  put_command->add_flag("--durable", asked->durable, "Return when it is on the disk");
  put_command->add_flag("--exclusive", asked->exclusive, "Fail where there is such a file already");
  put_command->callback([asked, &chosen] { chosen = [asked] { return put(*asked); }; });
}

}  // namespace weir::tools
