#pragma once

#include <glib.h>

#include <utility>

#include "weir/io_context.hpp"

namespace weir::adapters {

/// An `io_context` in a GLib main loop: completions run from the loop, beside its other sources.
///
///     weir::adapters::glib_attachment files(context);
///     files.attach(nullptr);  // to the default GMainContext
///     g_main_loop_run(loop);
///
/// It is a source of G_PRIORITY_DEFAULT. A loop that a completion runs inside the loop (a dialogue)
/// goes on without it. What holds for every attachment (docs/adapters.md): `attach`, `detach` and
/// the loop are for the context's thread; a completion may detach it or destroy it; `detach` leaves
/// what is in flight alone.
class glib_attachment {
 public:
  explicit glib_attachment(io_context& context) noexcept : context_(&context) {}
  glib_attachment(const glib_attachment&) = delete;
  glib_attachment& operator=(const glib_attachment&) = delete;
  ~glib_attachment() { detach(); }

  /// Has the loop watch the context; detached from another one first. Cannot fail.
  void attach(GMainContext* loop) noexcept {
    detach();
    source_ = g_source_new(functions(), sizeof(source));
    source& made = of(source_);
    made.context = context_;
    made.watched = g_source_add_unix_fd(source_, context_->fd(), G_IO_IN);
    g_source_set_name(source_, "weir");
    g_source_attach(source_, loop);
  }

  void detach() noexcept {
    GSource* given_up = std::exchange(source_, nullptr);
    if (given_up == nullptr) return;
    g_source_destroy(given_up);
    g_source_unref(given_up);
  }

 private:
  // GLib allocates it, zeroed, and frees it when nobody refers to it any more.
  struct source {
    GSource base;
    io_context* context;
    gpointer watched;
  };
  static source& of(GSource* base) noexcept { return *reinterpret_cast<source*>(base); }

  // What callbacks of the loop have started reaches the kernel before the loop waits.
  static gboolean prepare(GSource* self, gint* timeout_ms) {
    of(self).context->flush();
    *timeout_ms = -1;
    return FALSE;
  }
  static gboolean check(GSource* self) {
    return g_source_query_unix_fd(self, of(self).watched) != 0 ? TRUE : FALSE;
  }
  static gboolean dispatch(GSource* self, GSourceFunc, gpointer) {
    of(self).context->dispatch(false);  // may have detached
    return G_SOURCE_CONTINUE;
  }
  // GLib wants a table that it could write to; nobody does.
  static GSourceFuncs* functions() noexcept {
    static GSourceFuncs table{.prepare = &prepare,
                              .check = &check,
                              .dispatch = &dispatch,
                              .finalize = nullptr,
                              .closure_callback = nullptr,
                              .closure_marshal = nullptr};
    return &table;
  }

  io_context* context_;
  GSource* source_ = nullptr;
};

}  // namespace weir::adapters
