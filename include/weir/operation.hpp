#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "weir/request.hpp"

namespace weir {

class operation;
class operation_queue;

namespace detail {
/// Aborts with one sentence, unless `op` is a forked child's copy of its parent's operation.
void operation_destroyed_in_flight(const operation& op) noexcept;
class inbox;
}  // namespace detail

/// A request on its way to the kernel and back, in storage that its starter owns: one cache line,
/// no allocation. Derive from it to add what the completion needs, or embed it.
///
///     struct my_read : weir::operation { ... };
///     my_read op{{.op = weir::opcode::read, .fd = fd, .address = p, .offset = 0, .length = n},
///                [](weir::operation& done) noexcept { use(static_cast<my_read&>(done).answer());
///                }};
///     context.start(op);
///
/// Life: idle, then in flight from `io_context::start` on, then finished just before its completion
/// runs. A finished operation may be started again, also from its own completion, and may be
/// destroyed there. Destroying one in flight aborts the program with a sentence: going on would let
/// the kernel write into freed memory. In a forked child the parent's operations may be destroyed.
///
/// Threads: `start` may be called from any thread; the completion runs on the context's thread;
/// everything else needs the caller's own synchronisation.
class operation {
 public:
  /// Runs on the context's thread, from its loop, exactly once for each start.
  using completion = void (*)(operation&) noexcept;

  // Field by field: what the compiler has just written it can then keep in registers. Copied in
  // larger pieces it has to wait until memory has them.
  operation(const request& what, completion when_done) noexcept
      : args{.op = what.op,
             .hints = what.hints,
             .priority = what.priority,
             .fd = what.fd,
             .flags = what.flags,
             .mode = what.mode,
             .address = what.address,
             .offset = what.offset,
             .length = what.length},
        complete_(when_done) {}
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;
  ~operation() {
    if (in_flight()) detail::operation_destroyed_in_flight(*this);
  }

  /// What is asked for. Not to be changed while in flight.
  request args;

  /// The system call's answer: a count, a descriptor or 0; or a negative errno. Set when finished.
  std::int32_t answer() const noexcept { return answer_; }

  /// True from `start` until just before the completion runs.
  bool in_flight() const noexcept {
    return __atomic_load_n(&state_, __ATOMIC_RELAXED) == in_flight_state;
  }

  /// For drivers: a cancel request has named it since it was started. One that was not named and
  /// comes back with ECANCELED was given up by the system, not by the caller.
  void request_cancel() noexcept { withdrawal_ = withdrawal::wanted; }
  bool cancel_requested() const noexcept { return withdrawal_ != withdrawal::none; }

  /// For drivers: the answer, before the operation is appended to the completed ones.
  void set_answer(std::int32_t value) noexcept { answer_ = value; }

 private:
  friend class operation_queue;
  friend class io_context;
  friend class detail::inbox;
  friend void detail::operation_destroyed_in_flight(const operation&) noexcept;

  enum state : std::uint8_t { idle_state, in_flight_state, finished_state };
  enum class withdrawal : std::uint8_t { none, wanted, done };

  operation* next_ = nullptr;
  completion complete_;
  std::int32_t answer_ = 0;
  void set_state(state next) noexcept { __atomic_store_n(&state_, next, __ATOMIC_RELAXED); }

  // Accessed atomically because a cancel request may look at its target while another thread starts
  // it. By the compiler's builtins because <atomic> would double this header's weight.
  std::uint8_t state_ = idle_state;
  // Whose operation it is after fork(2); see fork_guard.hpp.
  std::uint8_t fork_generation_ = 0;
  // Where a cancel request that looks for this operation among the staged ones has got to.
  withdrawal withdrawal_ = withdrawal::none;
};

static_assert(sizeof(operation) <= 64, "an operation is one cache line");

/// A first-in first-out list threaded through the operations themselves: nothing is allocated and
/// nothing is owned. An operation is in at most one queue.
class operation_queue {
 public:
  operation_queue() noexcept = default;
  operation_queue(const operation_queue&) = delete;
  operation_queue& operator=(const operation_queue&) = delete;
  operation_queue(operation_queue&& other) noexcept
      : head_(std::exchange(other.head_, nullptr)),
        tail_(std::exchange(other.tail_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  operation_queue& operator=(operation_queue&& other) noexcept {
    head_ = std::exchange(other.head_, nullptr);
    tail_ = std::exchange(other.tail_, nullptr);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  ~operation_queue() = default;

  bool empty() const noexcept { return head_ == nullptr; }
  std::size_t size() const noexcept { return size_; }
  operation& front() const noexcept { return *head_; }

  void push_back(operation& op) noexcept {
    op.next_ = nullptr;
    (tail_ != nullptr ? tail_->next_ : head_) = &op;
    tail_ = &op;
    ++size_;
  }

  void push_front(operation& op) noexcept {
    op.next_ = head_;
    head_ = &op;
    if (tail_ == nullptr) tail_ = &op;
    ++size_;
  }

  operation& pop_front() noexcept {
    operation& op = *head_;
    head_ = op.next_;
    if (head_ == nullptr) tail_ = nullptr;
    --size_;
    return op;
  }

  /// Moves everything in `other` behind what is here, in order.
  void append(operation_queue other) noexcept {
    if (other.empty()) return;
    (tail_ != nullptr ? tail_->next_ : head_) = other.head_;
    tail_ = other.tail_;
    size_ += other.size_;
  }

  /// The one behind `op` in its queue, null behind the last: to look without taking anything out.
  static operation* next(const operation& op) noexcept { return op.next_; }

  /// Calls `visit(operation&)` for each, in order.
  template <class Visitor>
  void for_each(Visitor visit) const {
    for (operation* at = head_; at != nullptr; at = at->next_) visit(*at);
  }

  /// Takes out `op`; false where it is not here. Linear.
  bool remove(const operation& op) noexcept {
    operation* before = nullptr;
    for (operation* at = head_; at != nullptr; before = at, at = at->next_) {
      if (at != &op) continue;
      (before != nullptr ? before->next_ : head_) = at->next_;
      if (tail_ == at) tail_ = before;
      --size_;
      return true;
    }
    return false;
  }

 private:
  operation* head_ = nullptr;
  operation* tail_ = nullptr;
  std::size_t size_ = 0;
};

/// Asks that `target` be given up. The cancel is an operation of its own; what the kernel did wins:
///  - 0: the target had not begun, or was stopped; it completes with ECANCELED;
///  - EALREADY: it is being carried out and cannot be stopped; it completes with its own result;
///  - ENOENT: it is not in flight (never started, or finished already).
/// The target stays alive until the cancel has completed. It is not counted against the queue
/// depth, so it overtakes operations that wait for room.
inline request cancel_request(operation& target) noexcept {
  return {.op = opcode::cancel, .address = &target};
}

/// Asks that every operation on the descriptor `fd` that is in flight be given up; answers 0 once
/// each has been told. What the kernel did wins, as above.
inline request cancel_request_for(int fd) noexcept { return {.op = opcode::cancel, .fd = fd}; }

/// The same for every operation that is in flight on the context, on whatever descriptor.
inline request cancel_request_for_all() noexcept { return {.op = opcode::cancel}; }

/// For drivers: whether `cancel`, a request for many, means `op`.
inline bool names(const request& cancel, const operation& op) noexcept {
  return cancel.address == nullptr && (cancel.fd < 0 || cancel.fd == op.args.fd);
}

}  // namespace weir
