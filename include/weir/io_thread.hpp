#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "weir/io_context.hpp"

namespace weir {

/// A context and the thread that runs it. Operations are started on `context()` from any thread;
/// their completions run on the io_thread's own. Signals are blocked there: a program's handlers
/// run on its own threads.
///
/// Destroying it cancels what is in flight (what the kernel did wins), runs every completion, and
/// joins: nothing is lost, nothing is left. `finish` lets it end by itself instead. Either is for
/// one thread, not the io_thread's own.
class io_thread {
 public:
  /// Opens a driver and starts the thread. Throws std::system_error where the driver cannot be
  /// opened (see `open_driver`) or the thread not be started.
  explicit io_thread(const driver_options& options = {});
  /// The same with a driver of one's own, such as one that wraps another.
  explicit io_thread(std::unique_ptr<driver> driver);
  /// Without exceptions.
  static result<std::unique_ptr<io_thread>> open(const driver_options& options = {}) noexcept;
  io_thread(const io_thread&) = delete;
  io_thread& operator=(const io_thread&) = delete;
  ~io_thread();

  /// For starting operations. Lives as long as the io_thread; after `finish` nothing is driven.
  io_context& context() noexcept { return *context_; }

  /// From now on the thread runs on this core only (pthread_setaffinity_np(3)); EINVAL where there
  /// is no such core, or it is not this process's.
  result<void> run_on(unsigned core) noexcept;

  /// Waits until nothing is outstanding, including what completions start, then ends the thread.
  void finish() noexcept;

 private:
  enum class ending { drain, cancel };

  /// The thread ends when this has completed, and not before: so nothing is left behind in the
  /// context that it ran.
  struct last_operation : operation {
    last_operation() noexcept;
    ending how = ending::drain;
    bool completed = false;
  };

  void run() noexcept;
  void end(ending how) noexcept;

  std::unique_ptr<io_context> context_;
  last_operation last_;
  std::thread thread_;
};

/// One io_thread per core: scaling without sharing. Each has a driver, a ring, a queue of its own.
///
///     weir::io_pool pool;
///     weir::start(f.read_at(memory, 0), callback);     // f opened on pool.next()
///
/// Thread-safe, but for construction and destruction.
class io_pool {
 public:
  /// `threads` of them; 0 means one for each core this process may run on (sched_getaffinity(2)).
  /// With `pin`, each runs only on a core of its own. Throws as io_thread does.
  explicit io_pool(unsigned threads = 0, const driver_options& options = {}, bool pin = false);

  std::size_t size() const noexcept { return threads_.size(); }
  /// Explicit placement: the one with this number, below `size()`.
  io_context& operator[](std::size_t index) noexcept { return threads_[index]->context(); }
  /// Each in turn.
  io_context& next() noexcept {
    return (*this)[turn_.fetch_add(1, std::memory_order_relaxed) % size()];
  }
  /// Waits until nothing is outstanding on any, then ends the threads. What one starts on another
  /// that has ended already would never be driven: drain such a program by its own means first.
  void finish() noexcept;

 private:
  std::vector<std::unique_ptr<io_thread>> threads_;
  std::atomic<std::size_t> turn_ = 0;
};

}  // namespace weir
