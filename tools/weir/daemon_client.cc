#include "daemon_client.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "failures.hpp"
#include "weir/result.hpp"

namespace weir::tools {
namespace {

std::error_code code_of(int negative_errno) { return {-negative_errno, std::system_category()}; }

/// Takes over a descriptor that is there.
descriptor owned(int fd) noexcept { return fd >= 0 ? descriptor(fd) : descriptor(); }

}  // namespace

void add_daemon_place(CLI::App& command, daemon_place& place) {
  auto* const name =
      command.add_option("--name", place.name, "The daemon's name")->type_name("NAME");
  command.add_option("--socket", place.socket, "Its socket, instead of its name")
      ->type_name("PATH")
      ->excludes(name);
}

void add_range(CLI::App& command, file_range& range) {
  command.add_option("--offset", range.offset, "Where to begin: bytes, or 4k, 1M…")
      ->type_name("N")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--length", range.length, "How much; to the end by default")
      ->type_name("N")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  command.add_flag("--lock", range.lock, "Fail where another holds a lock on the range");
}

int complain(const char* command, const std::string& sentence) {
  std::fprintf(stderr, "%s: %s\n", command, sentence.c_str());
  return 1;
}

std::expected<descriptor, std::string> connect_to(const daemon_place& place) {
  // A socket's name without a directory is in this one.
  const bool in_this_directory =
      !place.socket.empty() && place.socket.find('/') == std::string::npos;
  const int connection =
      ::weir_connect((in_this_directory ? "./" + place.socket : place.place()).c_str());
  if (connection >= 0) return descriptor(connection);
  const bool nobody = connection == -ENOENT || connection == -ECONNREFUSED;
  return std::unexpected("no daemon at " + in_quotes(place.place()) + ": " +
                         code_of(connection).message() + (nobody ? "; weir serve starts one" : ""));
}

daemon_request::daemon_request(const descriptor& connection, int channel) noexcept
    : connection_(connection), channel_(owned(channel)), refused_(channel < 0 ? channel : 0) {}

// A connection that the daemon has closed says why, when it is asked again.
std::error_code daemon_request::why_lost() const {
  const descriptor again = owned(::weir_daemon_info(connection_.get(), 0));
  const int error = again ? -EPIPE : ::weir_daemon_info(connection_.get(), 0);
  return error == -EACCES ? code_of(error) : make_error_code(errc::daemon_lost);
}

std::error_code daemon_request::read_answer(weir_answer& answer,
                                            const std::function<bool()>& go_on) const {
  auto* const bytes = reinterpret_cast<char*>(&answer);
  std::size_t filled = 0;
  while (filled < sizeof answer) {
    const ssize_t got = ::read(channel_.get(), bytes + filled, sizeof answer - filled);
    if (got < 0 && errno != EINTR) return last_error();
    if (got == 0) return why_lost();
    if (got > 0) filled += static_cast<std::size_t>(got);
    if (!go_on()) return std::make_error_code(std::errc::interrupted);
  }
  return {};
}

std::expected<weir_file_info, std::error_code> daemon_request::information() {
  if (refused_ != 0) return std::unexpected(code_of(refused_));
  weir_answer answer{};
  if (const auto error = read_answer(answer, [] { return true; })) return std::unexpected(error);
  weir_file_info information{};
  const int parsed = ::weir_parse_file_info(&answer, sizeof answer, &information);
  if (parsed < 0) return std::unexpected(code_of(parsed));
  return information;
}

transfer_outcome daemon_request::to_the_end(const std::function<bool(std::uint64_t)>& moved) {
  transfer_outcome so_far;
  while (true) {
    weir_answer answer{};
    so_far.error = read_answer(answer, [&] { return moved(0); });
    if (so_far.error) return so_far;
    weir_transfer_status status{};
    const int parsed = ::weir_parse_transfer_status(&answer, sizeof answer, &status);
    if (parsed < 0) so_far.error = code_of(parsed);
    if (parsed < 0) return so_far;
    so_far.bytes = status.total;
    if (status.status < 0) so_far.error = code_of(status.status);
    const bool goes_on = moved(status.bytes);
    if (status.kind == WEIR_ENDED) return so_far;
    if (!goes_on) so_far.error = std::make_error_code(std::errc::interrupted);
    if (!goes_on) return so_far;
  }
}

bool always(std::uint64_t /*bytes*/) { return true; }

}  // namespace weir::tools
