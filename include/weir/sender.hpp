#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "weir/operation.hpp"
#include "weir/result.hpp"

namespace weir {

class io_context;

namespace detail {

struct file_state;

/// Negative errno values, without <cerrno>'s macros in a public header.
inline constexpr std::int32_t bad_descriptor = -9;   // EBADF
inline constexpr std::int32_t timed_out = -110;      // ETIMEDOUT
inline constexpr std::int32_t was_cancelled = -125;  // ECANCELED

/// Starts `op` on `context`, counting it as in flight on `file` if there is one. After this call
/// `op` may be gone already: another thread may have completed it.
void start(io_context& context, operation& op, file_state* file) noexcept;

/// Tries a read at once, where there is a chance that the page cache has it all, on the context's
/// thread and within its turn's bounds. False where it must be started.
bool read_at_once(io_context& context, operation& op, file_state* file) noexcept;

/// Counts one operation on `file` as finished; carries out a close that waited for it.
void finish(file_state* file) noexcept;

/// Whom to tell, on the context's thread, that something has finished.
struct continuation {
  void (*run)(void* who) noexcept = nullptr;
  void* who = nullptr;

  static continuation resuming(std::coroutine_handle<> waiter) noexcept {
    return {[](void* frame) noexcept { std::coroutine_handle<>::from_address(frame).resume(); },
            waiter.address()};
  }
  /// Calls `member` of `object`.
  template <auto member, class T>
  static continuation calling(T& object) noexcept {
    return {[](void* self) noexcept { (static_cast<T*>(self)->*member)(); }, &object};
  }
  void operator()() const noexcept { run(who); }
};

/// An operation that somebody waits for: what a sender becomes when it is started, whoever waits.
/// Pinned. Every such state has these members, which coroutines, callbacks, futures and the guards
/// of <weir/stop.hpp> are built on:
///  - `ready()`: there is nothing to start; take the value at once;
///  - `try_at_once()`, where it has one: instead of `begin`; true if that was all;
///  - `begin(next)`: starts it; `next` runs on the context's thread when it is over;
///  - `take()`: the value, once, after that;
///  - `stop()`: asks it to end early, and names the operation to be cancelled to that end, if any;
///    between begin and end, on the context's thread;
///  - `refuse(answer)`: instead of beginning it; false if it must not be left out;
///  - `cancellation_means(answer)`: before `take`, what to answer if it was cancelled.
class awaited_operation : public operation {
 public:
  /// Without a context there is nowhere to start it: it yields EBADF at once, as what is asked of
  /// a closed file does.
  awaited_operation(io_context* context, const request& what, file_state* file,
                    completion when_done = &over) noexcept
      : operation(what, when_done), context_(context), file_(file) {
    if (context == nullptr) set_answer(bad_descriptor);
  }

  bool ready() const noexcept { return context_ == nullptr; }
  void begin(continuation next) noexcept {
    then_ = next;
    start(*context_, *this, file_);  // `this` may be gone from here on
  }
  operation* stop() noexcept { return this; }
  bool refuse(std::int32_t why) noexcept {
    set_answer(why);
    return true;
  }
  void cancellation_means(std::int32_t why) noexcept {
    if (answer() == was_cancelled) set_answer(why);
  }

 protected:
  /// From its own completion: once more, with what `args` have become. Counted as started before
  /// it counts as finished, so a close that waits goes on waiting.
  void repeat() noexcept {
    file_state* file = file_;
    start(*context_, *this, file);
    finish(file);
  }
  void continue_with(continuation next) noexcept { then_ = next; }
  /// Tells whoever waits; `this` may be gone afterwards.
  void end() noexcept {
    finish(file_);
    then_();
  }
  /// The same for what was not counted on its file.
  void end_uncounted() noexcept { then_(); }
  bool read_at_once() noexcept {
    return args.op == opcode::read && detail::read_at_once(*context_, *this, file_);
  }
  io_context* context() const noexcept { return context_; }
  file_state* state_of_file() const noexcept { return file_; }

 private:
  static void over(operation& op) noexcept { static_cast<awaited_operation&>(op).end(); }

