#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "daemon/protocol.hpp"

// The client's end of a connection: what is asked, as a message. For the clients in C and in C++.
// Nothing here keeps state: the kernel's socket has all of it, so any thread may send at any time.
// Answers are 0 or a descriptor, or a negative errno.
namespace weir::detail::daemon {

/// A connection to the daemon of that name, or at that path (`daemon_socket_path`). By name it is
/// this user's, or else the system's (below /run/weir); EACCES where somebody else's listens there.
/// `type_flags` are SOCK_NONBLOCK or nothing; with that, EAGAIN when too many are waiting to be
/// accepted.
int connect_to_daemon(std::string_view name, int type_flags = 0) noexcept;

/// What a request that names a file asks for.
struct file_request {
  std::string_view path;
  std::uint64_t offset = 0;
  std::uint64_t length = to_the_end;
  std::uint32_t flags = 0;
  std::uint32_t mode = 0;
  std::uint64_t memory_offset = 0;  ///< of read_memory and write_memory
};

/// Sends one request, with descriptors, of which the daemon then has copies. What `check` would
/// refuse is refused here. EAGAIN when the connection is full and does not block; then, and on
/// every other error, nothing has been sent. Where the daemon has closed the connection, the reason
/// that it gave for that, or EPIPE.
int send_request(int connection, message kind, const file_request& wanted,
                 std::span<const int> descriptors) noexcept;
int send_request(int connection, message kind, std::uint64_t id,
                 std::span<const int> descriptors) noexcept;
int send_request(int connection, message kind, std::span<const int> descriptors) noexcept;

/// Whether a daemon says such a thing: an answer of a kind that there is, of this version, whose
/// status is 0 or a negative errno.
bool is_sound(const answer& said) noexcept;

/// Why the daemon has closed the connection: the negative errno of its last answer, or `otherwise`.
int why_closed(int connection, int otherwise) noexcept;

}  // namespace weir::detail::daemon
