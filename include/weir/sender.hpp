#pragma once

#include <coroutine>
#include <cstddef>

#include "weir/operation.hpp"
#include "weir/result.hpp"

namespace weir {

class io_context;

namespace detail {

struct file_state;

/// -EBADF, without <cerrno>'s macros in a public header.
inline constexpr std::int32_t bad_descriptor = -9;

/// Starts `op` on `context`, counting it as in flight on `file` if there is one. After this call
/// `op` may be gone already: another thread may have completed it.
void start(io_context& context, operation& op, file_state* file) noexcept;

/// Counts one operation on `file` as finished; carries out a close that waited for it.
void finish(file_state* file) noexcept;

/// An operation that resumes a coroutine. Lives in the coroutine's frame while it is suspended.
class awaiting_operation : public operation {
 public:
  /// Without a context there is nowhere to start it: it yields EBADF at once, as what is asked of
  /// a closed file does.
  awaiting_operation(io_context* context, const request& what, file_state* file,
                     completion when_done = &resume) noexcept
      : operation(what, when_done), context_(context), file_(file) {
    if (context == nullptr) set_answer(bad_descriptor);
  }

  bool await_ready() const noexcept { return context_ == nullptr; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept {
    waiter_ = waiter;
    start(*context_, *this, file_);  // `this` may be gone from here on
  }

 protected:
  void start_again() noexcept { start(*context_, *this, file_); }
  void set_waiter(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
  void resume_waiter() noexcept { waiter_.resume(); }
  io_context* context() const noexcept { return context_; }
  file_state* state_of_file() const noexcept { return file_; }

 private:
  static void resume(operation& op) noexcept {
    auto& self = static_cast<awaiting_operation&>(op);
    finish(self.file_);
    self.resume_waiter();
  }

  io_context* context_;
  file_state* file_;
  std::coroutine_handle<> waiter_;
};

template <class T>
class io_awaiter : public awaiting_operation {
 public:
  using awaiting_operation::awaiting_operation;
  result<T> await_resume() const noexcept { return to_result<T>(answer()); }
};

}  // namespace detail

/// One operation, described and not yet begun: movable, without effect until it is awaited.
///
/// `co_await` starts it and yields `result<T>` on the context's thread. The context, the file and
/// any borrowed memory outlive the operation. Awaiting twice performs it twice.
template <class T>
class [[nodiscard("a sender does nothing until it is awaited")]] basic_sender {
 public:
  using value_type = result<T>;

  basic_sender(io_context* context, const request& what,
               detail::file_state* file = nullptr) noexcept
      : context_(context), file_(file), what_(what) {}

  detail::io_awaiter<T> operator co_await() const noexcept {
    return detail::io_awaiter<T>{context_, what_, file_};
  }

  const request& what() const noexcept { return what_; }

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
