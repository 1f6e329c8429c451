#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "weir/io_context.hpp"

namespace weir {

template <class T = void>
class task;

namespace detail {

/// What every task's promise shares: whom to resume at the end.
class task_promise_base {
 public:
  std::suspend_always initial_suspend() const noexcept { return {}; }

  auto final_suspend() const noexcept {
    struct to_waiter {
      std::coroutine_handle<> waiter;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept {
        return waiter ? waiter : std::noop_coroutine();
      }
      void await_resume() const noexcept {}
    };
    return to_waiter{waiter_};
  }

  void unhandled_exception() noexcept { thrown_ = std::current_exception(); }
  void set_waiter(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }

 protected:
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  std::coroutine_handle<> waiter_;
  std::exception_ptr thrown_;
};

template <class T>
class task_promise : public task_promise_base {
 public:
  task<T> get_return_object() noexcept;
  template <class U>
    requires std::is_constructible_v<T, U&&>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() {
    rethrow();
    return *std::move(value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class task_promise<void> : public task_promise_base {
 public:
  task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const { rethrow(); }
};

}  // namespace detail

/// A coroutine that yields a T, or throws. Begins when it is awaited, `run` or spawned, on the
/// thread that does so; owns its frame. Awaited at most once. Destroying one whose operation is in
/// flight aborts (see `operation`); destroying one that has not begun, or is done, frees it.
///
///     weir::task<std::size_t> size_of(weir::file& f) {
///       auto status = co_await f.stat();
///       co_return status ? status->size : 0;
///     }
template <class T>
class [[nodiscard("a task does nothing until it is awaited or run")]] task {
 public:
  using promise_type = detail::task_promise<T>;

  task(const task&) = delete;
  task& operator=(const task&) = delete;
  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() {
    if (frame_) frame_.destroy();
  }

  auto operator co_await() && noexcept {
    struct awaiter {
      std::coroutine_handle<promise_type> frame;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) const noexcept {
        frame.promise().set_waiter(waiter);
        return frame;
      }
      T await_resume() const { return frame.promise().take(); }
    };
    return awaiter{frame_};
  }

 private:
  friend promise_type;
  friend class io_context;
  explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  return task<T>{std::coroutine_handle<task_promise<T>>::from_promise(*this)};
}

inline task<void> task_promise<void>::get_return_object() noexcept {
  return task<void>{std::coroutine_handle<task_promise<void>>::from_promise(*this)};
}

/// The frame of a spawned task: owns itself and ends by itself. What escapes it terminates.
struct detached {
  struct promise_type {
    detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

inline detached run_detached(io_context& context, task<void> work) {
  if (!context.on_own_thread()) {
    [[maybe_unused]] auto scheduled = co_await context.schedule();
  }
  co_await std::move(work);
}

}  // namespace detail

template <class T>
T io_context::run(task<T> work) {
  enter();
  work.frame_.resume();
  while (!work.frame_.done()) turn(true);
  leave();
  return work.frame_.promise().take();
}

/// Lets `work` run by itself on `context`: at once if called on its thread, else from its loop. The
/// context outlives it. An exception that escapes `work` terminates the program: there is nobody
/// to catch it. Any thread.
inline void spawn(io_context& context, task<void> work) {
  detail::run_detached(context, std::move(work));
}

namespace detail {

/// Counts down to the end of several, begun together.
class gathering {
 public:
  explicit gathering(std::size_t count) noexcept : left_(count + 1) {}

  /// Whoever begins them counts as one, so that the last to end finds everything begun. False when
  /// they have all ended already.
  template <class BeginAll>
  bool begin(std::coroutine_handle<> waiter, BeginAll begin_all) noexcept {
    waiter_ = waiter;
    begin_all();
    return left_.fetch_sub(1, std::memory_order_acq_rel) != 1;
  }
  void one_ended() noexcept {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) waiter_.resume();
  }

 private:
  std::atomic<std::size_t> left_;
  std::coroutine_handle<> waiter_;
};

/// One of several that are awaited together: a sender,
template <class Awaited>
class gathered {
 public:
  using value_type = typename Awaited::value_type;

  explicit gathered(Awaited&& what) : state_(std::move(what).prepare()) {}
  void begin(gathering& all) noexcept {
    if (state_.ready()) return all.one_ended();
    state_.begin(continuation::calling<&gathering::one_ended>(all));
  }
  value_type take() { return state_.take(); }

