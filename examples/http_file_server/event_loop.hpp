// One thread's loop: epoll(7) for sockets, a weir context for files, and whoever waits for a turn.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <vector>

#include <boost/intrusive/list.hpp>

#include <weir/adapters/epoll.hpp>
#include <weir/weir.hpp>

namespace http_file_server {

using loop_clock = std::chrono::steady_clock;

/// Whom the loop tells of a descriptor's events.
class watcher {
 public:
  virtual void on_events(std::uint32_t events) noexcept = 0;

 protected:
  ~watcher() = default;
};

/// Somebody to be told once the time is up; leaves the loop's list by its destruction.
class deadline : public boost::intrusive::list_base_hook<
                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  virtual ~deadline() = default;
  virtual void on_deadline() noexcept = 0;

 private:
  friend class event_loop;
  loop_clock::time_point due_;
};

class event_loop {
 public:
  /// All deadlines are `timeout` from when they are set, so that a list holds them in their order.
  event_loop(weir::io_context& context, std::chrono::milliseconds timeout) noexcept
      : context_(context), files_(context), timeout_(timeout) {}
  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;
  ~event_loop();

  weir::result<void> open() noexcept;
  weir::result<void> watch(int fd, std::uint32_t events, watcher& whom) noexcept;
  void forget(int fd) noexcept;

  /// Waits for events, at most until `until`, and tells everybody once. What a turn does is
  /// bounded: the events of one wait, and a turn for each who waits for one.
  weir::result<void> turn(loop_clock::time_point until) noexcept;

  /// `whom` is told `timeout` from now, and not when it was to be told before.
  void set(deadline& whom) noexcept;
  static void clear(deadline& whom) noexcept {
    if (whom.is_linked()) whom.unlink();
  }

  /// Awaiting it continues in the next turn, after the others have had theirs.
  auto next_turn() noexcept {
    struct turn_awaiter {
      event_loop& loop;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) { loop.runnable_.push_back(waiter); }
      void await_resume() const noexcept {}
    };
    return turn_awaiter{*this};
  }

  /// When this turn began to tell of events.
  loop_clock::time_point now() const noexcept { return now_; }
  weir::io_context& context() noexcept { return context_; }

 private:
  // No more than what the context reads at once in a turn, in blocks of 128 KiB.
  static constexpr std::size_t events_in_a_turn = 15;

  int wait_time(loop_clock::time_point until) const noexcept;
  void tell_deadlines() noexcept;
  void run_runnable() noexcept;

  weir::io_context& context_;
  weir::adapters::epoll_attachment files_;
  std::chrono::milliseconds timeout_;
  int epoll_ = -1;
  loop_clock::time_point now_ = loop_clock::now();
  boost::intrusive::list<deadline, boost::intrusive::constant_time_size<false>> deadlines_;
  std::vector<std::coroutine_handle<>> runnable_;
  std::vector<std::coroutine_handle<>> running_;  // kept for its memory
};

}  // namespace http_file_server
