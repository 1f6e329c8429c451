#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>

namespace weir::detail::daemon {

/// Sends one message with descriptors on a SOCK_SEQPACKET socket (unix(7)), whole or not at all: 0,
/// or a negative errno; -EAGAIN where there is no room, and `flags`, or those of the socket, say
/// not to wait for it. No SIGPIPE.
int send_message(int socket, std::span<const std::byte> bytes,
                 std::span<const int> descriptors = {}, int flags = MSG_DONTWAIT) noexcept;

}  // namespace weir::detail::daemon
