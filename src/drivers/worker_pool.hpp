#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "weir/operation.hpp"

namespace weir::detail {

/// Threads that carry operations out by `perform`: the threads driver's whole engine, and what the
/// other drivers give the operations to that they cannot do natively.
///
/// Elastic: whoever takes an operation and leaves others waiting sees to it that one more thread is
/// on its way, an idle one or, up to `max_threads`, a new one; a thread idle for seconds ends, all
/// but the last. Idle threads sleep. The owner's thread submits, collects and cancels; `notify`
/// tells it, from a worker's thread, that there is something to collect.
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

  /// Appends what has finished to `completed`; returns how many.
  std::size_t collect(operation_queue& completed) noexcept;

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
  struct worker {
    std::thread thread;
    const operation* performing = nullptr;
  };
  using workers = std::list<worker>;

  int start_thread() noexcept;
  void work(workers::iterator self) noexcept;
  bool wait_for_work(std::unique_lock<std::mutex>& lock) noexcept;
  void carry_out(worker& self, std::unique_lock<std::mutex>& lock) noexcept;
  void summon_one() noexcept;
  void withdraw(operation& op) noexcept;

  const std::size_t max_threads_;
  const std::function<void()> notify_;
  const unsigned fork_generation_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable work_or_stop_;
  operation_queue queued_;
  operation_queue done_;
  workers working_;
  workers ended_;  // to be joined
  std::size_t idle_ = 0;
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
