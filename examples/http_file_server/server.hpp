#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include <boost/intrusive/list.hpp>

#include "connection.hpp"
#include "event_loop.hpp"
#include "options.hpp"
#include "site.hpp"
#include "stall_meter.hpp"

namespace http_file_server {

/// What servers on several threads share: all borrowed.
struct shared_descriptors {
  int root = -1;    ///< the served directory, opened with O_PATH
  int ending = -1;  ///< readable from when they are to end, for all of them
};

/// One thread's server, with a listening socket of its own among those of the others.
class server {
 public:
  server(weir::io_context& context, const options& settings, const shared_descriptors& shared);
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Listens. Errors: EADDRINUSE, EACCES, EINVAL for an address that is none.
  weir::result<void> open();
  /// The port that it listens on, which the kernel may have chosen.
  weir::result<std::uint16_t> port() const noexcept;
  /// Serves until it is told to end, then until what has been asked for is sent, or the grace is
  /// up.
  weir::result<void> run();

  std::chrono::nanoseconds worst_stall() const noexcept { return stalls_.worst(); }

 private:
  /// A watcher that calls a member of the server.
  template <void (server::*member)() noexcept>
  struct calls final : watcher {
    explicit calls(server& owner) noexcept : self(owner) {}
    void on_events(std::uint32_t) noexcept override { (self.*member)(); }
    server& self;
  };

  void accept_some() noexcept;
  void welcome(int fd) noexcept;
  void listen_while_there_is_room() noexcept;
  void end() noexcept;
  weir::result<void> drain();
  template <class Tell>
  void for_each_connection(Tell tell) noexcept;

  options settings_;
  shared_descriptors shared_;
  event_loop loop_;
  site site_;
  stall_meter stalls_;
  boost::intrusive::list<connection, boost::intrusive::constant_time_size<false>> connections_;
  calls<&server::accept_some> on_client_{*this};
  calls<&server::end> on_end_{*this};
  std::size_t room_for_;  // so many connections, or as many as there were when no more could be had
  int listener_ = -1;
  bool listening_ = false;  // the loop watches the listener
};

}  // namespace http_file_server
