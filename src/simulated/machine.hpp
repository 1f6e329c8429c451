#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "drivers/event_fd.hpp"
#include "simulated/file_system.hpp"
#include "weir/operation.hpp"

namespace weir::detail::simulated {

/// A driver's side of the machine.
struct client {
  std::uint32_t number = 0;
  std::size_t queue_depth = 0;
  std::size_t taken = 0;      // of those that take room, not given back
  std::size_t in_flight = 0;  // of all
  operation_queue done;
  event_fd wake_ups;
  bool watched = false;  // somebody polls `wake_ups`
};

/// The disk's machine: its clock, what is in flight, and its power. One mutex guards all of it;
/// who calls holds it.
class machine {
 public:
  explicit machine(simulated_options options);
  /// A copy of another's disk.
  machine(const machine& other, simulated_options options);
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  ~machine() = default;

  std::mutex mutex;

  void join(client& who) noexcept { who.number = ++clients_; }
  /// Forgets what is in flight for a driver that ends.
  void leave(const client& who) noexcept;

  void submit(client& from, operation_queue& staged);
  /// Goes on to the next event, not beyond `until`; false where there is none.
  bool step(deadline until);
  /// Whether the next event is at this very moment.
  bool has_event_now() const noexcept;

  /// Carried out at once, past everything in flight.
  std::int32_t perform_now(const request& what);

  void power_off();
  void power_off_after(std::uint64_t operations) noexcept { fails_after_ = operations; }
  bool is_on() const noexcept { return on_; }
  std::shared_ptr<machine> power_on(const simulated_faults& faults);
  std::shared_ptr<machine> snapshot() const;

  std::uint64_t random_bits() noexcept {
    return disk_.faults().random().draw(purpose::name, ++named_);
  }
  std::int64_t now_ns() const noexcept { return now_ns_; }
  std::uint64_t operations() const noexcept { return taken_; }
  const file_system& disk() const noexcept { return disk_; }

 private:
  struct in_flight {
    std::int64_t at_ns;
    std::uint64_t order;   // among those at the same moment
    std::uint64_t number;  // 0 for what only waits: it does nothing to the disk
    operation* op;
    client* from;
  };

  /// For a heap whose front is the next.
  static bool is_later(const in_flight& a, const in_flight& b) noexcept {
    return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.order > b.order;
  }

  void take(client& from, operation& op);
  void schedule(const in_flight& what);
  void answer(const in_flight& what, std::int32_t value) noexcept;
  void finish_in_disorder();
  std::int32_t cancel(client& from, const request& what) noexcept;
  bool withdraw(std::size_t index) noexcept;

  simulated_options options_;
  std::int64_t now_ns_ = 0;
  file_system disk_;
  std::vector<in_flight> events_;  // a heap, the next at its front
  std::uint64_t taken_ = 0;
  std::uint64_t carried_out_ = 0;
  std::uint64_t ordered_ = 0;
  std::uint64_t fails_after_ = 0;
  std::uint64_t named_ = 0;
  std::uint32_t clients_ = 0;
  bool on_ = true;
};

}  // namespace weir::detail::simulated
