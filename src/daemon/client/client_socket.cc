#include "daemon/client/client_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>

#include "daemon/message_socket.hpp"
#include "daemon/socket_address.hpp"
#include "uninterrupted.hpp"
#include "weir/daemon.hpp"

namespace weir::detail::daemon {
namespace {

/// A request of one's own, in the making: a structure, and perhaps a path behind it.
class request_frame {
 public:
  template <class Request>
  explicit request_frame(Request request, std::string_view path = {}) noexcept {
    const std::size_t copied = std::min(path.size(), path_max + 1);
    size_ = sizeof request + copied;
    header_of(request).size = static_cast<std::uint32_t>(size_);
    std::memcpy(bytes_.data(), &request, sizeof request);
    std::ranges::copy(std::as_bytes(std::span(path)).first(copied),
                      bytes_.begin() + sizeof request);
  }

  std::span<const std::byte> bytes() const noexcept { return std::span(bytes_).first(size_); }

 private:
  static frame_header& header_of(frame_header& header) noexcept { return header; }
  static frame_header& header_of(path_request& request) noexcept { return request.header; }
  static frame_header& header_of(memory_request& request) noexcept { return request.file.header; }
  static frame_header& header_of(id_request& request) noexcept { return request.header; }

  // Uninitialized: only what is sent is written. One byte more, so that a path can be too long.
  std::array<std::byte, sizeof(memory_request) + path_max + 1> bytes_;
  std::size_t size_;
};

int send_whole(int connection, std::span<const std::byte> bytes,
               std::span<const int> descriptors) noexcept {
  const auto judged = check({.bytes = bytes, .descriptors = descriptors.size()});
  if (!judged) return -judged.error();
  const int error = send_message(connection, bytes, descriptors, 0);  // waits as the socket does
  return error == -EPIPE || error == -ECONNRESET ? why_closed(connection, -EPIPE) : error;
}

int connect_to_path(const std::string& path, int type_flags) noexcept {
  const auto address = address_of(path);
  if (!address) return -address.error().value();
  const int connection = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | type_flags, 0);
  if (connection < 0) return -errno;
  // An interrupted connect(2) of a local socket has not begun anything.
  const int connected = uninterrupted([&] {
    return with_address(*address, [&](const sockaddr* to, socklen_t size) {
      return ::connect(connection, to, size);
    });
  });
  if (connected == 0) return connection;
  ::close(connection);
  return connected;
}

// Where a name leads to, somebody else may have been first (/tmp/weir-UID): then it is not what was
// meant.
int trusted(int connection) noexcept {
  if (connection < 0) return connection;
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool known = ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  if (known && (peer.uid == 0 || peer.uid == ::geteuid())) return connection;
  ::close(connection);
  return -EACCES;
}

// A user's own daemon, or else the system's.
int connect_by_name(std::string_view name, int type_flags) {
  const auto own = daemon_socket_path(name);
  if (!own) return -own.error().value();
  const int connection = connect_to_path(*own, type_flags);
  if (connection != -ENOENT && connection != -ECONNREFUSED) return trusted(connection);
  const int systems = connect_to_path("/run/weir/" + std::string(name) + ".socket", type_flags);
  return systems >= 0 ? trusted(systems) : connection;
}

}  // namespace

int connect_to_daemon(std::string_view name, int type_flags) noexcept {
  try {
    if (name.find('/') == std::string_view::npos) return connect_by_name(name, type_flags);
    const auto path = daemon_socket_path(name);
    return path ? connect_to_path(*path, type_flags) : -path.error().value();
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
}

int send_request(int connection, message kind, const file_request& wanted,
                 std::span<const int> descriptors) noexcept {
  const path_request file{.header = {.kind = kind},
                          .offset = wanted.offset,
                          .length = wanted.length,
                          .flags = wanted.flags,
                          .mode = wanted.mode};
  if (kind == message::read_memory || kind == message::write_memory) {
    const memory_request both{.file = file, .memory_offset = wanted.memory_offset};
    return send_whole(connection, request_frame(both, wanted.path).bytes(), descriptors);
  }
  return send_whole(connection, request_frame(file, wanted.path).bytes(), descriptors);
}

int send_request(int connection, message kind, std::uint64_t id,
                 std::span<const int> descriptors) noexcept {
  const id_request request{.header = {.kind = kind}, .id = id};
  return send_whole(connection, request_frame(request).bytes(), descriptors);
}

int send_request(int connection, message kind, std::span<const int> descriptors) noexcept {
  return send_whole(connection, request_frame(frame_header{.kind = kind}).bytes(), descriptors);
}

bool is_sound(const answer& said) noexcept {
  constexpr std::int32_t errno_max = 4095;
  return said.version == protocol_version && said.kind >= message::file_info &&
         said.kind <= message::attached && said.status <= 0 && said.status >= -errno_max;
}

int why_closed(int connection, int otherwise) noexcept {
  answer last;
  const ssize_t got = ::recv(connection, &last, sizeof last, MSG_DONTWAIT);
  if (got != sizeof last || !is_sound(last)) return otherwise;
  if (last.kind != message::ended || last.status == 0) return otherwise;
  return last.status;
}

}  // namespace weir::detail::daemon
