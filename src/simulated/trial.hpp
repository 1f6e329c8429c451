#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "weir/simulated.hpp"

/// One run of what is explored: a scenario on a new disk, a power failure, a check.
namespace weir::detail::simulated {

/// When the power fails, besides a number of operations.
inline constexpr std::uint64_t never = 0;
inline constexpr std::uint64_t at_the_end = UINT64_MAX;  ///< when the scenario has ended

struct trial {
  std::uint64_t seed = 0;
  std::uint64_t power_off_after = never;
  /// In the place of those drawn from the seed.
  std::optional<std::vector<simulated_fault_at>> faults = std::nullopt;
  bool trace = false;
};

/// What came of it.
struct verdict {
  std::string wrong;                      ///< "" where nothing is
  std::uint64_t scenario_operations = 0;  ///< that the scenario had started
  std::uint64_t operations = 0;           ///< with those of the check
  std::vector<simulated_fault_at> faults;
  std::uint64_t digest = 0;
  std::string trace;

  bool failed() const noexcept { return !wrong.empty(); }
};

/// Throws std::system_error where a disk or a driver cannot be made.
verdict carry_out(const trial& which, const explored& what, const explore_options& options);

}  // namespace weir::detail::simulated
