#include "weir/workers.hpp"

#include <pthread.h>

#include <algorithm>

#include "misuse.hpp"
#include "signal_mask.hpp"

namespace weir {

workers::workers(unsigned threads, std::size_t capacity)
    : capacity_(std::max<std::size_t>(capacity, 1)) {
  const unsigned count = std::max(threads, 1U);
  threads_.reserve(count);
  const detail::all_signals_blocked during_start;
  try {
    while (threads_.size() < count) {
      threads_.emplace_back([this] { work(); });
      ::pthread_setname_np(threads_.back().native_handle(), "weir-worker");
    }
  } catch (...) {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    work_or_stop_.notify_all();
    for (std::thread& each : threads_) each.join();
    throw;
  }
}

workers::~workers() {
  {
    const std::scoped_lock lock(mutex_);
    if (promised_ != 0) {
      detail::misuse(
          "workers were destroyed while operations started with them were in flight; their "
          "completions would have nowhere to run. Drive the contexts to their end first");
    }
    stopping_ = true;
  }
  work_or_stop_.notify_all();
  for (std::thread& each : threads_) each.join();
}

std::size_t workers::queued() const noexcept {
  const std::scoped_lock lock(mutex_);
  return queued_;
}

// --- the queue -----------------------------------------------------------------------------------

void workers::wait_for_room() noexcept {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return queued_ < capacity_; });
  ++queued_;
}

bool workers::take_room() noexcept {
  const std::scoped_lock lock(mutex_);
  if (queued_ >= capacity_) return false;
  ++queued_;
  return true;
}

void workers::give_back_room() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    --queued_;
  }
  room_.notify_one();
}

void workers::push(queued_job* what) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    append(what);
  }
  work_or_stop_.notify_one();
}

void workers::promise() noexcept {
  const std::scoped_lock lock(mutex_);
  ++promised_;
}

// Notified under the lock: whoever destroys the workers once the last promise is kept must not find
// this thread still in here.
void workers::keep_promise(queued_job* what) noexcept {
  const std::scoped_lock lock(mutex_);
  --promised_;
  ++queued_;
  append(what);
  work_or_stop_.notify_one();
}

void workers::append(queued_job* what) noexcept {
  (last_ != nullptr ? last_->next : first_) = what;
  last_ = what;
}

// --- the threads ---------------------------------------------------------------------------------

void workers::work() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_or_stop_.wait(lock, [&] { return first_ != nullptr || stopping_; });
    if (first_ == nullptr) return;
    queued_job* next = first_;
    first_ = next->next;
    if (first_ == nullptr) last_ = nullptr;
    --queued_;
    lock.unlock();
    room_.notify_one();
    next->run_and_free(*next);
    lock.lock();
  }
}

}  // namespace weir
