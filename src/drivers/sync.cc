#include <cerrno>
#include <utility>

#include "drivers/drivers.hpp"
#include "drivers/event_fd.hpp"
#include "perform.hpp"

namespace weir::detail {
namespace {

/// The smallest real driver: carries everything out in `submit`, blocking, and hands it back in
/// `reap`. For documentation, for debugging (WEIR_DRIVER=sync gives a stack trace that shows the
/// system call under the code that asked for it), and as the model that the others are tested
/// against.
class sync_driver final : public driver {
 public:
  explicit sync_driver(unsigned queue_depth) noexcept : queue_depth_(queue_depth) {}

  int open() noexcept { return woken_.open(); }

  // Not more than a queue depth at once: the rest of the loop wants its turn.
  void submit(operation_queue& staged) noexcept override {
    while (!staged.empty() && done_.size() < queue_depth_) {
      operation& op = staged.pop_front();
      op.set_answer(perform(op.args));
      done_.push_back(op);
    }
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool woken = woken_.clear();
    completed.append(std::move(done_));
    if (!completed.empty() || woken || until == deadline::now()) return;
    woken_.wait(until);
    woken_.clear();
  }

  void wake() noexcept override { woken_.signal(); }

  int fd() const noexcept override { return woken_.fd(); }

 private:
  const std::size_t queue_depth_;
  event_fd woken_;
  operation_queue done_;
};

}  // namespace

opened_driver open_sync(const driver_limits& limits) {
  auto made = std::make_unique<sync_driver>(limits.queue_depth);
  if (const int error = made->open(); error < 0) return std::unexpected(refusal{"eventfd", -error});
  return made;
}

}  // namespace weir::detail
