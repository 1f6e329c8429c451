#include "daemon/message_socket.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

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

}  // namespace weir::detail::daemon
