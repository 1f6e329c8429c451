#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "daemon/descriptor.hpp"
#include "daemon/protocol.hpp"

namespace weir::fuzzing {

/// A message of a SOCK_SEQPACKET socket, with the descriptors that came with it.
class received_message {
 public:
  /// The next one, without waiting: its size; 0 at the end; or -1, as recvmsg(2) says it.
  ssize_t receive(int socket) {
    descriptors_.clear();
    iovec part{bytes_.data(), bytes_.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(most_descriptors * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    size_ = count < 0 ? 0 : static_cast<std::size_t>(count);
    if (count >= 0) keep_descriptors(message);
    return count;
  }

  std::span<const std::byte> bytes() const noexcept { return std::span(bytes_).first(size_); }
  detail::daemon::frame as_frame() const noexcept {
    return {.bytes = bytes(), .descriptors = descriptors_.size()};
  }
  /// -1 where there is none.
  int take_descriptor(std::size_t which) {
    return which < descriptors_.size() ? descriptors_[which].release() : -1;
  }

 private:
  static constexpr std::size_t most_descriptors = detail::daemon::descriptors_max;

  void keep_descriptors(msghdr& message) {
    for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
      if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
      const std::span passed(reinterpret_cast<const std::byte*>(CMSG_DATA(at)),
                             at->cmsg_len - CMSG_LEN(0));
      for (std::size_t i = 0; i < passed.size() / sizeof(int); ++i) {
        descriptors_.emplace_back(detail::daemon::read_as<int>(passed, i));
      }
    }
  }

  std::array<std::byte, detail::daemon::frame_max + 1> bytes_;
  std::vector<detail::daemon::descriptor> descriptors_;
  std::size_t size_ = 0;
};

}  // namespace weir::fuzzing
