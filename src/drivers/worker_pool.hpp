#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "drivers/inbox.hpp"
#include "weir/operation.hpp"

namespace weir::detail {

/// Threads that carry operations out by `perform`: the threads driver's whole engine, and what the
/// other drivers give the operations to that they cannot do natively.
///
/// Elastic: whoever takes an operation and leaves others waiting sees to it that one more thread is
/// on its way, an idle one or, up to `max_threads`, a new one; a thread idle for seconds ends, all
/// but the last. Idle threads sleep, and the one that fell asleep last is the first to be woken:
/// its memory is warm, and the others grow old. The owner's thread submits, collects and cancels;
/// `notify` tells it, from a worker's thread, that there is something to collect.
class worker_pool {
 public:
  worker_pool(unsigned max_threads, std::function<void()> notify);
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;
  /// Waits for what is being carried out. What is queued is forgotten: the owner has drained.
  ~worker_pool();

  /// Starts the first thread: 0, or a negative errno where the system refuses one (EAGAIN).
  int open() noexcept;

  void submit(operation_queue work) noexcept;

  using owner = inbox::taker;
  /// Appends what has finished to `completed`; returns how many. The next that finishes is notified
  /// to an owner that falls asleep; one that stays awake has to look again by itself.
  std::size_t collect(operation_queue& completed, owner then = owner::falls_asleep) noexcept;

  /// Withdraws `target`, which then completes with ECANCELED.
  /// Answers as a cancel request does: 0, -EALREADY or -ENOENT.
  int cancel(operation& target) noexcept;
  /// Withdraws what is queued and `cancel`, a request for many, means.
  void cancel_named(const request& cancel) noexcept;

  /// Threads running now.
  std::size_t threads() noexcept;

  /// False in a forked child, where its threads do not exist and its lock may be held for ever.
  bool made_in_this_process() const noexcept;

 private:
  /// A thread, or room for one. It is kept until the pool goes: whoever summons it may still be
  /// about to wake it when it has ended.
  struct worker {
    std::thread thread;
    std::condition_variable wake_up;
    bool summoned = false;  // and not yet at work
    std::atomic<const operation*> performing = nullptr;
  };
  using workers = std::list<worker>;

  void withdraw(operation& op) noexcept;
  void join_ended() noexcept;

  int start_thread() noexcept;
  void work(workers::iterator self) noexcept;
  bool wait_for_work(workers::iterator self, std::unique_lock<std::mutex>& lock) noexcept;
  bool sleep_until_summoned(worker& self, std::unique_lock<std::mutex>& lock) noexcept;
  void carry_out(worker& self, std::unique_lock<std::mutex>& lock) noexcept;
  worker* summon_one() noexcept;
  std::size_t count_threads() const noexcept;

  const std::size_t max_threads_;
  const std::function<void()> notify_;
  const unsigned fork_generation_;

  operation_queue withdrawn_;  // the owner's
  inbox finished_;
  std::atomic<bool> any_ended_ = false;

  std::mutex mutex_;  // guards everything below
  operation_queue queued_;
  workers awake_;   // at work, or on their way
  workers asleep_;  // the last to fall asleep in front
  workers ended_;   // to be joined
  workers vacant_;
  bool summoned_ = false;  // one more thread is on its way
  bool stopping_ = false;
};

/// Leaks a parent's pool in a forked child: there is nothing left to join, and no safe lock.
struct worker_pool_deleter {
  void operator()(worker_pool* pool) const noexcept {
    if (pool->made_in_this_process()) delete pool;
  }
};
using worker_pool_ptr = std::unique_ptr<worker_pool, worker_pool_deleter>;

}  // namespace weir::detail
