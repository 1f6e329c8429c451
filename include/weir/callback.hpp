#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "weir/sender.hpp"

namespace weir {

/// A sender and the function that hears of it, in one object: for embedding in an object of yours,
/// so that nothing is allocated.
///
///     struct page_read {
///       weir::callback_operation<weir::io_sender, handler> operation;
///       ...
///     };
///
/// `start()` begins it; `handler(value)` then runs on the context's thread, from its loop; or at
/// once, within `start`, where there is nothing to begin (a closed file). Once for each object. The
/// handler is moved out before it is called, so it may destroy the object. What it throws
/// terminates the program. The object stays where it is while the operation is in flight;
/// destroying it then aborts (see `operation`).
template <sender Sender, class Handler>
class callback_operation {
 public:
  callback_operation(Sender what, Handler handler)
      : state_(std::move(what).prepare()), handler_(std::move(handler)) {}
  callback_operation(const callback_operation&) = delete;
  callback_operation& operator=(const callback_operation&) = delete;
  ~callback_operation() = default;

  void start() noexcept {
    if (state_.ready()) return deliver();
    state_.begin(detail::continuation::calling<&callback_operation::deliver>(*this));
  }

 private:
  void deliver() noexcept {
    Handler handler = std::move(handler_);
    handler(state_.take());  // `this` may be gone from here on
  }

  typename Sender::state_type state_;
  Handler handler_;
};

/// Begins `what`; `callback(value)` runs on the context's thread when it has finished, with what a
/// coroutine would be given: `result<std::size_t>` for a read, a `buffer_result` with the buffer
/// for a travelling one. Any thread may call it. The caller may forget about it: the operation
/// lives in memory of its own, one allocation, freed before the callback runs. Borrowed spans stay
/// valid until then. Throws std::bad_alloc, and has begun nothing then.
template <sender Sender, class Callback>
  requires std::is_invocable_v<Callback&, typename Sender::value_type>
void start(Sender what, Callback callback) {
  struct node {
    struct free_then_call {
      node* self;
      Callback callback;
      void operator()(typename Sender::value_type value) noexcept {
        delete self;
        callback(std::move(value));
      }
    };
    node(Sender&& what, Callback&& callback)
        : operation(std::move(what), free_then_call{this, std::move(callback)}) {}
    callback_operation<Sender, free_then_call> operation;
  };
  auto made = std::make_unique<node>(std::move(what), std::move(callback));
  made.release()->operation.start();
}

}  // namespace weir
