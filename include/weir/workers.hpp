#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "weir/callback.hpp"

namespace weir {

/// Threads for what is to be done with a completion: decoding, hashing, answering; so that the
/// context's thread goes on with I/O. They take jobs from one queue, first come, first served.
///
/// The queue's bound is exact for what is posted: `post` waits at `capacity` jobs, `try_post` says
/// no. Completions of operations started with `start(sender, workers, callback)` never wait: they
/// hold their memory since their start, so their number is bounded by what was started, and the
/// context's thread is never held up. They count towards the bound.
///
/// Any thread may call any member. Destroying it finishes every job that is queued, then joins; it
/// must outlive the operations started with it, or aborts with a sentence. What a job throws
/// terminates the program. A job may post, and may start operations; one that waits for room while
/// every worker does waits for ever, so jobs use `try_post`.
class workers {
 public:
  /// `threads` of them, at least one. Throws std::system_error where the system refuses.
  explicit workers(unsigned threads, std::size_t capacity = 100'000);
  workers(const workers&) = delete;
  workers& operator=(const workers&) = delete;
  ~workers();

  /// Runs `job()` on one of the threads; waits for room. Throws std::bad_alloc.
  template <class Job>
    requires std::is_invocable_v<Job&>
  void post(Job job) {
    auto made = std::make_unique<callable<Job>>(std::in_place, std::move(job));
    wait_for_room();
    push(made.release());
  }

  /// The same without waiting: false, and `job` is as it was, where there is no room.
  template <class Job>
    requires std::is_invocable_v<std::decay_t<Job>&>
  bool try_post(Job&& job) {
    if (!take_room()) return false;
    std::unique_ptr<callable<std::decay_t<Job>>> made;
    try {
      made = std::make_unique<callable<std::decay_t<Job>>>(std::in_place, std::forward<Job>(job));
    } catch (...) {
      give_back_room();
      throw;
    }
    push(made.release());
    return true;
  }

  unsigned threads() const noexcept { return static_cast<unsigned>(threads_.size()); }
  std::size_t capacity() const noexcept { return capacity_; }
  /// Jobs that wait for a thread.
  std::size_t queued() const noexcept;

 private:
  template <sender Sender, class Callback>
    requires std::is_invocable_v<Callback&, typename Sender::value_type>
  friend void start(Sender what, workers& on, Callback callback);

  struct queued_job {
    explicit queued_job(void (*how)(queued_job&) noexcept) noexcept : run_and_free(how) {}
    void (*run_and_free)(queued_job&) noexcept;
    queued_job* next = nullptr;
  };

  template <class Call>
  struct callable : queued_job {
    template <class From>
    callable(std::in_place_t, From&& from) : queued_job(&run), call(std::forward<From>(from)) {}
    static void run(queued_job& self) noexcept {
      const std::unique_ptr<callable> owned(static_cast<callable*>(&self));
      owned->call();
    }
    Call call;
  };

  /// An operation, then the job that its completion is: one allocation for both.
  template <class Sender, class Callback>
  struct completion_job : queued_job {
    completion_job(Sender&& what, workers& where, Callback&& callback)
        : queued_job(&run),
          on(where),
          state(std::move(what).prepare()),
          call(std::move(callback)) {}
    void start() noexcept {
      on.promise();
      if (state.ready()) return completed();
      state.begin(detail::continuation::calling<&completion_job::completed>(*this));
    }
    void completed() noexcept { on.keep_promise(this); }
    static void run(queued_job& self) noexcept {
      const std::unique_ptr<completion_job> owned(static_cast<completion_job*>(&self));
      owned->call(owned->state.take());
    }
    workers& on;
    typename Sender::state_type state;
    Callback call;
  };

  void work() noexcept;
  void wait_for_room() noexcept;
  bool take_room() noexcept;
  void give_back_room() noexcept;
  void push(queued_job* what) noexcept;  // into room that was taken
  void promise() noexcept;
  void keep_promise(queued_job* what) noexcept;
  void append(queued_job* what) noexcept;

  const std::size_t capacity_;
  mutable std::mutex mutex_;  // guards everything below, but `threads_`
  std::condition_variable work_or_stop_;
  std::condition_variable room_;
  queued_job* first_ = nullptr;
  queued_job* last_ = nullptr;
  std::size_t queued_ = 0;    // in the list, or about to be
  std::size_t promised_ = 0;  // operations in flight whose completion will be a job
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Begins `what`; `callback(value)` runs on one of the workers when it has finished. Otherwise as
/// `start(sender, callback)`. The workers outlive the operation.
template <sender Sender, class Callback>
  requires std::is_invocable_v<Callback&, typename Sender::value_type>
void start(Sender what, workers& on, Callback callback) {
  using job = workers::completion_job<Sender, Callback>;
  auto made = std::make_unique<job>(std::move(what), on, std::move(callback));
  made.release()->start();
}

}  // namespace weir
