#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "weir/buffer.hpp"
#include "weir/sender.hpp"

namespace weir {

/// Pages of 2 MiB for a pool, of which a large transfer needs fewer translations.
enum class huge_pages : std::uint8_t {
  none,         ///< ordinary ones
  transparent,  ///< MADV_HUGEPAGE: a wish, which the kernel fulfils as it can; never an error
  reserved,     ///< MAP_HUGETLB, from vm.nr_hugepages; ENOMEM where there are not enough
};

struct buffer_pool_options {
  /// mlock(2): the memory is resident from the start, and stays so. Beyond RLIMIT_MEMLOCK ENOMEM,
  /// or EPERM where that is 0.
  bool lock = false;
  huge_pages huge = huge_pages::none;
};

namespace detail {

class pool_core;

/// Somebody who waits for a pool's buffer: in the pool's queue first, then, with a buffer or an
/// error, an operation (a nop) that brings this to the context's loop.
class take_state : public awaited_operation {
 public:
  explicit take_state(pool_core* pool) noexcept;
  take_state(const take_state&) = delete;
  take_state& operator=(const take_state&) = delete;
  ~take_state();

  void begin(continuation next) noexcept;
  /// On the context's thread, if there is a free buffer: takes it, and there is nothing to begin.
  bool take_at_once() noexcept;
  result<buffer> take() noexcept;
  operation* stop() noexcept;
  bool refuse(std::int32_t why) noexcept {
    outcome_ = why;
    return true;
  }
  void cancellation_means(std::int32_t why) noexcept {
    if (outcome_ == was_cancelled) outcome_ = why;
  }

 private:
  friend class pool_core;
  friend class waiting_line;

  pool_core* pool_;
  take_state* next_ = nullptr;
  take_state* previous_ = nullptr;
  bool waiting_ = false;  // in the queue; guarded by the pool's mutex
  std::int32_t outcome_;
  buffer taken_;
};

/// A coroutine that finds a free buffer on the context's thread goes on at once.
class take_awaiter {
 public:
  explicit take_awaiter(pool_core* pool) noexcept : state_(pool) {}
  bool await_ready() noexcept { return state_.ready() || state_.take_at_once(); }
  void await_suspend(std::coroutine_handle<> waiter) noexcept {
    state_.begin(continuation::resuming(waiter));
  }
  result<buffer> await_resume() noexcept { return state_.take(); }

 private:
  take_state state_;
};

}  // namespace detail

/// A description like `io_sender`, of waiting for a pool's buffer; yields `result<buffer>`.
class [[nodiscard("a sender does nothing until it is awaited or started")]] take_sender
    : public detail::sender_interface<take_sender> {
 public:
  using value_type = result<buffer>;
  using state_type = detail::take_state;

  explicit take_sender(detail::pool_core* pool) noexcept : pool_(pool) {}
  io_context* context() const noexcept;
  state_type prepare() const noexcept { return state_type{pool_}; }
  detail::take_awaiter operator co_await() const noexcept { return detail::take_awaiter{pool_}; }

 private:
  detail::pool_core* pool_;
};

/// A fixed number of equal buffers, page-aligned, in one mapping that the context's driver has been
/// told of (`opcode::register_memory`): with io_uring, transfers to and from them are fixed-buffer
/// ones, whose pages are pinned once and for all, without anybody changing anything.
///
///     weir::buffer_pool pool(context, 64 * 1024, 32);
///     auto memory = co_await pool.take();                    // waits until one is free
///     auto [n, back] = co_await f.read_at(*std::move(memory), 0);
///                                                            // `back` goes home by its destructor
///
/// They are ordinary buffers of the size asked for. A buffer that has been used before holds what
/// its last user left there; a new one is zeroed.
///
/// Threads: everything but construction, destruction and moving may be called on any thread, and so
/// may the buffers be destroyed. Waiters continue on the context's thread.
///
/// Lifetime: the context outlives the pool and the pool's buffers; the pool outlives its senders.
/// Destroying the pool ends every wait with ECANCELED; the memory stays until the last buffer has
/// been destroyed. Destroying a coroutine that waits aborts: stop it first.
///
/// Waiting is not an operation in flight: `io_context::run()` does not wait for it, and
/// `cancel_all` does not end it; `with_stop`, `with_deadline` and the pool's destruction do.
class buffer_pool {
 public:
  /// `count` buffers of `size` bytes, both more than 0. Throws std::system_error, naming the system
  /// call and its reason: mmap(2), mlock(2).
  buffer_pool(io_context& context, std::size_t size, std::size_t count,
              const buffer_pool_options& options = {});
  /// The same without exceptions. EINVAL for a size or count of 0.
  static result<buffer_pool> make(io_context& context, std::size_t size, std::size_t count,
                                  const buffer_pool_options& options = {}) noexcept;
  /// Moved from, it is closed: `take` yields EBADF.
  buffer_pool(buffer_pool&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  buffer_pool& operator=(buffer_pool&& other) noexcept;
  buffer_pool(const buffer_pool&) = delete;
  buffer_pool& operator=(const buffer_pool&) = delete;
  ~buffer_pool();

  /// A buffer, as soon as one is free: first come, first served. A coroutine on the context's
  /// thread goes on at once if there is one.
  take_sender take() noexcept { return take_sender{core_}; }
  /// A buffer that is free now; EAGAIN if there is none.
  result<buffer> try_take() noexcept;

  std::size_t buffer_size() const noexcept;
  std::size_t count() const noexcept;
  /// Free buffers. While there are any, nobody waits.
  std::size_t available() const noexcept;
  /// How many wait.
  std::size_t waiting() const noexcept;
  /// What the driver made of the memory: success, or why transfers there are ordinary ones;
  /// `std::errc::operation_in_progress` until the context has been driven.
  result<void> registered() const noexcept;

 private:
  explicit buffer_pool(detail::pool_core* core) noexcept : core_(core) {}

  detail::pool_core* core_ = nullptr;
};

}  // namespace weir
