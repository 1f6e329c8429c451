// The daemon. From the socket inwards:
//
//   server.cc         who is let in, and the end
//   client.cc         one connection: what it asks for
//   incoming.cc       its messages as they come, with descriptors
//   ../protocol.cc    what a message may be
//   carrying_out.hpp  what it is answered with: transfers, a file for each kind
//   transfer.cc       what all of these do: answers, waiting, being stopped
//   turns.cc          whose transfers may move bytes
//   byte_mover.cc     a step of that
//   endpoint.cc       clients' descriptors, never waited for
//   open_files.cc     the files, beneath the root
//   operations_session.cc  operations of clients that attach: the other half of drivers/daemon.cc

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "daemon/server/client.hpp"
#include "daemon/server/server_state.hpp"
#include "weir/daemon.hpp"

namespace weir {
namespace {

using namespace detail::daemon;

bool peer_of(int connection, peer& who) noexcept {
  ucred raw{};
  socklen_t size = sizeof raw;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &raw, &size) != 0) return false;
  who = {.process = raw.pid, .user = raw.uid};
  return true;
}

}  // namespace

class daemon_server::state {
 public:
  state(io_context& context, int listening_socket, daemon_options options)
      : shared_(context, std::move(options)), socket_(listening_socket), steps_(context) {
    // A service manager's may wait: who was about to connect may be gone when it is accepted.
    ::fcntl(listening_socket, F_SETFL, ::fcntl(listening_socket, F_GETFL) | O_NONBLOCK);
  }

  task<> serve();
  void drain() noexcept;
  void stop() noexcept;
  std::string metrics() const { return metrics_text(shared_); }

 private:
  bool accept_one();
  bool may_enter(const peer& who) const noexcept;
  static detail::detached attend(server_state& shared, endpoint connection, peer who);
  void refuse(const endpoint& connection, int error) noexcept;
  void dismiss_idle() noexcept;

  server_state shared_;
  descriptor socket_;
  stoppable steps_;
};

// Where descriptors have run out, one that wants to connect would make the socket readable for
// ever: then a pause, rather than a loop that turns.
task<> daemon_server::state::serve() {
  const request readable{.op = opcode::poll, .fd = socket_.get(), .flags = POLLIN};
  while (co_await steps_.perform(readable) > 0) {
    if (accept_one()) continue;
    const auto pause = detail::timeout_request(shared_.context, std::chrono::milliseconds(100));
    if (co_await steps_.perform(pause) < 0) break;
  }
  socket_.reset();
  while (!shared_.clients.empty()) {
    dismiss_idle();
    co_await shared_.ended;
  }
}

void daemon_server::state::drain() noexcept {
  shared_.draining = true;
  steps_.stop(ESHUTDOWN);
  shared_.ended.tell();
}

void daemon_server::state::stop() noexcept {
  drain();
  for (client* each : shared_.clients) each->stop_transfers(ECANCELED);
}

void daemon_server::state::dismiss_idle() noexcept {
  for (client* each : shared_.clients) {
    if (each->is_idle()) each->hang_up();
  }
}

// --- who is let in -------------------------------------------------------------------------------

bool daemon_server::state::may_enter(const peer& who) const noexcept {
  if (who.user == ::geteuid()) return true;
  return std::ranges::find(shared_.options.allowed_uids, who.user) !=
         shared_.options.allowed_uids.end();
}

// False where there was none to be had and one should wait a little.
bool daemon_server::state::accept_one() {
  const int fd = ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) {
    return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
  }
  endpoint connection{descriptor(fd)};
  peer who;
  if (!peer_of(fd, who) || !may_enter(who)) {
    refuse(connection, EACCES);
  } else if (shared_.clients.size() >= shared_.options.max_clients) {
    refuse(connection, EMFILE);
  } else {
    attend(shared_, std::move(connection), who);
  }
  return true;
}

// It is told why, and then the connection is closed.
void daemon_server::state::refuse(const endpoint& connection, int error) noexcept {
  ++shared_.counts.rejected_clients;
  const answer why{.kind = message::ended, .status = -error};
  static_cast<void>(shared_.mover.io().write(connection, std::as_bytes(std::span(&why, 1))));
}

detail::detached daemon_server::state::attend(server_state& shared, endpoint connection, peer who) {
  client self(shared, std::move(connection), who);
  co_await self.serve();
}

// --- as others see it ----------------------------------------------------------------------------

daemon_server::daemon_server(io_context& context, int listening_socket, daemon_options options)
    : state_(std::make_unique<state>(context, listening_socket, std::move(options))) {}
daemon_server::~daemon_server() = default;

task<> daemon_server::serve() { return state_->serve(); }
void daemon_server::drain() noexcept { state_->drain(); }
void daemon_server::stop() noexcept { state_->stop(); }
std::string daemon_server::metrics() const { return state_->metrics(); }

}  // namespace weir
