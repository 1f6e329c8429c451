#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "report/suite.hpp"
#include "support/contestant.hpp"
#include "support/pairs.hpp"

namespace weir::bench {

/// What seconds for one operation are shown as.
struct measure {
  std::string unit;
  double factor = 1;
  bool more_is_better = false;

  double of(double seconds) const noexcept {
    return more_is_better ? factor / seconds : factor * seconds;
  }
};

inline measure nanoseconds() { return {.unit = "ns an operation", .factor = 1e9}; }
inline measure microseconds() { return {.unit = "\u00b5s an operation", .factor = 1e6}; }
inline measure rate() { return {.unit = "operations a second", .more_is_better = true}; }
inline measure megabytes(std::size_t block) {
  return {.unit = "MB/s", .factor = static_cast<double>(block) * 1e-6, .more_is_better = true};
}

/// Under which conditions contestants are compared.
struct conditions {
  std::string regime;
  measure shown = nanoseconds();
  /// Of one slice; 0 chooses as many as take the time of a slice.
  std::uint64_t operations = 0;
  /// More where the difference is small beside the noise. A quick run takes two.
  int pairs = 11;
};

/// A benchmark program: its options, its comparisons, and what it says of them.
///
///     PROGRAM [--quick] [--json FILE]
class program {
 public:
  /// Ends the process where the options are not understood.
  program(int argc, char** argv, std::string name, std::string asks);

  /// Whether it is only to be seen that everything works, in a second or so.
  bool quick() const noexcept { return quick_; }
  /// `calm`, or as little as will do.
  template <class T>
  T unless_quick(T calm, T hasty) const noexcept {
    return quick_ ? hasty : calm;
  }
  int pairs(const conditions& under = {}) const { return quick_ ? 2 : under.pairs; }
  /// How long one is to take.
  std::chrono::duration<double> slice() const noexcept {
    return std::chrono::duration<double>(quick_ ? 0.002 : 0.15);
  }

  /// Slices A B, B A, …: what `ours` takes by what `peer` takes.
  void compare(const conditions& under, const contestant& ours, const contestant& peer);
  /// What was compared by other means.
  void record(report::comparison answer);
  /// The same for what `compare_values` compared, in the unit that it is shown in.
  void record(const conditions& under, std::string ours, std::string peer,
              const comparison& measured);
  void remark(std::string sentence);

  /// What main returns: writes the JSON, if that is asked for.
  int finish();

 private:
  std::uint64_t operations_in_slice(const contestant& of) const;

  report::question answers_;
  std::string json_path_;
  double load_before_;
  bool quick_ = false;
};

/// Calls `body(argc, argv)`; an exception becomes a sentence and exit status 1.
int run_main(int argc, char** argv, int (*body)(int, char**));

}  // namespace weir::bench
