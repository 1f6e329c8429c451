#include "drivers/simulated.hpp"

#include <cerrno>
#include <mutex>
#include <utility>

#include "drivers/poll_set.hpp"
#include "simulated/descriptors.hpp"
#include "simulated/machine.hpp"

namespace weir::detail {
namespace {

/// The driver of <weir/simulated.hpp>. It does nothing by itself: whoever reaps moves the machine
/// on, also for the other drivers on it.
class simulated_driver final : public driver {
 public:
  simulated_driver(std::shared_ptr<simulated::machine> on, unsigned queue_depth) noexcept
      : machine_(std::move(on)) {
    self_.queue_depth = queue_depth;
  }
  simulated_driver(const simulated_driver&) = delete;
  simulated_driver& operator=(const simulated_driver&) = delete;
  ~simulated_driver() override {
    const std::lock_guard lock(machine_->mutex);
    machine_->leave(self_);
  }

  int open() {
    const std::lock_guard lock(machine_->mutex);
    machine_->join(self_);
    return self_.wake_ups.open();
  }

  // In order: what cannot be taken holds up what is behind it, but not a poll.
  void submit(operation_queue& staged) noexcept override {
    operation_queue for_the_disk;
    while (!staged.empty()) {
      operation& op = staged.pop_front();
      if (is_outside(op.args)) {
        poll_outside(op);
      } else if (op.args.op == opcode::cancel && cancels_outside(op.args)) {
        op.set_answer(0);
        ended_.push_back(op);
      } else {
        for_the_disk.push_back(op);
      }
    }
    const std::lock_guard lock(machine_->mutex);
    machine_->submit(self_, for_the_disk);
    staged = std::move(for_the_disk);
    show_what_is_left();
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool woken = self_.wake_ups.clear();
    const bool moved = collect(completed, until);
    if (moved || woken || until != deadline::never()) return;
    wait_readable(polls_.empty() ? self_.wake_ups.fd() : polls_.fd(), deadline::never());
    self_.wake_ups.clear();
    collect(completed, until);
  }

  void wake() noexcept override { self_.wake_ups.signal(); }

  // Shows polls as well, from the first time it is asked for.
  int fd() const noexcept override {
    const std::lock_guard lock(machine_->mutex);
    self_.watched = true;
    if (has_something()) self_.wake_ups.signal();
    return open_polls() < 0 ? self_.wake_ups.fd() : polls_.fd();
  }

  std::int64_t now_ns() const noexcept override {
    const std::lock_guard lock(machine_->mutex);
    return machine_->now_ns();
  }

  std::int32_t perform_now(const request& what) noexcept override {
    const std::lock_guard lock(machine_->mutex);
    return machine_->perform_now(what);
  }

  result<std::uint64_t> random_bits() noexcept override {
    const std::lock_guard lock(machine_->mutex);
    return machine_->random_bits();
  }

 private:
  // The kernel's descriptors, which only it can watch.
  static bool is_outside(const request& what) noexcept {
    return what.op == opcode::poll && !simulated::is_simulated(what.fd);
  }

  // Most have no use for it, and there are many drivers when many seeds are explored.
  int open_polls() const noexcept {
    if (polls_.is_open()) return 0;
    const int error = polls_.open();
    return error < 0 ? error : polls_.show(self_.wake_ups.fd());
  }

  void poll_outside(operation& op) noexcept {
    if (const int error = open_polls(); error < 0) {
      op.set_answer(error);
      ended_.push_back(op);
    } else {
      polls_.start(op, ended_);
    }
  }

  // Whether that was all: a cancel request for many is the machine's as well.
  bool cancels_outside(const request& cancel) noexcept {
    if (cancel.address != nullptr) {
      return polls_.cancel(*static_cast<operation*>(cancel.address), ended_);
    }
    polls_.cancel_named(cancel, ended_);
    return false;
  }

  bool has_something() const noexcept {
    return self_.in_flight != 0 || !self_.done.empty() || !ended_.empty();
  }

  // In virtual time what is in flight is as good as done.
  void show_what_is_left() const noexcept {
    if (self_.watched && has_something()) self_.wake_ups.signal();
  }

  // Time goes on to the first completion, and to what else is of that moment. False where there is
  // nothing to do but to wait for the outside world.
  bool collect(operation_queue& completed, deadline until) noexcept {
    completed.append(std::move(ended_));
    if (!polls_.empty()) polls_.collect(completed);
    const bool from_outside = !completed.empty();
    const std::lock_guard lock(machine_->mutex);
    const deadline end = until == deadline::now() ? deadline::never() : until;
    bool moved = !from_outside;
    while (moved && self_.done.empty() && self_.in_flight != 0) moved = machine_->step(end);
    while (machine_->has_event_now() && self_.in_flight != 0) machine_->step(end);
    completed.append(std::move(self_.done));
    show_what_is_left();
    return !completed.empty() || self_.in_flight != 0;
  }

  std::shared_ptr<simulated::machine> machine_;
  mutable simulated::client self_;
  mutable poll_set polls_;  // of the kernel's descriptors
  operation_queue ended_;   // of these, and not yet given back
};

}  // namespace

result<std::unique_ptr<driver>> open_simulated(std::shared_ptr<simulated::machine> on,
                                               unsigned queue_depth) {
  auto made = std::make_unique<simulated_driver>(std::move(on), queue_depth);
  if (const int error = made->open(); error < 0) return std::unexpected(errno_code(-error));
  return made;
}

}  // namespace weir::detail
