#include <utility>

#include "drivers/drivers.hpp"
#include "drivers/readiness.hpp"
#include "drivers/worker_pool.hpp"

namespace weir::detail {
namespace {

/// Blocking calls on a pool of threads: works on every kernel and every file.
class threads_driver final : public driver {
 public:
  explicit threads_driver(const driver_limits& limits)
      : queue_depth_(limits.queue_depth),
        pool_(new worker_pool(limits.threads, [this] { outside_.wake_ups().signal(); })) {}

  std::expected<void, refusal> open() noexcept {
    if (auto opened = outside_.open(); !opened) return opened;
    if (const int error = pool_->open(); error < 0) {
      return std::unexpected(refusal{"pthread_create", -error});
    }
    return {};
  }

  void submit(operation_queue& staged) noexcept override {
    operation_queue work;
    while (!staged.empty()) {
      operation& op = staged.front();
      if (op.args.op == opcode::cancel) {
        staged.pop_front();
        pool_->submit(std::exchange(work, {}));  // its target may be among these
        op.set_answer(cancel(op.args));
        answered_.push_back(op);
      } else if (readiness::takes(op.args.op)) {
        outside_.start(staged.pop_front());
      } else if (in_flight_ < queue_depth_) {
        ++in_flight_;
        staged.pop_front();
        // To wake a thread would take longer.
        op.args.op == opcode::nop ? finish_no_op(op) : work.push_back(op);
      } else {
        break;
      }
    }
    if (!work.empty()) pool_->submit(std::move(work));
  }

  // While there is something to complete, nobody need be told that there is more: only before this
  // thread waits, here or at fd(), does a worker pay for a system call.
  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool signalled = outside_.wake_ups().clear();
    collect(completed, outside_.shown() ? owner::falls_asleep : owner::stays_awake);
    if (!completed.empty() || signalled || until == deadline::now()) return;
    collect(completed, owner::falls_asleep);
    if (!completed.empty()) return;
    outside_.wait(until);
    outside_.wake_ups().clear();
    collect(completed, outside_.shown() ? owner::falls_asleep : owner::stays_awake);
  }

  bool context_may_read() const noexcept override { return true; }

  void wake() noexcept override { outside_.wake_ups().signal(); }

  int fd() const noexcept override { return outside_.fd(); }

 private:
  using owner = worker_pool::owner;

  std::int32_t cancel(const request& what) noexcept {
    if (what.address == nullptr) {
      outside_.cancel_named(what);
      pool_->cancel_named(what);
      return 0;
    }
    auto& target = *static_cast<operation*>(what.address);
    return outside_.cancel(target) == 0 ? 0 : pool_->cancel(target);
  }

  void finish_no_op(operation& op) noexcept {
    op.set_answer(0);
    no_ops_.push_back(op);
  }

  void collect(operation_queue& completed, owner then) noexcept {
    completed.append(std::move(answered_));
    in_flight_ -= no_ops_.size();
    completed.append(std::move(no_ops_));
    in_flight_ -= pool_->collect(completed, then);
    outside_.collect(completed);
  }

  const std::size_t queue_depth_;
  std::size_t in_flight_ = 0;  // with the pool, or a no-op
  operation_queue answered_;   // cancel requests, not yet reaped
  operation_queue no_ops_;     // the same
  readiness outside_;
  worker_pool_ptr pool_;  // last: its threads signal `outside_` until they have ended
};

}  // namespace

opened_driver open_threads(const driver_limits& limits) {
  auto made = std::make_unique<threads_driver>(limits);
  if (auto opened = made->open(); !opened) return std::unexpected(opened.error());
  return made;
}

}  // namespace weir::detail
