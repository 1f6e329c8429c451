#pragma once

#include <sys/types.h>

#include <coroutine>
#include <cstdint>
#include <unordered_map>

#include "daemon/protocol.hpp"
#include "daemon/server/carrying_out.hpp"
#include "daemon/server/endpoint.hpp"
#include "daemon/server/incoming.hpp"
#include "daemon/server/operations_session.hpp"
#include "daemon/server/server_state.hpp"
#include "daemon/server/stoppable.hpp"
#include "daemon/server/transfer.hpp"

namespace weir::detail::daemon {

/// Who is at the other end of a connection (SO_PEERCRED).
struct peer {
  pid_t process = 0;
  uid_t user = 0;
};

/// One connection: hears its requests, has them carried out, and owns what is being carried out,
/// all of which ends with it.
class client {
 public:
  client(server_state& server, endpoint connection, peer who);
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client();

  /// Until the other end closes the connection, or `hang_up`. Then nothing of it is left.
  task<> serve();
  void hang_up() noexcept { steps_.stop(ESHUTDOWN); }
  /// Ends all its transfers, with that errno.
  void stop_transfers(int why) noexcept;
  bool is_idle() const noexcept { return transfers_.empty() && operations_.in_flight() == 0; }

  server_state& server() const noexcept { return server_; }
  const endpoint& connection() const noexcept { return connection_; }
  seat& place() noexcept { return place_; }

  /// An answer on the connection, if there is room for it: a client that does not read gets none,
  /// and nothing is kept for it.
  void tell(const answer& one) noexcept;

  // What its transfers say of themselves.
  void begun(transfer& one);
  void over(transfer& one) noexcept;
  void count_moved(message kind, std::uint64_t bytes) noexcept;
  void count_ended(message kind, int error, std::int64_t since_ns) noexcept;

  // For who looks at all of them.
  const peer& who() const noexcept { return who_; }
  std::uint64_t number() const noexcept { return number_; }
  std::size_t transfers() const noexcept { return transfers_.size(); }
  std::uint64_t ended() const noexcept { return ended_; }
  std::uint64_t bytes_moved() const noexcept { return moved_; }

 private:
  void hear(incoming& one);
  void dispatch(const checked_frame& asked, incoming& with);
  void answer_to(const checked_frame& asked, const endpoint& channel, int status) noexcept;
  int refusal_of(message kind) const noexcept;
  void begin_transfer(const checked_frame& asked, incoming& with);
  void begin_metrics(const checked_frame& asked, incoming& with);
  void carry_out(order what, head_start begun);
  void attach(const checked_frame& asked, incoming& with);
  void submit(const checked_frame& asked, incoming& with);
  void send_opened(const checked_frame& asked, incoming& with) noexcept;
  void cancel(const checked_frame& asked, incoming& with) noexcept;
  void tell_about_daemon(const checked_frame& asked, incoming& with) noexcept;

  server_state& server_;
  endpoint connection_;
  peer who_;
  stoppable steps_;
  seat place_;
  std::unordered_map<std::uint64_t, transfer*> transfers_;
  operations_session operations_;
  bool operations_over_ = false;
  notice nothing_left_;
  std::uint64_t number_;  // from 1, in the order in which they came
  std::uint64_t moved_ = 0;
  std::uint64_t ended_ = 0;
};

}  // namespace weir::detail::daemon
