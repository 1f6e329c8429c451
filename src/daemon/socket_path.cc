#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>

#include "weir/daemon.hpp"

namespace weir {
namespace {

// secure_getenv(3): what was started with another's rights does not go where that one says.
std::string directory_of_sockets() {
  const uid_t user = ::geteuid();
  if (user == 0) return "/run/weir";
  const char* const runtime = ::secure_getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/weir";
  return "/tmp/weir-" + std::to_string(user);
}

}  // namespace

result<std::string> daemon_socket_path(std::string_view name) {
  if (name.empty()) return std::unexpected(detail::errno_code(EINVAL));
  const bool is_path = name.find('/') != std::string_view::npos;
  std::string path =
      is_path ? std::string(name) : directory_of_sockets() + "/" + std::string(name) + ".socket";
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return std::unexpected(detail::errno_code(ENAMETOOLONG));
  }
  return path;
}

}  // namespace weir
