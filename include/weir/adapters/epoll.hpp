#pragma once

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

#include "weir/io_context.hpp"

namespace weir::adapters {

/// An `io_context` in an epoll(7) loop of one's own: completions run in `wait`, which stands where
/// epoll_wait(2) stood.
///
///     weir::adapters::epoll_attachment files(context);
///     if (auto attached = files.attach(epoll_fd); !attached) return attached.error();
///     std::array<epoll_event, 64> events;
///     while (auto ready = files.wait(events, -1))
///       for (const epoll_event& event : std::span(events).first(*ready)) serve(event);
///
/// What holds for every attachment (docs/adapters.md): `attach`, `detach` and the loop are for the
/// context's thread; `detach` leaves what is in flight alone. Only `wait` must not see the
/// attachment destroyed by a completion; a completion may detach it.
class epoll_attachment {
 public:
  explicit epoll_attachment(io_context& context) noexcept : context_(&context) {}
  epoll_attachment(const epoll_attachment&) = delete;
  epoll_attachment& operator=(const epoll_attachment&) = delete;
  ~epoll_attachment() { detach(); }

  /// Has `epoll_fd` watch the context; detached from another one first. Yields what epoll_ctl(2)
  /// said where it failed. `mark` tells the context's event from others, which must not have the
  /// same; the attachment's address by default.
  result<void> attach(int epoll_fd) noexcept { return attach(epoll_fd, {.ptr = this}); }
  result<void> attach(int epoll_fd, epoll_data_t mark) noexcept {
    detach();
    epoll_event wanted{.events = EPOLLIN, .data = mark};
    if (::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, context_->fd(), &wanted) != 0) {
      return std::unexpected(detail::errno_code(errno));
    }
    epoll_fd_ = epoll_fd;
    mark_ = mark;
    has_work_ = true;  // perhaps: one look is cheap
    return {};
  }

  void detach() noexcept {
    const int from = std::exchange(epoll_fd_, -1);
    if (from >= 0) ::epoll_ctl(from, EPOLL_CTL_DEL, context_->fd(), nullptr);
  }

  /// Runs the completions that the last wait saw coming, hands what has been started to the kernel,
  /// then waits like epoll_wait(2): without blocking, if completions have run. Yields how many
  /// events there are, without the context's own, and 0 where a signal came; or what epoll_wait(2)
  /// said where it failed. Completions run before events are fetched, never between that and their
  /// handling: so they may close what they like.
  result<std::size_t> wait(std::span<epoll_event> into, int timeout_ms) noexcept {
    const int from = epoll_fd_;
    if (advance() != 0) timeout_ms = 0;
    const int count = ::epoll_wait(from, into.data(), static_cast<int>(into.size()), timeout_ms);
    if (count < 0 && errno == EINTR) return 0;
    if (count < 0) return std::unexpected(detail::errno_code(errno));
    return take_out_own(into.first(static_cast<std::size_t>(count)));
  }

 private:
  std::size_t advance() noexcept {
    if (std::exchange(has_work_, false)) return context_->dispatch(false);
    context_->flush();
    return 0;
  }

  std::size_t take_out_own(std::span<epoll_event> events) noexcept {
    const auto own = std::ranges::find_if(
        events, [this](const epoll_event& each) { return each.data.u64 == mark_.u64; });
    if (own == events.end()) return events.size();
    has_work_ = true;
    std::move(own + 1, events.end(), own);
    return events.size() - 1;
  }

  io_context* context_;
  int epoll_fd_ = -1;
  epoll_data_t mark_{};
  bool has_work_ = false;
};

}  // namespace weir::adapters
