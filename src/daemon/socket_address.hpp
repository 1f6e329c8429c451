#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "weir/result.hpp"

namespace weir::detail::daemon {

/// Where a socket of that path is (unix(7)); ENAMETOOLONG where no address holds the path.
inline result<sockaddr_un> address_of(const std::string& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return std::unexpected(errno_code(ENAMETOOLONG));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

/// Makes a call that takes an address, as connect(2).
template <class Call>
auto with_address(const sockaddr_un& address, Call call) noexcept {
  return call(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

}  // namespace weir::detail::daemon
