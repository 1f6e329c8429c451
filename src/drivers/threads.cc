#include <utility>

#include "drivers/drivers.hpp"
#include "drivers/event_fd.hpp"
#include "drivers/worker_pool.hpp"

namespace weir::detail {
namespace {

/// Blocking calls on a pool of threads: works on every kernel and every file.
class threads_driver final : public driver {
 public:
  explicit threads_driver(const driver_limits& limits)
      : queue_depth_(limits.queue_depth),
        pool_(new worker_pool(limits.threads, [this] { event_.signal(); })) {}

  std::expected<void, refusal> open() noexcept {
    if (const int error = event_.open(); error < 0) {
      return std::unexpected(refusal{"eventfd", -error});
    }
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
        op.set_answer(pool_->cancel(static_cast<const operation*>(op.args.address)));
        cancels_.push_back(op);
      } else if (in_flight_ < queue_depth_) {
        ++in_flight_;
        work.push_back(staged.pop_front());
      } else {
        break;
      }
    }
    if (!work.empty()) pool_->submit(std::move(work));
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool signalled = event_.clear();
    collect(completed);
    if (!completed.empty() || signalled || until == deadline::now()) return;
    event_.wait(until);
    event_.clear();
    collect(completed);
  }

  void wake() noexcept override { event_.signal(); }

  int fd() const noexcept override { return event_.fd(); }

 private:
  void collect(operation_queue& completed) noexcept {
    completed.append(std::move(cancels_));
    in_flight_ -= pool_->collect(completed);
  }

  const std::size_t queue_depth_;
  std::size_t in_flight_ = 0;
  operation_queue cancels_;  // answered, not yet reaped
  event_fd event_;
  worker_pool_ptr pool_;  // last: its threads signal `event_` until they have ended
};

}  // namespace

opened_driver open_threads(const driver_limits& limits) {
  auto made = std::make_unique<threads_driver>(limits);
  if (auto opened = made->open(); !opened) return std::unexpected(opened.error());
  return made;
}

}  // namespace weir::detail
