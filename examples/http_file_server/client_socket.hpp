#pragma once

#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>

#include "event_loop.hpp"

namespace http_file_server {

/// A client's socket in the loop. Calls that would block yield 0 or say so at once; then its
/// coroutine, the only one that waits here, awaits `readable` or `writable`.
class client_socket final : private watcher, private deadline {
 public:
  /// Owns `fd`, which is non-blocking.
  client_socket(event_loop& loop, int fd) noexcept : loop_(loop), fd_(fd) {}
  client_socket(const client_socket&) = delete;
  client_socket& operator=(const client_socket&) = delete;
  ~client_socket();

  weir::result<void> open() noexcept;

  /// recv(2): yields 0 when the client has sent everything; EAGAIN when nothing is there yet.
  weir::result<std::size_t> receive(std::span<char> into) noexcept;
  /// sendmsg(2): yields how many bytes the kernel has taken, 0 when it takes none at present.
  weir::result<std::size_t> send(std::span<const iovec> what) noexcept { return send(what, 0); }
  /// The same of what is followed by more at once, so that both share packets: MSG_MORE.
  weir::result<std::size_t> send_before_more(std::span<const iovec> what) noexcept;
  /// sendfile(2): yields how many bytes the kernel has taken, 0 at the file's end; EAGAIN when it
  /// takes none at present. Waits for pages that are not in memory.
  weir::result<std::size_t> send_file(int file, std::uint64_t offset, std::size_t length) noexcept;
  /// No more will be sent; the client sees the end behind what has been.
  void finish_sending() const noexcept;

  /// The time that the client has until the next call of this.
  void renew_deadline() noexcept;
  /// What is awaited, now and from now on, has failed: the time is up, or the server ends.
  void give_up() noexcept;
  bool given_up() const noexcept { return given_up_; }

  /// Awaiting them yields whether it is so; false after `give_up` or when the time is up.
  auto readable() noexcept { return readiness{*this, EPOLLIN | EPOLLRDHUP}; }
  auto writable() noexcept { return readiness{*this, EPOLLOUT}; }

 private:
  struct readiness {
    client_socket& self;
    std::uint32_t events;
    bool await_ready() const noexcept { return self.given_up_; }
    void await_suspend(std::coroutine_handle<> waiter) const noexcept {
      self.wanted_ = events | EPOLLERR | EPOLLHUP;
      self.waiter_ = waiter;
    }
    bool await_resume() const noexcept { return !self.given_up_; }
  };

  weir::result<std::size_t> send(std::span<const iovec> what, int flags) noexcept;
  void on_events(std::uint32_t events) noexcept override;
  void on_deadline() noexcept override { give_up(); }
  void wake() noexcept;

  event_loop& loop_;
  int fd_;
  std::uint32_t wanted_ = 0;
  std::coroutine_handle<> waiter_;
  bool drained_ = false;     // nothing has come since the last receive
  bool peer_ended_ = false;  // will send no more
  bool given_up_ = false;
};

}  // namespace http_file_server
