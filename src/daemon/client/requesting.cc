// The client in C++: requests that are awaited. What is asked is in client_socket; each request has
// a pipe of its own for its answers, whose reading end the context polls.

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "daemon/client/client_socket.hpp"
#include "daemon/descriptor.hpp"
#include "weir/daemon.hpp"

namespace weir {
namespace {

using detail::errno_code;
using detail::daemon::answer;
using detail::daemon::descriptor;
using detail::daemon::file_request;
using detail::daemon::message;
namespace flag = detail::daemon::transfer_flag;

static_assert(daemon_transfer_options::to_the_end == detail::daemon::to_the_end);

std::uint32_t flags_of(const daemon_transfer_options& options) noexcept {
  std::uint32_t flags = 0;
  if (options.lock) flags |= flag::lock;
  if (options.create) flags |= flag::create;
  if (options.exclusive) flags |= flag::exclusive;
  if (options.truncate) flags |= flag::truncate;
  if (options.durable) flags |= flag::durable;
  return flags;
}

file_request range_of(const std::string& path, const daemon_transfer_options& options) noexcept {
  return {.path = path,
          .offset = options.offset,
          .length = options.length,
          .flags = flags_of(options),
          .mode = options.mode};
}

daemon_file_info info_of(const answer& came) noexcept {
  return {.id = came.id,
          .length = came.values[0],
          .size = came.values[1],
          .accessed_ns = static_cast<std::int64_t>(came.values[2]),
          .modified_ns = static_cast<std::int64_t>(came.values[3]),
          .changed_ns = static_cast<std::int64_t>(came.values[4])};
}

/// One request, and the pipe that it is answered on.
class exchange {
 public:
  exchange(io_context& context, int connection) noexcept
      : context_(context), connection_(connection) {}

  /// Sends it, when the connection has room. `send` is given the channel's writing end.
  template <class Send>
  task<result<void>> ask(Send send) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
      co_return std::unexpected(errno_code(errno));
    }
    channel_ = descriptor(ends[0]);
    const descriptor writer(ends[1]);
    int sent = send(connection_, writer.get());
    while (sent == -EAGAIN) {
      const auto ready = co_await context_.poll(connection_, POLLOUT);
      if (!ready) co_return std::unexpected(ready.error());
      sent = send(connection_, writer.get());
    }
    if (sent == -EPIPE) co_return std::unexpected(make_error_code(errc::daemon_lost));
    if (sent != 0) co_return std::unexpected(errno_code(-sent));
    co_return result<void>{};
  }

  /// Reads what there is, at least one byte; 0 at the end.
  task<result<std::size_t>> read(std::span<std::byte> into) {
    for (;;) {
      const ssize_t got = ::read(channel_.get(), into.data(), into.size());
      if (got >= 0) co_return static_cast<std::size_t>(got);
      if (errno != EAGAIN && errno != EINTR) co_return std::unexpected(errno_code(errno));
      const auto ready = co_await context_.poll(channel_.get(), POLLIN);
      if (!ready) co_return std::unexpected(ready.error());
    }
  }

  task<result<answer>> next() {
    answer came;
    auto rest = std::as_writable_bytes(std::span(&came, 1));
    while (!rest.empty()) {
      const auto got = co_await read(rest);
      if (!got) co_return std::unexpected(got.error());
      if (*got == 0) co_return std::unexpected(why_lost());
      rest = rest.subspan(*got);
    }
    if (!detail::daemon::is_sound(came)) co_return std::unexpected(errno_code(EPROTO));
    co_return came;
  }

  /// The first answer: the file's information, or the daemon's refusal.
  task<result<daemon_file_info>> information(const daemon_transfer_options& options = {}) {
    const auto came = co_await next();
    if (!came) co_return std::unexpected(came.error());
    if (came->status < 0) co_return std::unexpected(errno_code(-came->status));
    if (came->kind != message::file_info) co_return std::unexpected(errno_code(EPROTO));
    const daemon_file_info info = info_of(*came);
    if (options.started) options.started(info);
    co_return info;
  }

  /// The rest: progress, and the end.
  task<transfer_result> to_the_end(const daemon_transfer_options& options = {}) {
    std::size_t moved = 0;
    for (;;) {
      const auto came = co_await next();
      if (!came) co_return transfer_result(std::unexpected(came.error()), moved);
      const bool over = came->kind == message::ended;
      if (!over && came->kind != message::progress) {
        co_return transfer_result(std::unexpected(errno_code(EPROTO)), moved);
      }
      moved = came->values[1];
      if (options.progress && came->values[0] != 0) options.progress(came->values[0]);
      if (came->status < 0) {
        co_return transfer_result(std::unexpected(errno_code(-came->status)), moved);
      }
      if (over) co_return transfer_result(moved, moved);
    }
  }

  std::error_code why_lost() const noexcept {
    const int why = detail::daemon::why_closed(connection_, -EPIPE);
    return why == -EPIPE ? make_error_code(errc::daemon_lost) : errno_code(-why);
  }

 private:
  io_context& context_;
  int connection_;
  descriptor channel_;
};

/// A request that names a file. `other` is the descriptor that goes with it, or -1.
task<result<void>> ask_of_file(exchange& with, message kind, const file_request& wanted,
                               int other = -1) {
  return with.ask([kind, &wanted, other](int connection, int channel) {
    const std::array<int, 2> both{channel, other};
    return detail::daemon::send_request(connection, kind, wanted,
                                        std::span(both).first(other < 0 ? 1 : 2));
  });
}

