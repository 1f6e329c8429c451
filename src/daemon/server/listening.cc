// Where a daemon listens: one at a time, and never a socket that nobody listens at.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "clock.hpp"
#include "daemon/descriptor.hpp"
#include "daemon/message_socket.hpp"
#include "daemon/protocol.hpp"
#include "daemon/socket_address.hpp"
#include "drivers/event_fd.hpp"
#include "weir/daemon.hpp"

namespace weir {
namespace {

using detail::errno_code;
using detail::daemon::address_of;
using detail::daemon::descriptor;
using detail::daemon::frame_header;
using detail::daemon::message;
using detail::daemon::send_message;
using detail::daemon::with_address;

std::unexpected<std::error_code> last_error() noexcept {
  return std::unexpected(errno_code(errno));
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// One that is there is left as it is: whoever made it knows who may come in.
result<void> make_directory(const std::string& path, bool for_others) noexcept {
  if (::mkdir(path.c_str(), for_others ? 0711 : 0700) == 0 || errno == EEXIST) return {};
  return last_error();
}

result<descriptor> lock_name(const std::string& path) {
  constexpr int how = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
  descriptor file(::open((path + ".lock").c_str(), how, 0600));
  if (!file) return last_error();
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  return std::unexpected(errno_code(errno == EWOULDBLOCK ? EADDRINUSE : errno));
}

// A daemon answers. After one that was killed the kernel may hold its socket for a moment, and lets
// others connect, while it takes down the ring that watched it: then the connection ends
// unanswered.
bool answers(int connection) noexcept {
  const frame_header question{.kind = message::info, .size = sizeof question};
  if (send_message(connection, std::as_bytes(std::span(&question, 1))) < 0) return false;
  constexpr std::int64_t patience_ns = 5'000'000'000;
  detail::wait_readable(connection, deadline{detail::monotonic_now_ns() + patience_ns});
  std::byte said{};
  const ssize_t count = ::recv(connection, &said, sizeof said, MSG_DONTWAIT);
  // Who has not answered by now is busy, or stopped; but there.
  return count > 0 || (count < 0 && errno == EAGAIN);
}

// Asked, rather than told by a lock: a daemon that was given its socket holds none.
result<void> nobody_listens(const std::string& path, const sockaddr_un& address) noexcept {
  struct stat about{};
  if (::lstat(path.c_str(), &about) != 0) {
    if (errno == ENOENT) return {};
    return last_error();
  }
  if (!S_ISSOCK(about.st_mode)) return std::unexpected(errno_code(EEXIST));
  const descriptor probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return last_error();
  const int connected = with_address(address, [&](const sockaddr* to, socklen_t size) {
    return ::connect(probe.get(), to, size);
  });
  if (connected != 0 && (errno == ECONNREFUSED || errno == ENOENT)) return {};
  if (connected == 0 && !answers(probe.get())) return {};
  return std::unexpected(errno_code(EADDRINUSE));
}

// Permissions of a socket that has no name yet are those that its name gets.
result<descriptor> listen_at(const sockaddr_un& address, bool for_others) noexcept {
  descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return last_error();
  if (::fchmod(socket.get(), for_others ? 0666 : 0600) != 0) return last_error();
  const int bound = with_address(
      address, [&](const sockaddr* at, socklen_t size) { return ::bind(socket.get(), at, size); });
  if (bound != 0 || ::listen(socket.get(), SOMAXCONN) != 0) return last_error();
  return socket;
}

}  // namespace

// Made under another name, and then renamed to where it is looked for.
result<daemon_socket> daemon_socket::listen(const std::string& path, bool for_others) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  const std::string directory = directory_of(path);
  if (auto made = make_directory(directory, for_others); !made) {
    return std::unexpected(made.error());
  }
  auto lock = lock_name(path);
  if (!lock) return std::unexpected(lock.error());
  if (auto free = nobody_listens(path, *address); !free) return std::unexpected(free.error());

  const std::string beside = directory + "/." + std::to_string(::getpid());
  const auto first = address_of(beside);
  if (!first) return std::unexpected(first.error());
  ::unlink(beside.c_str());  // of a process that had this number and was killed
  const mode_t before = ::umask(0);
  auto socket = listen_at(*first, for_others);
  ::umask(before);
  if (!socket) return std::unexpected(socket.error());
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(beside.c_str());
    return std::unexpected(errno_code(error));
  }
  return daemon_socket(path, socket->release(), lock->release());
}

daemon_socket::daemon_socket(std::string path, int socket, int lock) noexcept
    : path_(std::move(path)), socket_(socket), lock_(lock) {}

daemon_socket::daemon_socket(daemon_socket&& other) noexcept
    : path_(std::move(other.path_)),
      socket_(other.release()),
      lock_(std::exchange(other.lock_, -1)) {}

// The lock goes last: whoever has it finds no name of ours.
daemon_socket::~daemon_socket() {
  if (lock_ < 0) return;
  const descriptor lock(lock_);
  const descriptor socket(socket_);
  ::unlink(path_.c_str());
}

int daemon_socket::release() noexcept { return std::exchange(socket_, -1); }

}  // namespace weir
