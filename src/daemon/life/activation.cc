#include "daemon/life/activation.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string_view>

namespace weir::life {
namespace {

constexpr int first_passed = 3;  // SD_LISTEN_FDS_START

std::optional<long> number_in_environment(const char* name) noexcept {
  const char* const text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  const std::string_view digits = text;
  long number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::optional<int> socket_option(int fd, int option) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, option, &value, &size) != 0) return std::nullopt;
  return value;
}

}  // namespace

outcome<std::optional<int>> activated_socket() {
  // Meant for another process where the number is not this one's.
  if (number_in_environment("LISTEN_PID") != ::getpid()) return std::nullopt;
  const long passed = number_in_environment("LISTEN_FDS").value_or(0);
  if (passed == 0) return std::nullopt;
  if (passed != 1) return failed("the service manager has passed more than one socket", EINVAL);
  const bool fits = socket_option(first_passed, SO_DOMAIN) == AF_UNIX &&
                    socket_option(first_passed, SO_TYPE) == SOCK_SEQPACKET &&
                    socket_option(first_passed, SO_ACCEPTCONN) == 1;
  if (!fits) {
    return failed(
        "the service manager has passed something else than a socket that listens for "
        "sequenced packets (ListenSequentialPacket=)",
        EINVAL);
  }
  if (::fcntl(first_passed, F_SETFD, FD_CLOEXEC) != 0) return failed("the socket passed is gone");
  return first_passed;
}

}  // namespace weir::life
