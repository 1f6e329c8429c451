#pragma once

#include <cerrno>
#include <utility>

#include <event2/event.h>

#include "weir/io_context.hpp"

namespace weir::adapters {

/// An `io_context` in a libevent 2 loop: completions run from the loop, beside its sockets'
/// callbacks.
///
///     weir::adapters::libevent_attachment files(context);
///     if (auto attached = files.attach(base); !attached) return attached.error();
///     event_base_dispatch(base);
///
/// While it is attached the loop does not end by itself. What holds for every attachment
/// (docs/adapters.md): `attach`, `detach` and the loop are for the context's thread; a completion
/// may detach it or destroy it; `detach` leaves what is in flight alone.
class libevent_attachment {
 public:
  explicit libevent_attachment(io_context& context) noexcept : context_(&context) {}
  libevent_attachment(const libevent_attachment&) = delete;
  libevent_attachment& operator=(const libevent_attachment&) = delete;
  ~libevent_attachment() { detach(); }

  /// Has the loop watch the context; detached from another one first. Of a failure libevent says
  /// no more than that there was one: yields errno, as it was left, or ENOMEM.
  result<void> attach(event_base* base) noexcept {
    detach();
    errno = 0;
    event_ = event_new(base, context_->fd(), EV_READ | EV_PERSIST, &readable, context_);
    if (event_ == nullptr || event_add(event_, nullptr) != 0) {
      const int error = errno != 0 ? errno : ENOMEM;
      release();
      return std::unexpected(detail::errno_code(error));
    }
    // libevent 2.1 lets nothing run before each wait, so what its callbacks start has to show.
    context_->show_starts(true);
    return {};
  }

  void detach() noexcept {
    if (event_ == nullptr) return;
    release();
    context_->show_starts(false);
  }

 private:
  void release() noexcept {
    if (event* given_up = std::exchange(event_, nullptr)) event_free(given_up);
  }
  static void readable(evutil_socket_t, short, void* context) {
    static_cast<io_context*>(context)->dispatch(false);
  }

  io_context* context_;
  event* event_ = nullptr;
};

}  // namespace weir::adapters
