#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <mutex>
#include <utility>

#include "drivers/drivers.hpp"
#include "drivers/simulated.hpp"
#include "simulated/machine.hpp"
#include "weir/simulated.hpp"

namespace weir {
namespace {

using detail::simulated::machine;
using detail::simulated::page_size;

bool is_valid(const simulated_options& options) noexcept {
  const simulated_faults& rates = options.faults;
  const std::array all = {rates.misdirected, rates.bit_rot,     rates.bad_sector,
                          rates.io_error,    rates.sync_failed, rates.short_transfer,
                          rates.interrupted, rates.would_block, rates.stalled,
                          options.writeback};
  // Not a number is not within, either.
  const bool rates_are =
      std::ranges::all_of(all, [](double rate) { return rate >= 0 && rate <= 1; });
  const simulated_latency& times = options.latency;
  constexpr std::int64_t longest = 3'600'000'000'000;  // an hour
  const bool times_are =
      std::ranges::all_of(std::array{times.typical_ns, times.sync_ns, times.stall_ns},
                          [](std::int64_t ns) { return ns >= 0 && ns <= longest; });
  return rates_are && times_are && std::has_single_bit(options.sector_size) &&
         options.sector_size >= 512 && options.sector_size <= page_size;
}

}  // namespace

simulated_disk::simulated_disk(std::shared_ptr<machine> of) noexcept : machine_(std::move(of)) {}

result<simulated_disk> simulated_disk::make(const simulated_options& options) {
  if (!is_valid(options)) return std::unexpected(detail::errno_code(EINVAL));
  return simulated_disk(std::make_shared<machine>(options));
}

result<std::unique_ptr<driver>> simulated_disk::open_driver(unsigned queue_depth) const {
  if (queue_depth == 0 || queue_depth > detail::max_queue_depth) {
    return std::unexpected(detail::errno_code(EINVAL));
  }
  return detail::open_simulated(machine_, queue_depth);
}

std::int64_t simulated_disk::now_ns() const {
  const std::lock_guard lock(machine_->mutex);
  return machine_->now_ns();
}

std::uint64_t simulated_disk::operations() const {
  const std::lock_guard lock(machine_->mutex);
  return machine_->operations();
}

// Every turn of a context on this disk goes on to the next event, so turns in which nothing
// completes mean that there is none: what is outstanding then waits for the outside world.
bool simulated_disk::run_until(std::initializer_list<io_context*> contexts,
                               const std::function<bool()>& condition) const {
  for (;;) {
    if (condition()) return true;
    std::size_t ran = 0;
    for (io_context* each : contexts) {
      ran += each->dispatch(false);
      if (condition()) return true;
    }
    const bool idle = std::ranges::all_of(
        contexts, [](const io_context* each) { return each->outstanding() == 0; });
    if (ran == 0 && idle) return false;
    if (ran == 0 && contexts.size() == 1) (*contexts.begin())->dispatch(true);
  }
}

void simulated_disk::power_off() {
  const std::lock_guard lock(machine_->mutex);
  machine_->power_off();
}

void simulated_disk::power_off_after(std::uint64_t operations) {
  const std::lock_guard lock(machine_->mutex);
  machine_->power_off_after(operations);
}

bool simulated_disk::is_on() const {
  const std::lock_guard lock(machine_->mutex);
  return machine_->is_on();
}

simulated_disk simulated_disk::power_on(const simulated_faults& faults) {
  const std::lock_guard lock(machine_->mutex);
  return simulated_disk(machine_->power_on(faults));
}

simulated_disk simulated_disk::snapshot() const {
  const std::lock_guard lock(machine_->mutex);
  return simulated_disk(machine_->snapshot());
}

std::string simulated_disk::trace() const {
  const std::lock_guard lock(machine_->mutex);
  return machine_->disk().events().text();
}

std::uint64_t simulated_disk::trace_digest() const {
  const std::lock_guard lock(machine_->mutex);
  return machine_->disk().events().digest();
}

std::vector<simulated_fault_at> simulated_disk::faults_met() const {
  const std::lock_guard lock(machine_->mutex);
  return machine_->disk().faults().faults_met();
}

}  // namespace weir
