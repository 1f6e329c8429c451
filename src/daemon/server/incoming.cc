#include "daemon/server/incoming.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "uninterrupted.hpp"

namespace weir::detail::daemon {

/// One byte more than a message may have, for the NUL; and room for all descriptors it may have.
/// With more of either the kernel cuts off, and says so.
struct frame_inbox::slots {
  using message_bytes = std::array<std::byte, frame_max + 1>;
  struct alignas(cmsghdr) control_bytes {
    std::array<std::byte, CMSG_SPACE(descriptors_max * sizeof(int))> bytes;
  };

  std::array<mmsghdr, most> headers{};
  std::array<iovec, most> parts{};
  std::array<message_bytes, most> messages;
  std::array<control_bytes, most> controls;
};

void incoming::close_descriptors() noexcept {
  for (std::size_t i = 0; i < count_; ++i) descriptors_[i].reset();
  count_ = 0;
}

frame_inbox::frame_inbox() : slots_(new slots) {
  for (std::size_t i = 0; i < most; ++i) {
    slots_->parts[i] = {slots_->messages[i].data(), frame_max};
    slots_->headers[i].msg_hdr.msg_iov = &slots_->parts[i];
    slots_->headers[i].msg_hdr.msg_iovlen = 1;
    slots_->headers[i].msg_hdr.msg_control = slots_->controls[i].bytes.data();
  }
}

frame_inbox::~frame_inbox() = default;

int frame_inbox::fetch(int connection) noexcept {
  for (mmsghdr& each : slots_->headers) {
    each.msg_hdr.msg_controllen = sizeof(slots::control_bytes);
  }
  constexpr int how = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
  const int count = uninterrupted(
      [&] { return ::recvmmsg(connection, slots_->headers.data(), most, how, nullptr); });
  if (count >= 0) return count;
  return count == -EAGAIN || count == -ENOMEM || count == -ENOBUFS ? 0 : -1;
}

namespace {

// An empty message and the end of the connection are both 0 bytes. Only at the end is there
// somebody gone.
bool has_ended(int connection) noexcept {
  pollfd asked{.fd = connection, .events = POLLRDHUP, .revents = 0};
  return ::poll(&asked, 1, 0) > 0;
}

}  // namespace

bool frame_inbox::unpack(std::size_t which, int connection) noexcept {
  msghdr& header = slots_->headers[which].msg_hdr;
  const std::size_t length = slots_->headers[which].msg_len;
  auto& message = slots_->messages[which];
  message[length] = std::byte{0};
  one_.bytes_ = std::span(message).first(length);
  one_.cut_off_ = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof(int), sizeof fd);
      one_.descriptors_[one_.count_++] = descriptor(fd);
    }
  }
  return length != 0 || one_.count_ != 0 || !has_ended(connection);
}

}  // namespace weir::detail::daemon
