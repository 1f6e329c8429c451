#include "daemon/server/endpoint.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "daemon/server/mounts.hpp"
#include "uninterrupted.hpp"

namespace weir::detail::daemon {
namespace {

int socket_option(int fd, int name) noexcept {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// Others, as packet sockets or those of the kernel's own services, are not made for this.
endpoint_kind kind_of_socket(int fd, int type) noexcept {
  const int domain = socket_option(fd, SO_DOMAIN);
  if (domain != AF_UNIX && domain != AF_INET && domain != AF_INET6) return endpoint_kind::other;
  if (type == SOCK_STREAM) return endpoint_kind::stream;
  return type == SOCK_SEQPACKET ? endpoint_kind::packets : endpoint_kind::other;
}

// Without asking who serves its file system, which may be the client itself (FUSE).
endpoint_kind kind_by_status(int fd) noexcept {
  struct statx about{};
  constexpr int how = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if (::statx(fd, "", how, STATX_TYPE, &about) != 0) return endpoint_kind::other;
  if (S_ISREG(about.stx_mode)) return endpoint_kind::file;
  return S_ISCHR(about.stx_mode) ? endpoint_kind::device : endpoint_kind::other;
}

endpoint_kind kind_of(int fd) noexcept {
  if (::fcntl(fd, F_GETPIPE_SZ) > 0) return endpoint_kind::pipe;
  const int type = socket_option(fd, SO_TYPE);
  return type < 0 ? kind_by_status(fd) : kind_of_socket(fd, type);
}

bool has_access(int fd, int wanted) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  const int access = flags & O_ACCMODE;
  return flags >= 0 && (flags & O_PATH) == 0 && (access == O_RDWR || access == wanted);
}

constexpr off_t no_offset = -1;

}  // namespace

endpoint::endpoint(descriptor fd) noexcept : fd_(std::move(fd)), kind_(kind_of(fd_.get())) {}

descriptor endpoint::release() noexcept { return std::move(fd_); }

bool endpoint::carries_answers() const noexcept {
  return is_socket() || (is_pipe() && has_access(fd(), O_WRONLY));
}

bool endpoint::takes_bytes() const noexcept {
  return kind_ == endpoint_kind::stream || (is_pipe() && has_access(fd(), O_WRONLY));
}

bool endpoint::takes_files() const noexcept {
  if (kind_ == endpoint_kind::device) return has_access(fd(), O_WRONLY);
  if (kind_ == endpoint_kind::file) return has_access(fd(), O_WRONLY) && is_trusted_file(fd());
  return takes_bytes();
}

bool endpoint::gives_bytes() const noexcept {
  return kind_ == endpoint_kind::stream || (is_pipe() && has_access(fd(), O_RDONLY));
}

long endpoint_io::write(const endpoint& to, std::span<const std::byte> bytes) noexcept {
  if (to.is_socket()) {
    constexpr int how = MSG_DONTWAIT | MSG_NOSIGNAL;
    return uninterrupted([&] { return ::send(to.fd(), bytes.data(), bytes.size(), how); });
  }
  const iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  const long answer =
      uninterrupted([&] { return ::pwritev2(to.fd(), &part, 1, no_offset, RWF_NOWAIT); });
  return answer == -EOPNOTSUPP && to.is_pipe() ? write_by_splice(to.fd(), bytes) : answer;
}

long endpoint_io::read(const endpoint& from, std::span<std::byte> memory) noexcept {
  if (from.is_socket()) {
    return uninterrupted(
        [&] { return ::recv(from.fd(), memory.data(), memory.size(), MSG_DONTWAIT); });
  }
  const iovec part{memory.data(), memory.size()};
  const long answer =
      uninterrupted([&] { return ::preadv2(from.fd(), &part, 1, no_offset, RWF_NOWAIT); });
  return answer == -EOPNOTSUPP && from.is_pipe() ? read_by_splice(from.fd(), memory) : answer;
}

// splice(2) takes the wish not to wait from its flags. What the client's pipe did not take is taken
// back out of ours, and is written again another time.
long endpoint_io::write_by_splice(int to, std::span<const std::byte> bytes) noexcept {
  if (!have_pipe()) return -errno;
  const long put = uninterrupted([&] { return ::write(out_.get(), bytes.data(), bytes.size()); });
  if (put <= 0) return put;
  const long moved = uninterrupted([&] {
    return ::splice(in_.get(), nullptr, to, nullptr, static_cast<std::size_t>(put),
                    SPLICE_F_NONBLOCK);
  });
  if (moved < put) drain();
  return moved;
}

long endpoint_io::read_by_splice(int from, std::span<std::byte> memory) noexcept {
  if (!have_pipe()) return -errno;
  const long moved = uninterrupted([&] {
    return ::splice(from, nullptr, out_.get(), nullptr, memory.size(), SPLICE_F_NONBLOCK);
  });
  if (moved <= 0) return moved;
  return uninterrupted(
      [&] { return ::read(in_.get(), memory.data(), static_cast<std::size_t>(moved)); });
}

bool endpoint_io::have_pipe() noexcept {
  if (in_) return true;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return false;
  in_ = descriptor(ends[0]);
  out_ = descriptor(ends[1]);
  return true;
}

void endpoint_io::drain() noexcept {
  std::array<std::byte, 4096> unwanted;
  while (::read(in_.get(), unwanted.data(), unwanted.size()) > 0) {
  }
}

}  // namespace weir::detail::daemon
