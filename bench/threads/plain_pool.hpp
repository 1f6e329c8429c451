#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace weir::bench {

/// The pool of threads that everybody writes: a mutex, a condition variable that each submission
/// signals, and an eventfd that says when something has finished. Jobs are the caller's own.
template <class Job>
class plain_pool {
 public:
  plain_pool(unsigned threads, std::function<void(Job&)> carry_out)
      : carry_out_(std::move(carry_out)), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  plain_pool(const plain_pool&) = delete;
  plain_pool& operator=(const plain_pool&) = delete;
  ~plain_pool() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    wanted_.notify_all();
    threads_.clear();
    ::close(event_);
  }

  void submit(Job& job) {
    {
      const std::scoped_lock lock(mutex_);
      queued_.push_back(&job);
    }
    wanted_.notify_one();
  }

  /// Blocks until something has finished.
  std::vector<Job*> collect() {
    pollfd readable{.fd = event_, .events = POLLIN, .revents = 0};
    ::poll(&readable, 1, -1);
    std::uint64_t count = 0;
    static_cast<void>(::read(event_, &count, sizeof count));
    const std::scoped_lock lock(mutex_);
    return std::exchange(finished_, {});
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wanted_.wait(lock, [&] { return stopping_ || first_ != queued_.size(); });
      if (first_ == queued_.size()) return;
      Job& job = take();
      lock.unlock();
      carry_out_(job);
      lock.lock();
      finished_.push_back(&job);
      if (finished_.size() > 1) continue;
      const std::uint64_t one = 1;
      static_cast<void>(::write(event_, &one, sizeof one));
    }
  }

  Job& take() {
    Job& job = *queued_[first_++];
    if (first_ == queued_.size()) {
      queued_.clear();
      first_ = 0;
    }
    return job;
  }

  const std::function<void(Job&)> carry_out_;
  const int event_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::vector<Job*> queued_;
  std::size_t first_ = 0;
  std::vector<Job*> finished_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace weir::bench
