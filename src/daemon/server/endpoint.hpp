#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/descriptor.hpp"

namespace weir::detail::daemon {

/// What a descriptor that a client has sent stands for, as far as that matters here.
enum class endpoint_kind : std::uint8_t {
  stream,   ///< a stream socket: UNIX, IPv4 or IPv6
  packets,  ///< the same, SOCK_SEQPACKET
  pipe,     ///< pipe(2), or a FIFO
  device,   ///< a character device
  file,     ///< a regular file
  other,    ///< anything else, which nothing here is done with
};

/// A client's descriptor: to be read from or written to without ever waiting, whatever O_NONBLOCK
/// says of the open file description. That is the client's as well, so its flags are left alone.
class endpoint {
 public:
  endpoint() noexcept = default;
  explicit endpoint(descriptor fd) noexcept;

  int fd() const noexcept { return fd_.get(); }
  endpoint_kind kind() const noexcept { return kind_; }
  bool is_socket() const noexcept {
    return kind_ == endpoint_kind::stream || kind_ == endpoint_kind::packets;
  }
  bool is_pipe() const noexcept { return kind_ == endpoint_kind::pipe; }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  void reset() noexcept { fd_.reset(); }
  descriptor release() noexcept;

  /// Whether answers can be told there: it is a socket, or a pipe that may be written to.
  bool carries_answers() const noexcept;
  /// Whether bytes can be streamed there: the same, but no sequence of packets.
  bool takes_bytes() const noexcept;
  /// Whether a file can be sent there: the same; or a device that takes everything at once, as
  /// /dev/null; or a regular file, if its file system is to be trusted.
  bool takes_files() const noexcept;
  /// Whether bytes can be read from there: a stream socket, or a pipe that may be read from.
  bool gives_bytes() const noexcept;

 private:
  descriptor fd_;
  endpoint_kind kind_ = endpoint_kind::other;
};

/// Moves what can be moved at once between memory and an endpoint: a count, or a negative errno,
/// -EAGAIN where one would have to wait. Beside endpoints it owns a pipe, for those pipes of
/// clients that cannot be written to or read from with RWF_NOWAIT (FIFOs; before Linux 6.4, all).
class endpoint_io {
 public:
  long write(const endpoint& to, std::span<const std::byte> bytes) noexcept;
  long read(const endpoint& from, std::span<std::byte> memory) noexcept;

 private:
  long write_by_splice(int to, std::span<const std::byte> bytes) noexcept;
  long read_by_splice(int from, std::span<std::byte> memory) noexcept;
  bool have_pipe() noexcept;
  void drain() noexcept;

  descriptor in_;   // of the pipe: to be read from,
  descriptor out_;  // and to be written to
};

}  // namespace weir::detail::daemon
