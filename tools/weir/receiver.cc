#include "receiver.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "failures.hpp"

namespace weir::tools {
namespace {

using addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

std::unexpected<std::string> failed(const std::string& where, const std::string& why) {
  return std::unexpected("cannot connect to " + in_quotes(where) + ": " + why);
}

/// A connected socket, or its errno.
descriptor connected(int family, const sockaddr* address, socklen_t size) {
  descriptor made(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (made && ::connect(made.get(), address, size) != 0) return descriptor(-1);
  return made;
}

std::expected<descriptor, std::string> connect_locally(const std::string& where,
                                                       std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return failed(where, std::make_error_code(std::errc::filename_too_long).message());
  }
  path.copy(address.sun_path, path.size());
  auto made = connected(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (!made) return failed(where, std::system_category().message(made.error()));
  return made;
}

std::expected<descriptor, std::string> connect_by_network(const std::string& where) {
  const std::size_t colon = where.rfind(':');
  if (colon == std::string::npos) return failed(where, "HOST:PORT or unix:PATH is wanted");
  std::string host = where.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), where.c_str() + colon + 1, &hints, &list);
  if (error != 0) return failed(where, ::gai_strerror(error));
  const addresses found(list, &::freeaddrinfo);
  int last = 0;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    auto made = connected(each->ai_family, each->ai_addr, each->ai_addrlen);
    if (made) return made;
    last = made.error();
  }
  return failed(where, std::system_category().message(last));
}

}  // namespace

std::expected<descriptor, std::string> connect_to_receiver(const std::string& where) {
  constexpr std::string_view local = "unix:";
  if (where.starts_with(local)) {
    return connect_locally(where, std::string_view(where).substr(local.size()));
  }
  return connect_by_network(where);
}

}  // namespace weir::tools
