#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <span>

#include "daemon/protocol.hpp"

namespace weir::detail::daemon {

/// Sends one message with descriptors on a SOCK_SEQPACKET socket (unix(7)), whole or not at all: 0,
/// or a negative errno; -EAGAIN where there is no room, and `flags`, or those of the socket, say
/// not to wait for it. No SIGPIPE.
int send_message(int socket, std::span<const std::byte> bytes,
                 std::span<const int> descriptors = {}, int flags = MSG_DONTWAIT) noexcept;

/// A message as it came, in memory of its receiver's. The descriptors that nobody takes are closed.
class received_message {
 public:
  received_message() noexcept = default;
  received_message(const received_message&) = delete;
  received_message& operator=(const received_message&) = delete;
  ~received_message() { close_descriptors(); }

  /// The next message, without waiting. Its size; 0 at the end; or a negative errno. An empty
  /// message looks like the end, which recv(2) does not tell apart either: whoever sends one has
  /// said nothing.
  int receive(int socket) noexcept;

  std::span<const std::byte> bytes() const noexcept { return std::span(bytes_).first(size_); }
  frame as_frame() const noexcept {
    return {.bytes = bytes(), .descriptors = count_, .cut_off = cut_off_};
  }

  std::span<const int> descriptors() const noexcept {
    return std::span(descriptors_).first(count_);
  }
  /// The descriptor, which is the caller's from now on.
  int take_descriptor(std::size_t which) noexcept;
  void close_descriptors() noexcept;

 private:
  void keep_descriptors(std::span<const std::byte> passed) noexcept;

  // Not initialised: only what came is looked at.
  std::array<std::byte, frame_max + 1> bytes_;
  std::array<int, descriptors_max> descriptors_;
  std::size_t size_ = 0;
  std::size_t count_ = 0;
  bool cut_off_ = false;
};

}  // namespace weir::detail::daemon
