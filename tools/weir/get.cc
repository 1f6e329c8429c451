#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
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

constexpr auto command_name = "weir get";

struct get_arguments {
  daemon_place daemon;
  std::string path;
  std::string output = "-";
  file_range range;
};

/// Where the bytes go: standard output, something that is there already, or a new file that gets
/// its name when it is whole, so that what is interrupted leaves the old one as it was.
class output {
 public:
  /// What cannot be opened says so in `error`.
  explicit output(const std::string& name) : name_(name) {
    if (name != "-") open();
  }
  output(const output&) = delete;
  output& operator=(const output&) = delete;
  ~output() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  std::error_code error() const { return {error_, std::system_category()}; }
  int fd() const noexcept { return own_ ? own_->get() : STDOUT_FILENO; }

  /// It is whole.
  std::error_code keep() {
    if (temporary_.empty()) return {};
    if (::rename(temporary_.c_str(), name_.c_str()) != 0) return last_error();
    temporary_.clear();
    return {};
  }

 private:
  void open() {
    struct stat about{};
    if (::stat(name_.c_str(), &about) != 0) return make_temporary(0666 & ~mask());
    if (S_ISREG(about.st_mode)) {
      name_ = std::filesystem::canonical(name_).string();  // what a symbolic link leads to
      return make_temporary(about.st_mode & 07777);
    }
    own_ = std::make_unique<descriptor>(::open(name_.c_str(), O_WRONLY | O_CLOEXEC));
    error_ = own_->error();
  }

  static mode_t mask() noexcept {
    const mode_t now = ::umask(0);
    ::umask(now);
    return now;
  }

  void make_temporary(mode_t mode) {
    std::string pattern = name_ + ".weir-XXXXXX";
    own_ = std::make_unique<descriptor>(::mkostemp(pattern.data(), O_CLOEXEC));
    error_ = own_->error();
    if (!*own_) return;
    temporary_ = pattern;
    if (::fchmod(own_->get(), mode) != 0) error_ = errno;
  }

  std::string name_;
  std::string temporary_;
  std::unique_ptr<descriptor> own_;
  int error_ = 0;
};

std::string sentence(const get_arguments& asked, const std::string& why) {
  return "cannot get " + in_quotes(asked.path) + ": " + why;
}

int complain_of(const get_arguments& asked, const pumped& done, std::uint64_t expected) {
  if (done.error && !done.at_input) {
    const std::string where = asked.output == "-" ? "standard output" : in_quotes(asked.output);
    return complain(command_name, "cannot write to " + where + ": " + done.error.message());
  }
  const std::string why = done.error ? done.error.message() : "the daemon could not read on";
  return complain(command_name, sentence(asked, why) + "; it ended after " +
                                    std::to_string(done.bytes) + " of " + std::to_string(expected) +
                                    " bytes");
}

int get(const get_arguments& asked) {
  ::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is a failure with a sentence
  const auto connection = connect_to(asked.daemon);
  if (!connection) return complain(command_name, connection.error());
  const file_range& part = asked.range;
  daemon_request request(*connection, ::weir_daemon_read(connection->get(), asked.path.c_str(),
                                                         part.offset, part.length, part.flags()));
  const auto information = request.information();
  if (!information) return complain(command_name, sentence(asked, information.error().message()));

  output to(asked.output);
  if (const auto error = to.error()) {
    return complain(command_name,
                    "cannot write " + in_quotes(asked.output) + ": " + error.message());
  }
  listen_for_interrupts();
  progress shown;
  shown.expect(1, information->length, true);
  const pumped done = pump(request.bytes(), to.fd(), information->length, [&](std::uint64_t bytes) {
    shown.add_bytes(bytes);
    return !interrupted;
  });
  shown.clear();
  if (interrupted) return -1;
  if (done.bytes != information->length) return complain_of(asked, done, information->length);
  if (const auto error = to.keep()) {
    return complain(command_name,
                    "cannot name " + in_quotes(asked.output) + ": " + error.message());
  }
  return 0;
}

// By the signal only when all that was temporary is gone.
int get_or_end(const get_arguments& asked) {
  const int status = get(asked);
  return status < 0 ? end_by_signal() : status;
}

}  // namespace

void add_get(CLI::App& app, action& chosen) {
  CLI::App* get_command = app.add_subcommand("get", "Get a file, or a part of it, from a daemon");
  auto asked = std::make_shared<get_arguments>();
  add_daemon_place(*get_command, asked->daemon);
  get_command->add_option("PATH", asked->path, "The file, relative to the daemon's root")
      ->option_text("PATH")
      ->required();
  get_command->add_option("-o,--output", asked->output, "Where to; standard output by default")
      ->type_name("FILE|-");
  add_range(*get_command, asked->range);
  get_command->callback([asked, &chosen] { chosen = [asked] { return get_or_end(*asked); }; });
}

}  // namespace weir::tools
