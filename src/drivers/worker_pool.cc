#include "drivers/worker_pool.hpp"

#include <pthread.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "fork_guard.hpp"
#include "perform.hpp"
#include "signal_mask.hpp"

namespace weir::detail {
namespace {

// Long enough not to end between two bursts, short enough that a peak's threads do not stay.
constexpr std::chrono::seconds idle_before_end{5};

}  // namespace

worker_pool::worker_pool(unsigned max_threads, std::function<void()> notify)
    : max_threads_(max_threads), notify_(std::move(notify)), fork_generation_(fork_generation()) {}

worker_pool::~worker_pool() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    queued_ = {};
  }
  work_or_stop_.notify_all();
  for (worker& each : working_) each.thread.join();
  for (worker& each : ended_) each.thread.join();
}

int worker_pool::open() noexcept {
  const std::scoped_lock lock(mutex_);
  return start_thread();
}

bool worker_pool::made_in_this_process() const noexcept {
  return fork_generation_ == fork_generation();
}

// --- owner ---------------------------------------------------------------------------------------

void worker_pool::submit(operation_queue work) noexcept {
  const std::scoped_lock lock(mutex_);
  queued_.append(std::move(work));
  summon_one();
}

std::size_t worker_pool::collect(operation_queue& completed) noexcept {
  workers ended;
  std::size_t count = 0;
  {
    const std::scoped_lock lock(mutex_);
    count = done_.size();
    completed.append(std::move(done_));
    ended = std::move(ended_);
  }
  for (worker& each : ended) each.thread.join();
  return count;
}

int worker_pool::cancel(operation& target) noexcept {
  const std::scoped_lock lock(mutex_);
  if (queued_.remove(target)) {
    withdraw(target);
    return 0;
  }
  for (const worker& each : working_) {
    if (each.performing == &target) return -EALREADY;
  }
  return -ENOENT;
}

void worker_pool::cancel_named(const request& cancel) noexcept {
  const std::scoped_lock lock(mutex_);
  operation_queue spared;
  while (!queued_.empty()) {
    operation& op = queued_.pop_front();
    names(cancel, op) ? withdraw(op) : spared.push_back(op);
  }
  queued_ = std::move(spared);
}

// The owner collects it as it collects everything; it is on its own thread, so nobody is notified.
void worker_pool::withdraw(operation& op) noexcept {
  op.set_answer(-ECANCELED);
  done_.push_back(op);
}

std::size_t worker_pool::threads() noexcept {
  const std::scoped_lock lock(mutex_);
  return working_.size();
}

// --- workers -------------------------------------------------------------------------------------

// One at a time: while one is on its way, those at work go on, and short operations are done before
// it arrives. When operations block, each arrival summons the next, and all are there within a few
// wake-ups.
void worker_pool::summon_one() noexcept {
  if (queued_.empty() || summoned_) return;
  if (idle_ > 0) {
    summoned_ = true;
    work_or_stop_.notify_one();
  } else if (working_.size() < max_threads_) {
    summoned_ = start_thread() == 0;  // if not, those at work carry on
  }
}

int worker_pool::start_thread() noexcept {
  const all_signals_blocked during_start;
  try {
    const auto self = working_.emplace(working_.end());
    try {
      self->thread = std::thread([this, self] { work(self); });
    } catch (const std::system_error& refused) {
      working_.erase(self);
      return -refused.code().value();
    }
    ::pthread_setname_np(self->thread.native_handle(), "weir-io");
    return 0;
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
}

void worker_pool::work(workers::iterator self) noexcept {
  std::unique_lock lock(mutex_);
  summoned_ = false;
  while (!queued_.empty() || wait_for_work(lock)) carry_out(*self, lock);
  // The destructor joins by walking `working_`, so from then on nobody may move within it.
  if (!stopping_) ended_.splice(ended_.end(), working_, self);
}

// False when this thread is to end.
bool worker_pool::wait_for_work(std::unique_lock<std::mutex>& lock) noexcept {
  bool idle_too_long = false;
  ++idle_;
  while (queued_.empty() && !stopping_ && !idle_too_long) {
    if (working_.size() == 1) {
      work_or_stop_.wait(lock);
    } else {
      idle_too_long = work_or_stop_.wait_for(lock, idle_before_end) == std::cv_status::timeout &&
                      working_.size() > 1;
    }
    // Whoever was summoned has arrived, even if another took the operation meanwhile.
    summoned_ = false;
  }
  --idle_;
  return !queued_.empty();
}

void worker_pool::carry_out(worker& self, std::unique_lock<std::mutex>& lock) noexcept {
  operation& op = queued_.pop_front();
  self.performing = &op;
  summon_one();
  lock.unlock();
  const std::int32_t answer = perform(op.args);
  lock.lock();
  self.performing = nullptr;
  op.set_answer(answer);
  done_.push_back(op);
  // Whoever made the list non-empty has notified the owner; it has not looked since.
  if (done_.size() > 1) return;
  lock.unlock();
  notify_();
  lock.lock();
}

}  // namespace weir::detail
