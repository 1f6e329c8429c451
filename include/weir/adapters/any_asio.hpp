#pragma once

#include <memory>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "weir/callback.hpp"
#include "weir/io_context.hpp"
#include "weir/stop.hpp"

/// What <weir/adapters/asio.hpp> and <weir/adapters/boost_asio.hpp> share. Asio lives in two
/// namespaces; each of the two headers names, in a struct, what is needed of its own.
namespace weir::detail {

/// What runs on the handler's executor when an operation is over: the handler, with the value.
template <class Asio, class Handler, class Value>
struct asio_delivery {
  using allocator_type = decltype(Asio::allocator_of(std::declval<const Handler&>()));

  allocator_type get_allocator() const noexcept { return Asio::allocator_of(handler); }
  void operator()() {
    auto slot = Asio::slot_of(handler);
    if (slot.is_connected()) slot.clear();  // there is nothing left to cancel
    std::move(handler)(std::move(value));
  }

  Handler handler;
  Value value;
};

/// What Asio calls, now or when a deferred token gets to it, with the handler that it has made of
/// the token.
template <class Asio>
class asio_initiation {
 public:
  using executor_type = typename Asio::io_context::executor_type;

  explicit asio_initiation(executor_type executor) noexcept : executor_(std::move(executor)) {}
  executor_type get_executor() const noexcept { return executor_; }

  template <class Handler, sender Sender>
  void operator()(Handler&& handler, Sender what) const {
    auto slot = Asio::slot_of(handler);
    if (!slot.is_connected()) return begin(std::move(what), std::forward<Handler>(handler));
    std::stop_source source;
    slot.assign([source](auto) mutable { source.request_stop(); });
    begin(with_stop(std::move(what), source.get_token()), std::forward<Handler>(handler));
  }

 private:
  // Deferred, not called: the handler runs from its executor's own queue, so what it throws leaves
  // by that executor's run(), and it has its turn like everything else there.
  template <class Sender, class Handler>
  void begin(Sender what, Handler&& handler) const {
    using kept = std::decay_t<Handler>;
    using value_type = typename Sender::value_type;
    auto executor = Asio::executor_of(handler, executor_);
    auto work = Asio::work_guard(executor);
    weir::start(std::move(what),
                [executor, work = std::move(work),
                 handler = kept(std::forward<Handler>(handler))](value_type value) mutable {
                  Asio::defer(executor, asio_delivery<Asio, kept, value_type>{std::move(handler),
                                                                              std::move(value)});
                });
  }

  executor_type executor_;
};

}  // namespace weir::detail

namespace weir::adapters {

/// An `io_context` of weir in one of Asio's, which one thread runs: completions run from its loop,
/// beside its sockets' handlers.
///
///     weir::adapters::asio_attachment files(context, loop);
///     if (auto attached = files.attach(); !attached) return attached.error();
///     files.async(file.read_at(memory, 0), [](weir::result<std::size_t> count) { … });
///     loop.run();
///
/// While it is attached, `loop.run()` does not return by itself. What holds for every attachment
/// (docs/adapters.md): `attach` and `detach` are for the context's thread, or for when nobody runs
/// the loop; a completion may detach it or destroy it; `detach` leaves what is in flight alone.
/// Handlers of operations in flight are kept by weir, so the loop outlives the context.
template <class Asio>
class basic_asio_attachment {
 public:
  using loop_type = typename Asio::io_context;
  using executor_type = typename loop_type::executor_type;

  basic_asio_attachment(io_context& context, loop_type& loop) noexcept
      : context_(&context), loop_(&loop) {}
  basic_asio_attachment(const basic_asio_attachment&) = delete;
  basic_asio_attachment& operator=(const basic_asio_attachment&) = delete;
  ~basic_asio_attachment() { detach(); }

  executor_type get_executor() const noexcept { return loop_->get_executor(); }

  /// Has the loop watch the context. Yields what the system said where it failed; throws
  /// std::bad_alloc.
  result<void> attach() {
    detach();
    auto made = std::make_shared<watch>(*loop_);
    typename Asio::error_code error;
    made->descriptor.assign(context_->fd(), error);
    if (error) return std::unexpected(detail::errno_code(error.value()));
    context_->show_starts(true);
    made->context = context_;
    wait(made);
    watch_ = std::move(made);
    return {};
  }

  void detach() noexcept {
    const auto given_up = std::exchange(watch_, nullptr);
    if (!given_up) return;
    given_up->context = nullptr;
    given_up->descriptor.release();  // the descriptor remains the context's
    context_->show_starts(false);
  }

  /// Begins `what`, and completes as the completion token says (a callback, use_future,
  /// use_awaitable, deferred, …) with one argument, what a coroutine of weir's would be given:
  /// errors are in it, as is a travelling buffer, also where the transfer failed. Nothing is thrown
  /// for them.
  ///
  /// The handler runs on its associated executor, by default the loop's, which has work until
  /// then. Its cancellation slot, if it has one, stops the operation as `with_stop` does. Any
  /// thread may call it, attached or not.
  template <sender Sender, class Token>
  auto async(Sender what, Token&& token) const {
    return Asio::template initiate<Token, void(typename Sender::value_type)>(
        detail::asio_initiation<Asio>(get_executor()), token, std::move(what));
  }

 private:
  // Handlers that Asio has queued already may come after `detach`, so they share this.
  struct watch {
    explicit watch(loop_type& loop) : descriptor(loop) {}
    typename Asio::descriptor descriptor;
    io_context* context = nullptr;  // null once detached
  };

  static void wait(const std::shared_ptr<watch>& on) {
    on->descriptor.async_wait(Asio::descriptor::wait_read, [on](const auto&) {
      if (on->context != nullptr) on->context->dispatch(false);  // may have detached
      if (on->context != nullptr) wait(on);
    });
  }

  io_context* context_;
  loop_type* loop_;
  std::shared_ptr<watch> watch_;
};

}  // namespace weir::adapters
