#include "server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace http_file_server {
namespace {

// Of those who wait to be accepted, in one turn.
constexpr int accepted_in_a_turn = 16;
constexpr int waiting_to_be_accepted = 1024;

std::unexpected<std::error_code> last_error() noexcept {
  return std::unexpected(std::error_code(errno, std::system_category()));
}

/// An address of IPv6 or IPv4, as the socket calls take it.
struct socket_address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

weir::result<socket_address> parse_address(const std::string& text, std::uint16_t port) noexcept {
  socket_address made;
  auto* six = reinterpret_cast<sockaddr_in6*>(&made.storage);
  auto* four = reinterpret_cast<sockaddr_in*>(&made.storage);
  if (::inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    made.length = sizeof *six;
  } else if (::inet_pton(AF_INET, text.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    made.length = sizeof *four;
  } else {
    return std::unexpected(std::make_error_code(std::errc::invalid_argument));
  }
  return made;
}

// SO_REUSEPORT: each thread has its own queue of clients, which the kernel fills evenly.
bool listen_on(int fd, socket_address& address) noexcept {
  const int on = 1;
  return ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
         ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
         ::bind(fd, address.get(), address.length) == 0 &&
         ::listen(fd, waiting_to_be_accepted) == 0;
}

weir::task<> serve(site& shared, int fd, auto& connections) {
  connection client(shared, fd);
  connections.push_back(client);
  co_await client.serve();
}

}  // namespace

server::server(weir::io_context& context, const options& settings, const shared_descriptors& shared)
    : settings_(settings),
      shared_(shared),
      loop_(context, settings.timeout),
      site_{.settings = settings_,
            .root = shared.root,
            .loop = loop_,
            .files = file_cache(loop_, {.root = shared.root,
                                        .capacity = settings.open_files,
                                        .revalidate = settings.revalidate}),
            .blocks = {},
            .date = {}},
      stalls_(loop_),
      room_for_(settings.connections) {}

server::~server() {
  if (listener_ >= 0) ::close(listener_);
}

weir::result<void> server::open() {
  auto address = parse_address(settings_.address, settings_.port);
  if (!address) return std::unexpected(address.error());
  const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  listener_ = ::socket(address->storage.ss_family, type, 0);
  if (listener_ < 0 || !listen_on(listener_, *address)) return last_error();
  if (auto opened = loop_.open(); !opened) return opened;
  if (settings_.measure_stalls) {
    if (auto started = stalls_.start(); !started) return started;
  }
  return loop_.watch(shared_.ending, EPOLLIN, on_end_);
}

weir::result<std::uint16_t> server::port() const noexcept {
  socket_address bound{.length = sizeof(sockaddr_storage)};
  if (::getsockname(listener_, bound.get(), &bound.length) != 0) return last_error();
  // At the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&bound.storage)->sin_port);
}

weir::result<void> server::run() {
  while (!site_.ending) {
    listen_while_there_is_room();
    if (auto turned = loop_.turn(loop_clock::time_point::max()); !turned) return turned;
  }
  return drain();
}

// Who finds no room waits in the kernel's queue, not here.
void server::listen_while_there_is_room() noexcept {
  const bool room = site_.connections < room_for_;
  if (room == listening_) return;
  if (room) {
    listening_ = loop_.watch(listener_, EPOLLIN, on_client_).has_value();
  } else {
    loop_.forget(listener_);
    listening_ = false;
  }
}

void server::accept_some() noexcept {
  room_for_ = settings_.connections;
  for (int i = 0; i < accepted_in_a_turn && site_.connections < room_for_; ++i) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      welcome(fd);
    } else {
      // A want of descriptors or memory ends when a connection does. All else is over already.
      const bool want = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      if (want) room_for_ = std::max<std::size_t>(site_.connections, 1);
      return;
    }
  }
}

void server::welcome(int fd) noexcept {
  weir::spawn(loop_.context(), serve(site_, fd, connections_));
}

// The connections are told after the turn: they may be gone then, and events of theirs with them.
void server::end() noexcept { site_.ending = true; }

// Whom it tells may be gone afterwards; nobody else.
template <class Tell>
void server::for_each_connection(Tell tell) noexcept {
  for (auto next = connections_.begin(); next != connections_.end();) tell(*next++);
}

weir::result<void> server::drain() {
  loop_.forget(shared_.ending);
  if (std::exchange(listening_, false)) loop_.forget(listener_);
  for_each_connection([](connection& each) { each.end_soon(); });
  const auto last_moment = loop_clock::now() + settings_.grace;
  while (site_.connections != 0 && loop_clock::now() < last_moment) {
    if (auto turned = loop_.turn(last_moment); !turned) return turned;
  }
  for_each_connection([](connection& each) { each.end_now(); });
  // Those that are left wait for a disk or for their turn.
  while (site_.connections != 0) {
    if (auto turned = loop_.turn(loop_clock::time_point::max()); !turned) return turned;
  }
  return {};
}

}  // namespace http_file_server
