#pragma once

#include <uv.h>

#include <cerrno>
#include <memory>
#include <new>
#include <utility>

#include "weir/io_context.hpp"

namespace weir::adapters {

/// An `io_context` in a libuv loop: completions run from the loop, beside its sockets' callbacks.
///
///     weir::adapters::libuv_attachment files(context);
///     if (auto attached = files.attach(loop); !attached) return attached.error();
///     uv_run(loop, UV_RUN_DEFAULT);
///
/// While it is attached the loop does not end by itself. What holds for every attachment
/// (docs/adapters.md): `attach`, `detach` and the loop are for the context's thread; a completion
/// may detach it or destroy it; `detach` leaves what is in flight alone.
class libuv_attachment {
 public:
  explicit libuv_attachment(io_context& context) noexcept : context_(&context) {}
  libuv_attachment(const libuv_attachment&) = delete;
  libuv_attachment& operator=(const libuv_attachment&) = delete;
  ~libuv_attachment() { detach(); }

  /// Has the loop watch the context; detached from another one first. Yields what libuv said where
  /// it failed.
  result<void> attach(uv_loop_t* loop) noexcept {
    detach();
    std::unique_ptr<handles> made(new (std::nothrow) handles{.context = context_});
    if (!made) return std::unexpected(detail::errno_code(ENOMEM));
    if (const int error = uv_poll_init(loop, &made->poll, context_->fd()); error < 0) {
      return std::unexpected(detail::errno_code(-error));
    }
    uv_prepare_init(loop, &made->prepare);
    handles_ = made.release();
    handles_->poll.data = handles_->prepare.data = handles_;
    return start();
  }

  /// libuv frees a handle's memory in the turn after it was closed: run the loop until it has no
  /// more to do, as ever, before uv_loop_close(3).
  void detach() noexcept {
    handles* given_up = std::exchange(handles_, nullptr);
    if (given_up == nullptr) return;
    uv_close(as_handle(given_up->poll), &closed);
    uv_close(as_handle(given_up->prepare), &closed);
  }

 private:
  // libuv's until both are closed, so not part of the attachment.
  struct handles {
    uv_poll_t poll{};
    uv_prepare_t prepare{};
    io_context* context = nullptr;
    int open = 2;
  };

  template <class Handle>
  static uv_handle_t* as_handle(Handle& handle) noexcept {
    return reinterpret_cast<uv_handle_t*>(&handle);  // libuv's inheritance
  }

  result<void> start() noexcept {
    if (const int error = uv_poll_start(&handles_->poll, UV_READABLE, &show); error < 0) {
      detach();
      return std::unexpected(detail::errno_code(-error));
    }
    uv_prepare_start(&handles_->prepare, &about_to_wait);
    return {};
  }

  static void show(uv_poll_t* poll, int, int) {
    static_cast<handles*>(poll->data)->context->dispatch(false);  // may have detached
  }
  // What callbacks of the loop have started reaches the kernel before the loop waits.
  static void about_to_wait(uv_prepare_t* prepare) {
    static_cast<handles*>(prepare->data)->context->flush();
  }
  static void closed(uv_handle_t* handle) {
    auto* self = static_cast<handles*>(handle->data);
    if (--self->open == 0) delete self;
  }

  io_context* context_;
  handles* handles_ = nullptr;
};

}  // namespace weir::adapters
