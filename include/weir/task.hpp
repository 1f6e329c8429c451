#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

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

/// `context.run(work)`: drives the context on this thread until `work` is done.
template <class T>
T sync_wait(io_context& context, task<T> work) {
  return context.run(std::move(work));
}

}  // namespace weir
