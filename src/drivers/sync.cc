#include <utility>

#include "drivers/drivers.hpp"
#include "drivers/readiness.hpp"
#include "perform.hpp"

namespace weir::detail {
namespace {

/// The smallest real driver: carries everything out in `submit`, blocking, and hands it back in
/// `reap`. For documentation, for debugging (WEIR_DRIVER=sync gives a stack trace that shows the
/// system call under the code that asked for it), and as the model that the others are tested
/// against. Only the outside world it does not wait for in `submit`: what is awaited may be brought
/// about by an operation behind.
class sync_driver final : public driver {
 public:
  explicit sync_driver(unsigned queue_depth) noexcept : queue_depth_(queue_depth) {}

  std::expected<void, refusal> open() noexcept { return outside_.open(); }

  // Not more than a queue depth at once: the rest of the loop wants its turn.
  void submit(operation_queue& staged) noexcept override {
    while (!staged.empty()) {
      operation& op = staged.front();
      if (readiness::takes(op.args.op)) {
        outside_.start(staged.pop_front());
        continue;
      }
      if (done_.size() >= queue_depth_) break;
      staged.pop_front();
      op.set_answer(carry_out(op.args));
      done_.push_back(op);
    }
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool woken = outside_.wake_ups().clear();
    collect(completed);
    if (!completed.empty() || woken || until == deadline::now()) return;
    outside_.wait(until);
    outside_.wake_ups().clear();
    collect(completed);
  }

  bool context_may_read() const noexcept override { return true; }

  void wake() noexcept override { outside_.wake_ups().signal(); }

  int fd() const noexcept override { return outside_.fd(); }

 private:
  std::int32_t carry_out(const request& what) noexcept {
    if (what.op != opcode::cancel) return perform(what);
    if (what.address != nullptr) return outside_.cancel(*static_cast<operation*>(what.address));
    outside_.cancel_named(what);
    return 0;
  }

  void collect(operation_queue& completed) noexcept {
    completed.append(std::move(done_));
    outside_.collect(completed);
  }

  const std::size_t queue_depth_;
  operation_queue done_;
  readiness outside_;
};

}  // namespace

opened_driver open_sync(const driver_limits& limits) {
  auto made = std::make_unique<sync_driver>(limits.queue_depth);
  if (auto opened = made->open(); !opened) return std::unexpected(opened.error());
  return made;
}

}  // namespace weir::detail
