#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/contestants.hpp"
#include "bench/results.hpp"
#include "bench/target.hpp"

namespace weir::tools::bench {

/// How long measuring takes.
struct pace {
  std::chrono::milliseconds slice{};
  std::size_t rounds = 0;
  /// No round is begun that would end later, if it took as long as the longest yet. There is always
  /// one.
  std::chrono::steady_clock::time_point until;
};

/// What was measured, and what was not, and why not.
struct findings {
  std::vector<row> rows;
  std::size_t rounds = 0;
  std::vector<absence> absent;
  std::vector<std::string> remarks;
};

/// Measures all contestants in all regimes that the target allows. A round takes every regime, and
/// in it every contestant in turn, another one first each time: so whatever the machine does
/// meanwhile befalls all of them, and regimes, too, can be compared. `show_step` hears what comes
/// next. Fails with a sentence; ends early when `interrupted`.
std::expected<findings, std::string> measure(
    const target& file, const pace& at, const std::function<void(const std::string&)>& show_step);

}  // namespace weir::tools::bench
