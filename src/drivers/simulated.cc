#include "drivers/simulated.hpp"

#include <cerrno>
#include <mutex>
#include <utility>

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

  void submit(operation_queue& staged) noexcept override {
    const std::lock_guard lock(machine_->mutex);
    machine_->submit(self_, staged);
    show_what_is_left();
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool woken = self_.wake_ups.clear();
    if (collect(completed, until) || woken || until == deadline::now()) return;
    wait_readable(self_.wake_ups.fd(), deadline::never());
    self_.wake_ups.clear();
    collect(completed, until);
  }

  void wake() noexcept override { self_.wake_ups.signal(); }

  int fd() const noexcept override {
    const std::lock_guard lock(machine_->mutex);
    self_.watched = true;
    if (has_something()) self_.wake_ups.signal();
    return self_.wake_ups.fd();
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
  bool has_something() const noexcept { return self_.in_flight != 0 || !self_.done.empty(); }

  // In virtual time what is in flight is as good as done.
  void show_what_is_left() const noexcept {
    if (self_.watched && has_something()) self_.wake_ups.signal();
  }

  // Time goes on to the first completion, and to what else is of that moment.
  bool collect(operation_queue& completed, deadline until) noexcept {
    const std::lock_guard lock(machine_->mutex);
    const deadline end = until == deadline::now() ? deadline::never() : until;
    bool moved = true;
    while (moved && self_.done.empty() && self_.in_flight != 0) moved = machine_->step(end);
    while (machine_->has_event_now() && self_.in_flight != 0) machine_->step(end);
    const bool any = !self_.done.empty();
    completed.append(std::move(self_.done));
    show_what_is_left();
    return any || self_.in_flight != 0;
  }

  std::shared_ptr<simulated::machine> machine_;
  mutable simulated::client self_;
};

}  // namespace

result<std::unique_ptr<driver>> open_simulated(std::shared_ptr<simulated::machine> on,
                                               unsigned queue_depth) {
  auto made = std::make_unique<simulated_driver>(std::move(on), queue_depth);
  if (const int error = made->open(); error < 0) return std::unexpected(errno_code(-error));
  return made;
}

}  // namespace weir::detail