task<transfer_result> move_bytes(io_context& context, int connection, message kind,
                                 std::string path, int other, daemon_transfer_options options) {
  if (other < 0) co_return transfer_result(std::unexpected(errno_code(EBADF)), 0);
  exchange with(context, connection);
  const file_request wanted = range_of(path, options);
  const auto asked = co_await ask_of_file(with, kind, wanted, other);
  if (!asked) co_return transfer_result(std::unexpected(asked.error()), 0);
  const auto info = co_await with.information(options);
  if (!info) co_return transfer_result(std::unexpected(info.error()), 0);
  co_return co_await with.to_the_end(options);
}

/// The bytes that follow the information, which has promised so many.
task<transfer_result> take_bytes(exchange& with, std::span<std::byte> into,
                                 const daemon_transfer_options& options) {
  std::size_t moved = 0;
  while (moved < into.size()) {
    const auto got = co_await with.read(into.subspan(moved));
    if (!got) co_return transfer_result(std::unexpected(got.error()), moved);
    if (*got == 0) co_return transfer_result(std::unexpected(with.why_lost()), moved);
    moved += *got;
    if (options.progress) options.progress(*got);
  }
  co_return transfer_result(moved, moved);
}

task<transfer_result> read_once(io_context& context, int connection, const std::string& path,
                                std::span<std::byte> into, const daemon_transfer_options& options) {
  exchange with(context, connection);
  const file_request wanted = range_of(path, options);
  const auto asked = co_await ask_of_file(with, message::read, wanted);
  if (!asked) co_return transfer_result(std::unexpected(asked.error()), 0);
  const auto info = co_await with.information(options);
  if (!info) co_return transfer_result(std::unexpected(info.error()), 0);
  const std::size_t most = std::min<std::uint64_t>(into.size(), info->length);
  co_return co_await take_bytes(with, into.first(most), options);
}

}  // namespace

daemon_client::daemon_client(io_context& context, int connection) noexcept
    : context_(&context), connection_(connection) {}
daemon_client::daemon_client(daemon_client&& other) noexcept
    : context_(other.context_), connection_(std::exchange(other.connection_, -1)) {}
daemon_client::~daemon_client() {
  if (connection_ >= 0) ::close(connection_);
}

// Nothing tells when a full backlog has room again (unix(7)), but a daemon empties its own quickly.
task<result<daemon_client>> daemon_client::connect(io_context& context, std::string name) {
  constexpr std::chrono::milliseconds pause(1);
  for (;;) {
    const int connection = detail::daemon::connect_to_daemon(name, SOCK_NONBLOCK);
    if (connection >= 0) co_return daemon_client(context, connection);
    if (connection != -EAGAIN) co_return std::unexpected(errno_code(-connection));
    const auto slept = co_await context.sleep_for(pause);
    if (!slept) co_return std::unexpected(slept.error());
  }
}

// Exactly what there is room for is asked of the daemon, so that it moves no more than that; a file
// that is shorter refuses, and is asked for what it has.
task<transfer_result> daemon_client::read(std::string path, std::span<std::byte> into,
                                          daemon_transfer_options options) {
  options.length = std::min<std::uint64_t>(options.length, into.size());
  auto moved = co_await read_once(*context_, connection_, path, into, options);
  if (moved || moved.error() != errno_code(ERANGE)) co_return moved;
  options.length = daemon_transfer_options::to_the_end;
  co_return co_await read_once(*context_, connection_, path, into, options);
}

task<transfer_result> daemon_client::send(std::string path, int receiver,
                                          daemon_transfer_options options) {
  return move_bytes(*context_, connection_, message::send, std::move(path), receiver,
                    std::move(options));
}

task<transfer_result> daemon_client::receive(std::string path, int source,
                                             daemon_transfer_options options) {
  return move_bytes(*context_, connection_, message::receive, std::move(path), source,
                    std::move(options));
}

task<result<daemon_file_info>> daemon_client::stat(std::string path) {
  exchange with(*context_, connection_);
  const file_request wanted{.path = path};
  const auto asked = co_await ask_of_file(with, message::stat, wanted);
  if (!asked) co_return std::unexpected(asked.error());
  co_return co_await with.information();
}

task<result<void>> daemon_client::sync(std::string path, bool data_only) {
  exchange with(*context_, connection_);
  const file_request wanted{.path = path, .flags = data_only ? flag::data_only : 0};
  const auto asked = co_await ask_of_file(with, message::sync, wanted);
  if (!asked) co_return std::unexpected(asked.error());
  const auto info = co_await with.information();
  if (!info) co_return std::unexpected(info.error());
  const auto ended = co_await with.to_the_end();
  if (!ended) co_return std::unexpected(ended.error());
  co_return result<void>{};
}

task<result<void>> daemon_client::cancel(std::uint64_t id) {
  exchange with(*context_, connection_);
  const auto asked = co_await with.ask([id](int connection, int channel) {
    return detail::daemon::send_request(connection, message::cancel, id, {&channel, 1});
  });
  if (!asked) co_return std::unexpected(asked.error());
  const auto ended = co_await with.to_the_end();
  if (!ended) co_return std::unexpected(ended.error());
  co_return result<void>{};
}

}  // namespace weir
