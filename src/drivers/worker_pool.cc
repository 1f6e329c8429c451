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
  for (worker& each : asleep_) each.wake_up.notify_one();
  for (workers* const each : {&awake_, &asleep_, &ended_}) {
    for (worker& one : *each) one.thread.join();
  }
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
  worker* summoned = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    queued_.append(std::move(work));
    summoned = summon_one();
  }
  // Not under the lock, which is the first thing that the other needs.
  if (summoned != nullptr) summoned->wake_up.notify_one();
}

std::size_t worker_pool::collect(operation_queue& completed, owner then) noexcept {
  if (any_ended_.load(std::memory_order_relaxed)) join_ended();
  const std::size_t withdrawn = withdrawn_.size();
  completed.append(std::move(withdrawn_));
  return withdrawn + finished_.take(completed, then);
}

void worker_pool::join_ended() noexcept {
  workers ended;
  {
    const std::scoped_lock lock(mutex_);
    ended = std::move(ended_);
    any_ended_.store(false, std::memory_order_relaxed);
  }
  for (worker& each : ended) each.thread.join();
  const std::scoped_lock lock(mutex_);
  vacant_.splice(vacant_.end(), ended);
}

int worker_pool::cancel(operation& target) noexcept {
  const std::scoped_lock lock(mutex_);
  if (queued_.remove(target)) {
    withdraw(target);
    return 0;
  }
  for (const worker& each : awake_) {
    if (each.performing.load(std::memory_order_relaxed) == &target) return -EALREADY;
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
  withdrawn_.push_back(op);
}

std::size_t worker_pool::threads() noexcept {
  const std::scoped_lock lock(mutex_);
  return count_threads();
}

std::size_t worker_pool::count_threads() const noexcept { return awake_.size() + asleep_.size(); }

// --- workers -------------------------------------------------------------------------------------

// One at a time: while one is on its way, those at work go on, and short operations are done before
// it arrives. When operations block, each arrival summons the next, and all are there within a few
// wake-ups. Returns whom the caller has to wake once it has let go of the lock.
worker_pool::worker* worker_pool::summon_one() noexcept {
  if (queued_.empty() || summoned_) return nullptr;
  if (asleep_.empty()) {
    // If the system refuses another thread, those at work carry on.
    summoned_ = awake_.size() < max_threads_ && start_thread() == 0;
    return nullptr;
  }
  summoned_ = true;
  awake_.splice(awake_.end(), asleep_, asleep_.begin());
  awake_.back().summoned = true;
  return &awake_.back();
}

int worker_pool::start_thread() noexcept {
  const all_signals_blocked during_start;
  try {
    if (vacant_.empty()) vacant_.emplace_back();
    const auto self = vacant_.begin();
    self->summoned = true;
    self->thread = std::thread([this, self] { work(self); });
    ::pthread_setname_np(self->thread.native_handle(), "weir-io");
    awake_.splice(awake_.end(), vacant_, self);
    return 0;
  } catch (const std::system_error& refused) {
    return -refused.code().value();
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
}

void worker_pool::work(workers::iterator self) noexcept {
  std::unique_lock lock(mutex_);
  summoned_ = self->summoned = false;
  while (!queued_.empty() || wait_for_work(self, lock)) carry_out(*self, lock);
  // The destructor joins by walking these lists, so from then on nobody may move between them.
  if (stopping_) return;
  ended_.splice(ended_.end(), asleep_, self);
  any_ended_.store(true, std::memory_order_relaxed);
}

// False when this thread is to end; then it is among those asleep, unless all are to end.
bool worker_pool::wait_for_work(workers::iterator self,
                                std::unique_lock<std::mutex>& lock) noexcept {
  while (queued_.empty()) {
    if (stopping_) return false;
    asleep_.splice(asleep_.begin(), awake_, self);
    if (!sleep_until_summoned(*self, lock)) return false;
    // Whoever was summoned has arrived, even if another took the operation meanwhile.
    summoned_ = self->summoned = false;
  }
  return true;
}

bool worker_pool::sleep_until_summoned(worker& self, std::unique_lock<std::mutex>& lock) noexcept {
  bool idle_too_long = false;
  while (!self.summoned) {
    if (stopping_ || idle_too_long) return false;
    if (count_threads() == 1) {
      self.wake_up.wait(lock);
    } else {
      idle_too_long = self.wake_up.wait_for(lock, idle_before_end) == std::cv_status::timeout &&
                      count_threads() > 1;
    }
  }
  return true;
}

void worker_pool::carry_out(worker& self, std::unique_lock<std::mutex>& lock) noexcept {
  operation& op = queued_.pop_front();
  self.performing.store(&op, std::memory_order_relaxed);
  worker* const summoned = summon_one();
  lock.unlock();
  if (summoned != nullptr) summoned->wake_up.notify_one();
  op.set_answer(perform(op.args));
  // First, for the owner may start another operation at the same address.
  self.performing.store(nullptr, std::memory_order_relaxed);
  if (finished_.put(op)) notify_();
  lock.lock();
}

}  // namespace weir::detail
