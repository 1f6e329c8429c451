#include "transfer/endpoint.hpp"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "transfer/no_sigpipe.hpp"
#include "uninterrupted.hpp"
#include "weir/request.hpp"

namespace weir::detail {
namespace {

std::unexpected<std::error_code> refusal(int error) noexcept {
  return std::unexpected(errno_code(error));
}

template <class Call>
result<std::size_t> answer_of(Call call) noexcept {
  const ssize_t answer = uninterrupted(call);
  if (answer < 0) return refusal(static_cast<int>(-answer));
  return static_cast<std::size_t>(answer);
}

template <class Call>
result<std::size_t> without_sigpipe(Call call) noexcept {
  const no_sigpipe guard;
  return answer_of(call);
}

std::optional<int> socket_option(int fd, int name) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, name, &value, &size) != 0) return std::nullopt;
  return value;
}

class owned_pipe {
 public:
  owned_pipe() noexcept : made_(::pipe2(ends_.data(), O_CLOEXEC | O_NONBLOCK) == 0) {}
  owned_pipe(const owned_pipe&) = delete;
  owned_pipe& operator=(const owned_pipe&) = delete;
  ~owned_pipe() {
    if (!made_) return;
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  bool made() const noexcept { return made_; }
  int out() const noexcept { return ends_[0]; }
  int in() const noexcept { return ends_[1]; }

 private:
  std::array<int, 2> ends_{-1, -1};
  bool made_;
};

}  // namespace

result<endpoint_kind> kind_of(int fd) noexcept {
  if (const auto type = socket_option(fd, SO_TYPE)) {
    if (*type != SOCK_STREAM) return refusal(EPROTOTYPE);
    return endpoint_kind::stream_socket;
  }
  if (errno != ENOTSOCK) return refusal(errno);
  struct stat status{};
  if (::fstat(fd, &status) != 0) return refusal(errno);
  if (S_ISFIFO(status.st_mode)) return endpoint_kind::pipe;
  if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) return endpoint_kind::file;
  return endpoint_kind::device;
}

bool leads_to(transfer_route route, endpoint_kind kind) noexcept {
  switch (route) {
    case transfer_route::automatic:
    case transfer_route::buffered:
      return true;
    case transfer_route::sendfile:
      return kind == endpoint_kind::stream_socket;
    case transfer_route::splice:
      return kind == endpoint_kind::pipe;
    case transfer_route::copy_file_range:
    case transfer_route::reflink:
      return kind == endpoint_kind::file;
  }
  return false;
}

// Only of O_NONBLOCK is sendfile(2) sure not to wait for the receiver, and whoever shares the
// description can take that off between this look and the call. splice(2) has a flag of its own.
transfer_route direct_route_to(int fd, endpoint_kind kind, bool untrusted) noexcept {
  if (kind == endpoint_kind::pipe) return transfer_route::splice;
  if (kind != endpoint_kind::stream_socket || untrusted) return transfer_route::buffered;
  const int flags = ::fcntl(fd, F_GETFL);
  const bool waits = flags < 0 || (flags & O_NONBLOCK) == 0;
  return waits ? transfer_route::buffered : transfer_route::sendfile;
}

namespace {

// Of one call TCP keeps back what does not fill a packet, and the receiver sleeps longer: calls of
// this size carry 1.4 times as much as one for all (docs/transfers.md).
constexpr std::size_t sendfile_step = std::size_t{128} << 10;

result<std::size_t> send_from_cache(int from, off64_t at, int to, std::size_t length) noexcept {
  const no_sigpipe guard;
  std::size_t moved = 0;
  while (moved < length) {
    const std::size_t asked = std::min(length - moved, sendfile_step);
    const auto answer = answer_of([&] { return ::sendfile64(to, from, &at, asked); });
    // An error is told by the next call, too, if something has been moved before.
    if (!answer && moved == 0) return answer;
    moved += answer.value_or(0);
    if (answer.value_or(0) < asked) break;
  }
  return moved;
}

}  // namespace

result<std::size_t> move_directly(transfer_route route, int from, std::uint64_t offset, int to,
                                  std::size_t length) noexcept {
  auto at = static_cast<off64_t>(offset);
  if (route == transfer_route::sendfile) return send_from_cache(from, at, to, length);
  return without_sigpipe(
      [&] { return ::splice(from, &at, to, nullptr, length, SPLICE_F_NONBLOCK); });
}

result<std::size_t> send_to_socket(int to, std::span<const iovec> memory, bool more) noexcept {
  const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
  // The most frequent case, and the cheaper call.
  if (memory.size() == 1) {
    return answer_of([&] { return ::send(to, memory[0].iov_base, memory[0].iov_len, flags); });
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(memory.data());  // only read
  message.msg_iovlen = memory.size();
  return answer_of([&] { return ::sendmsg(to, &message, flags); });
}

// write(2) waits where the description is not O_NONBLOCK, and pwritev2(2) with RWF_NOWAIT is
// refused for a FIFO, and for a pipe once something has been spliced to it. splice(2) has never
// waited when asked not to; so the bytes go by way of a pipe of our own. What is not taken from
// that is dropped with it, and comes again.
result<std::size_t> send_to_pipe(int to, std::span<const iovec> memory) noexcept {
  const owned_pipe own;
  if (!own.made()) return refusal(errno);
  const result<std::size_t> written =
      answer_of([&] { return ::writev(own.in(), memory.data(), static_cast<int>(memory.size())); });
  if (!written) return written;
  return without_sigpipe(
      [&] { return ::splice(own.out(), nullptr, to, nullptr, *written, SPLICE_F_NONBLOCK); });
}

result<std::size_t> receive_from_socket(int from, std::span<std::byte> memory) noexcept {
  return answer_of([&] { return ::recv(from, memory.data(), memory.size(), MSG_DONTWAIT); });
}

}  // namespace weir::detail
