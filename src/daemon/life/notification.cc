#include "daemon/life/notification.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace weir::life {

notification::~notification() {
  if (socket_ >= 0) ::close(socket_);
}

// A path, or with an @ before it a name in the abstract namespace, whose first byte is 0.
outcome<> notification::open() {
  const char* const named = std::getenv("NOTIFY_SOCKET");
  if (named == nullptr) return {};
  const std::string_view name = named;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool sound = name.starts_with('/') || name.starts_with('@');
  if (!sound || name.size() >= sizeof address.sun_path) {
    return failed("NOTIFY_SOCKET is '" + std::string(name) + "', which is no socket's name",
                  EINVAL);
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name.starts_with('@')) address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return failed("a socket for NOTIFY_SOCKET could not be made");
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return failed("NOTIFY_SOCKET '" + std::string(name) + "' cannot be reached");
  }
  return {};
}

void notification::tell(std::string_view state) const noexcept {
  if (socket_ < 0) return;
  while (::send(socket_, state.data(), state.size(), MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

}  // namespace weir::life
