#include "client_socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace http_file_server {
namespace {

std::unexpected<std::error_code> last_error() noexcept {
  return std::unexpected(std::error_code(errno, std::system_category()));
}

}  // namespace

client_socket::~client_socket() { ::close(fd_); }

// Edge-triggered: one registration for the socket's whole life, and no call to change it.
weir::result<void> client_socket::open() noexcept {
  const int on = 1;
  // A response is sent whole as far as it is there; its last packet must not wait for anything.
  if (::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) return last_error();
  return loop_.watch(fd_, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this);
}

// Less than was asked for is all that there was, and what comes later is another edge: so the call
// that would only say EAGAIN is not made. But the end may have come in one edge with the data.
weir::result<std::size_t> client_socket::receive(std::span<char> into) noexcept {
  if (drained_) {
    errno = EAGAIN;
    return last_error();
  }
  const ssize_t count = ::recv(fd_, into.data(), into.size(), 0);
  if (count < 0) return last_error();
  drained_ = !peer_ended_ && static_cast<std::size_t>(count) < into.size();
  return static_cast<std::size_t>(count);
}

weir::result<std::size_t> client_socket::send(std::span<const iovec> what, int flags) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(what.data());  // only read
  message.msg_iovlen = what.size();
  const ssize_t count = ::sendmsg(fd_, &message, MSG_NOSIGNAL | flags);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EAGAIN) return 0;
  return last_error();
}

weir::result<std::size_t> client_socket::send_before_more(std::span<const iovec> what) noexcept {
  return send(what, MSG_MORE);
}

weir::result<std::size_t> client_socket::send_file(int file, std::uint64_t offset,
                                                   std::size_t length) noexcept {
  auto position = static_cast<off_t>(offset);
  const ssize_t count = ::sendfile(fd_, file, &position, length);
  if (count < 0) return last_error();
  return static_cast<std::size_t>(count);
}

// Of a connection that is gone already there is nothing to end.
void client_socket::finish_sending() const noexcept { ::shutdown(fd_, SHUT_WR); }

void client_socket::renew_deadline() noexcept { loop_.set(*this); }

void client_socket::give_up() noexcept {
  given_up_ = true;
  wake();
}

void client_socket::on_events(std::uint32_t events) noexcept {
  if ((events & ~std::uint32_t{EPOLLOUT}) != 0) drained_ = false;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) peer_ended_ = true;
  if ((events & wanted_) != 0) wake();
}

// The coroutine may end, and this with it.
void client_socket::wake() noexcept {
  wanted_ = 0;
  if (auto waiter = std::exchange(waiter_, nullptr)) waiter.resume();
}

}  // namespace http_file_server
