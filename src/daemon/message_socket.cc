#include "daemon/message_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "uninterrupted.hpp"

namespace weir::detail::daemon {
namespace {

// The kernel passes at most 253 (SCM_MAX_FD): with room for all of them, none is lost unseen.
constexpr std::size_t passed_max = 253;

using control_memory = std::array<std::byte, CMSG_SPACE(passed_max * sizeof(int))>;

}  // namespace

int send_message(int socket, std::span<const std::byte> bytes, std::span<const int> descriptors,
                 int flags) noexcept {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};  // only read
  alignas(cmsghdr) control_memory control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t size = std::min(descriptors.size(), passed_max) * sizeof(int);
    auto& header = *reinterpret_cast<cmsghdr*>(control.data());
    header = {.cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    std::memcpy(CMSG_DATA(&header), descriptors.data(), size);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(size);
  }
  const ssize_t sent =
      uninterrupted([&] { return ::sendmsg(socket, &message, flags | MSG_NOSIGNAL); });
  return sent < 0 ? static_cast<int>(sent) : 0;
}

int received_message::receive(int socket) noexcept {
  close_descriptors();
  iovec part{bytes_.data(), bytes_.size()};
  alignas(cmsghdr) control_memory control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count =
      uninterrupted([&] { return ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); });
  size_ = count < 0 ? 0 : static_cast<std::size_t>(count);
  if (count < 0) return static_cast<int>(count);
  cut_off_ = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    keep_descriptors(
        {reinterpret_cast<const std::byte*>(CMSG_DATA(at)), at->cmsg_len - CMSG_LEN(0)});
  }
  return static_cast<int>(count);
}

void received_message::keep_descriptors(std::span<const std::byte> passed) noexcept {
  for (std::size_t i = 0; i < passed.size() / sizeof(int); ++i) {
    const int fd = read_as<int>(passed, i);
    if (count_ < descriptors_.size()) {
      descriptors_[count_++] = fd;
    } else {
      ::close(fd);
      cut_off_ = true;
    }
  }
}

int received_message::take_descriptor(std::size_t which) noexcept {
  return std::exchange(descriptors_[which], -1);
}

void received_message::close_descriptors() noexcept {
  for (const int fd : descriptors()) {
    if (fd >= 0) ::close(fd);
  }
  count_ = 0;
}

}  // namespace weir::detail::daemon