 private:
  typename Awaited::state_type state_;
};

/// or a task.
template <class T>
class gathered<task<T>> {
 public:
  using value_type = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  explicit gathered(task<T>&& what) noexcept : work_(std::move(what)) {}
  void begin(gathering& all) noexcept { run(*this, all); }
  value_type take() {
    if (thrown_) std::rethrow_exception(thrown_);
    return *std::move(value_);
  }

 private:
  static detached run(gathered& self, gathering& all) {
    try {
      if constexpr (std::is_void_v<T>) {
        co_await std::move(self.work_);
        self.value_.emplace();
      } else {
        self.value_.emplace(co_await std::move(self.work_));
      }
    } catch (...) {
      self.thrown_ = std::current_exception();
    }
    all.one_ended();
  }

  task<T> work_;
  std::optional<value_type> value_;
  std::exception_ptr thrown_;
};

template <std::size_t, class Awaited>
struct gathered_at : gathered<Awaited> {
  // What the inherited constructor is given it hands on.
  // NOLINTNEXTLINE(cppcoreguidelines-rvalue-reference-param-not-moved)
  using gathered<Awaited>::gathered;
};

template <class Indices, class... Awaited>
class all_of;

template <std::size_t... index, class... Awaited>
class [[nodiscard("await it")]] all_of<std::index_sequence<index...>, Awaited...>
    : gathered_at<index, Awaited>... {
 public:
  explicit all_of(Awaited&&... each)
      : gathered_at<index, Awaited>(std::move(each))..., counter_(sizeof...(Awaited)) {}
  all_of(const all_of&) = delete;
  all_of& operator=(const all_of&) = delete;
  ~all_of() = default;

  bool await_ready() const noexcept { return sizeof...(Awaited) == 0; }
  bool await_suspend(std::coroutine_handle<> waiter) noexcept {
    return counter_.begin(waiter, [&] { (gathered_at<index, Awaited>::begin(counter_), ...); });
  }
  auto await_resume() {
    return std::tuple<typename gathered<Awaited>::value_type...>{
        gathered_at<index, Awaited>::take()...};
  }

 private:
  gathering counter_;
};

template <class Awaited>
class [[nodiscard("await it")]] all_of_many {
 public:
  explicit all_of_many(std::vector<Awaited> each) : counter_(each.size()) {
    for (Awaited& one : each) gathered_.emplace_back(std::move(one));
  }
  all_of_many(const all_of_many&) = delete;
  all_of_many& operator=(const all_of_many&) = delete;
  ~all_of_many() = default;

  bool await_ready() const noexcept { return gathered_.empty(); }
  bool await_suspend(std::coroutine_handle<> waiter) noexcept {
    return counter_.begin(waiter, [&] {
      for (gathered<Awaited>& one : gathered_) one.begin(counter_);
    });
  }
  auto await_resume() {
    std::vector<typename gathered<Awaited>::value_type> values;
    values.reserve(gathered_.size());
    for (gathered<Awaited>& one : gathered_) values.push_back(one.take());
    return values;
  }

 private:
  gathering counter_;
  std::deque<gathered<Awaited>> gathered_;  // they must not move
};

}  // namespace detail

/// Begins all of them, senders and tasks, and yields a tuple of what they yield when the last has
/// ended; a task<void>'s place holds std::monostate.
///
///     auto [a, b] = co_await weir::when_all(f.read_at(x, 0), g.read_at(y, 0));
///
/// All are waited for, also when one fails or throws; then the first exception, in their order, is
/// thrown again. Senders allocate nothing; a task takes one frame more.
template <class... Awaited>
  requires(std::is_rvalue_reference_v<Awaited &&> && ...)
auto when_all(Awaited&&... each) {
  return detail::all_of<std::index_sequence_for<Awaited...>, Awaited...>{
      std::forward<Awaited>(each)...};
}

/// The same for any number of one kind: yields a vector, in their order.
template <class Awaited>
auto when_all(std::vector<Awaited> each) {
  return detail::all_of_many<Awaited>{std::move(each)};
}

/// `context.run(work)`: drives the context on this thread until `work` is done.
template <class T>
T sync_wait(io_context& context, task<T> work) {
  return context.run(std::move(work));
}

}  // namespace weir