  io_context* context_;
  file_state* file_;
  continuation then_;
};

template <class T>
class plain_state : public awaited_operation {
 public:
  using awaited_operation::awaited_operation;
  bool try_at_once() noexcept
    requires std::same_as<T, std::size_t>
  {
    return read_at_once();
  }
  result<T> take() const noexcept { return to_result<T>(answer()); }
};

/// A coroutine waiting for a state, which lives in its frame meanwhile.
template <class Sender>
class awaiter {
 public:
  explicit awaiter(Sender&& what) noexcept(noexcept(std::move(what).prepare()))
      : state_(std::move(what).prepare()) {}

  bool await_ready() noexcept {
    if (state_.ready()) return true;
    if constexpr (requires { state_.try_at_once(); }) return state_.try_at_once();
    return false;
  }
  void await_suspend(std::coroutine_handle<> waiter) noexcept {
    state_.begin(continuation::resuming(waiter));
  }
  typename Sender::value_type await_resume() { return state_.take(); }

 private:
  typename Sender::state_type state_;
};

/// A foreign receiver waiting for a state: an operation state as P2300 has it.
template <class Sender, class Receiver>
class receiving_state {
 public:
  receiving_state(Sender&& what, Receiver receiver)
      : state_(std::move(what).prepare()), receiver_(std::move(receiver)) {}
  receiving_state(const receiving_state&) = delete;
  receiving_state& operator=(const receiving_state&) = delete;
  ~receiving_state() = default;

  void start() & noexcept {
    if (state_.ready()) return deliver();
    state_.begin(continuation::calling<&receiving_state::deliver>(*this));
  }

 private:
  void deliver() noexcept { std::move(receiver_).set_value(state_.take()); }

  typename Sender::state_type state_;
  Receiver receiver_;
};

/// What every sender can do. A sender derives from it and has `value_type`, `state_type` and
/// `prepare() &&`, which makes the state.
template <class Sender>
class sender_interface {
 public:
  /// For coroutines: starts it, and yields its value on the context's thread.
  auto operator co_await() && { return awaiter<Sender>{static_cast<Sender&&>(*this)}; }
  auto operator co_await() const&
    requires std::is_copy_constructible_v<Sender>
  {
    return awaiter<Sender>{Sender(static_cast<const Sender&>(*this))};
  }

  /// For foreign executors (P2300, stdexec): an operation state with `start()`, which ends in
  /// `std::move(receiver).set_value(value)` on the context's thread, from its loop; or at once
  /// where there is nothing to start (a closed file). The value is the `result` that a coroutine
  /// would get: errors and cancellation travel in it, never by set_error or set_stopped.
  template <class Receiver>
  auto connect(Receiver receiver) && {
    return receiving_state<Sender, Receiver>{static_cast<Sender&&>(*this), std::move(receiver)};
  }

 private:
  friend Sender;
  sender_interface() = default;
};

}  // namespace detail

/// What can be awaited, started with a callback, made a future of, or given a deadline: a
/// description that has no effect yet.
template <class T>
concept sender = requires(T&& description) {
  typename T::value_type;
  typename T::state_type;
  { static_cast<T&&>(description).prepare() } -> std::same_as<typename T::state_type>;
  { description.context() } -> std::same_as<io_context*>;
};

/// One operation, described and not yet begun: movable, without effect until it is awaited or
/// started.
///
/// `co_await` starts it and yields `result<T>` on the context's thread; without suspending where a
/// read finds everything in the page cache, but not too often in a row (docs/decisions/0018). The
/// context, the file and any borrowed memory outlive the operation. Awaiting twice performs it
/// twice.
template <class T>
class [[nodiscard("a sender does nothing until it is awaited or started")]] basic_sender
    : public detail::sender_interface<basic_sender<T>> {
 public:
  using value_type = result<T>;
  using state_type = detail::plain_state<T>;

  basic_sender(io_context* context, const request& what,
               detail::file_state* file = nullptr) noexcept
      : context_(context), file_(file), what_(what) {}

  /// Where it completes; null if it is asked of a closed file and answers EBADF by itself.
  io_context* context() const noexcept { return context_; }
  const request& what() const noexcept { return what_; }
  state_type prepare() const noexcept { return state_type{context_, what_, file_}; }

 private:
  io_context* context_;
  detail::file_state* file_;
  request what_;
};

/// A transfer: yields the number of bytes moved, 0 at end of file.
using io_sender = basic_sender<std::size_t>;
/// An operation that yields nothing but success.
using io_void_sender = basic_sender<void>;

}  // namespace weir
