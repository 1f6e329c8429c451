#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/io_context.hpp"
#include "weir/result.hpp"
#include "weir/task.hpp"

namespace weir {

/// The socket of the daemon of that name: `/run/weir/NAME.socket` for root, else
/// `$XDG_RUNTIME_DIR/weir/NAME.socket`, else `/tmp/weir-UID/NAME.socket`. A name with a slash is a
/// path already. EINVAL for an empty name, ENAMETOOLONG for a path that does not fit (unix(7)).
result<std::string> daemon_socket_path(std::string_view name);

/// A socket that a daemon listens at, in the file system, of one daemon at a time.
///
/// The name leads to a socket that listens, or to none: there is no moment at which it leads to one
/// that does not yet, and what a daemon that was killed has left behind is replaced. The directory
/// is made where it is missing. A lock, at the same name with ".lock" behind it, keeps two that
/// start at the same time apart; it stays.
class daemon_socket {
 public:
  /// EADDRINUSE where a daemon listens there already. EEXIST where there is something else than a
  /// socket. Only the user, or with `for_others` everybody, can connect: whom a daemon serves it
  /// decides itself, but others would not come as far as that.
  static result<daemon_socket> listen(const std::string& path, bool for_others = false);

  daemon_socket(const daemon_socket&) = delete;
  daemon_socket& operator=(const daemon_socket&) = delete;
  daemon_socket(daemon_socket&& other) noexcept;
  daemon_socket& operator=(daemon_socket&& other) = delete;
  /// Removes the name.
  ~daemon_socket();

  /// The descriptor, for `daemon_server`, which owns it then. -1 if it was asked for before.
  int release() noexcept;

 private:
  daemon_socket(std::string path, int socket, int lock) noexcept;

  std::string path_;
  int socket_;
  int lock_;
};

/// What a daemon serves, and to whom.
struct daemon_options {
  /// The directory that everything served is beneath (openat2(2), RESOLVE_BENEATH). Borrowed.
  int root = -1;
  /// Whether clients may write.
  bool allow_write = false;
  /// User ids that are served besides the daemon's own (SO_PEERCRED, unix(7)).
  std::vector<std::uint32_t> allowed_uids;
  /// The most transfers, opened files that nobody has sent yet among them: of all clients, and of
  /// one. Exact. Beyond, EMFILE.
  unsigned max_transfers = 1024;
  unsigned max_transfers_per_client = 1024;
  /// The most connections; beyond, they are closed at once.
  unsigned max_clients = 256;
  /// How long a file that was opened may wait to be sent; then ETIMEDOUT.
  std::chrono::milliseconds open_timeout = std::chrono::seconds(30);
  /// What a client's transfers may move before the next client's have their turn.
  std::size_t turn_bytes = std::size_t{1} << 20;
};

/// The daemon: a context with a socket. On its context's thread only.
class daemon_server {
 public:
  /// Serves those who connect to `listening_socket` (SOCK_SEQPACKET, listening), which is owned
  /// from now on. The context outlives this.
  daemon_server(io_context& context, int listening_socket, daemon_options options);
  daemon_server(const daemon_server&) = delete;
  daemon_server& operator=(const daemon_server&) = delete;
  ~daemon_server();

  /// Serves until `drain` or `stop`; then ends when nothing is outstanding. Awaited once.
  task<> serve();

  /// No new clients and no new requests (ESHUTDOWN); what has begun goes on to its end.
  void drain() noexcept;
  /// The same, and what has begun ends with ECANCELED.
  void stop() noexcept;

  /// Counts, as Prometheus reads them (text exposition format 0.0.4).
  std::string metrics() const;

 private:
  class state;
  std::unique_ptr<state> state_;
};

/// What a daemon says of a file before it moves any of it. Times are nanoseconds since 1970.
struct daemon_file_info {
  std::uint64_t id = 0;      ///< of the transfer, for `daemon_client::cancel`
  std::uint64_t length = 0;  ///< how many bytes will be moved
  std::uint64_t size = 0;    ///< of the whole file
  std::int64_t accessed_ns = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
};

/// A part of a file, and how it is to be moved.
struct daemon_transfer_options {
  static constexpr std::uint64_t to_the_end = UINT64_MAX;

  std::uint64_t offset = 0;
  std::uint64_t length = to_the_end;  ///< exactly so much, or ERANGE
  bool lock = false;       ///< hold an OFD lock on exactly this range; EAGAIN where another has one
  bool create = false;     ///< these four of what is written to
  bool exclusive = false;  ///< with `create`: fail where there is one
  bool truncate = false;
  bool durable = false;  ///< on the disk before the end
  std::uint32_t mode = 0644;
  std::function<void(const daemon_file_info&)> started;  ///< called first
  std::function<void(std::uint64_t bytes)> progress;     ///< with what has moved since
};

/// A client of a daemon: one connection. Each request is a task on the client's context, any number
/// at a time; the client outlives them. Errors are the daemon's errno, `errc::daemon_lost` when it
/// has gone before the end, EACCES when it does not serve this user. Descriptors that are passed
/// need only be open while the task begins, and their flags are never changed.
///
///     auto client = co_await weir::daemon_client::connect(context, "films");
///     auto sent = co_await client->send("one.mkv", socket);
class daemon_client {
 public:
  /// By a daemon's name, this user's or else the system's, or by its socket's path.
  static task<result<daemon_client>> connect(io_context& context, std::string name);

  daemon_client(const daemon_client&) = delete;
  daemon_client& operator=(const daemon_client&) = delete;
  daemon_client(daemon_client&& other) noexcept;
  daemon_client& operator=(daemon_client&&) = delete;
  /// Ends the transfers of this connection.
  ~daemon_client();

  /// Reads into memory: as much as there is room for, less at the end of the file.
  task<transfer_result> read(std::string path, std::span<std::byte> into,
                             daemon_transfer_options options = {});
  /// Lets the daemon write to a socket, a pipe or a file.
  task<transfer_result> send(std::string path, int receiver, daemon_transfer_options options = {});
  /// Lets the daemon write a socket's or a pipe's bytes, to their end, into a file.
  task<transfer_result> receive(std::string path, int source, daemon_transfer_options options = {});
  task<result<daemon_file_info>> stat(std::string path);
  /// fsync(2), or fdatasync(2).
  task<result<void>> sync(std::string path, bool data_only = false);
  /// Ends a transfer of this client's, which then fails with ECANCELED. ENOENT for one that is not,
  /// or not any more.
  task<result<void>> cancel(std::uint64_t id);

 private:
  daemon_client(io_context& context, int connection) noexcept;

  io_context* context_;
  int connection_;
};

}  // namespace weir
