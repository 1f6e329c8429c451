#pragma once

#include <cstdint>
#include <vector>

#include "simulated/random.hpp"
#include "weir/simulated.hpp"

namespace weir::detail::simulated {

/// `simulated_fault_at::part` of what is lost and is no change: of an operation that was in flight
/// when the power failed, all of it; or that it made anything durable.
inline constexpr std::uint32_t whole_operation = UINT32_MAX;
inline constexpr std::uint32_t its_sync = UINT32_MAX - 1;

/// Decides which faults happen, and how long things take.
class fate {
 public:
  explicit fate(const simulated_options& options);

  /// Whether an operation, or a page of it, meets a fault: as drawn, or as the replay has it.
  bool befalls(simulated_fault what, std::uint64_t operation,
               std::uint32_t part = 0) const noexcept {
    return befalls(what, rates_[static_cast<std::size_t>(what)], operation, part);
  }
  bool befalls(simulated_fault what, double rate, std::uint64_t operation,
               std::uint32_t part) const noexcept;
  /// Whether nothing is drawn.
  bool is_replay() const noexcept { return options_.replay.has_value(); }
  /// Remembers one for the next replay.
  void met(const simulated_fault_at& fault) { met_.push_back(fault); }
  const std::vector<simulated_fault_at>& faults_met() const noexcept { return met_; }

  std::int64_t latency(opcode op, std::uint64_t operation) const noexcept;
  const random_source& random() const noexcept { return random_; }

 private:
  std::vector<double> rates_;  // by fault
  simulated_options options_;
  random_source random_;
  std::vector<simulated_fault_at> met_;
};

}  // namespace weir::detail::simulated
