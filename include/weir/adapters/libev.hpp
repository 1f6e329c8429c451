#pragma once

#include <ev++.h>

#include "weir/io_context.hpp"

namespace weir::adapters {

/// An `io_context` in a libev loop: completions run from the loop, beside its sockets' callbacks.
///
///     weir::adapters::libev_attachment files(context);
///     files.attach(loop);
///     ev_run(loop, 0);
///
/// While it is attached the loop does not end by itself. What holds for every attachment
/// (docs/adapters.md): `attach`, `detach` and the loop are for the context's thread; a completion
/// may detach it or destroy it; `detach` leaves what is in flight alone.
class libev_attachment {
 public:
  explicit libev_attachment(io_context& context) noexcept : context_(&context) {
    readable_.set<libev_attachment, &libev_attachment::dispatch>(this);
    about_to_wait_.set<libev_attachment, &libev_attachment::flush>(this);
  }
  libev_attachment(const libev_attachment&) = delete;
  libev_attachment& operator=(const libev_attachment&) = delete;
  ~libev_attachment() { detach(); }

  /// Has the loop watch the context; detached from another one first. Where libev cannot do that
  /// it aborts the program, as for every watcher.
  void attach(struct ev_loop* loop) noexcept {
    detach();
    readable_.set(loop);
    about_to_wait_.set(loop);
    readable_.start(context_->fd(), ev::READ);
    about_to_wait_.start();
  }

  void detach() noexcept {
    readable_.stop();
    about_to_wait_.stop();
  }

 private:
  void dispatch(ev::io&, int) { context_->dispatch(false); }  // `this` may be gone afterwards
  // What callbacks of the loop have started reaches the kernel before the loop waits.
  void flush(ev::prepare&, int) { context_->flush(); }

  io_context* context_;
  ev::io readable_{nullptr};
  ev::prepare about_to_wait_{nullptr};
};

}  // namespace weir::adapters
