#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir::tools::top {

using labels = std::map<std::string, std::string, std::less<>>;

/// One line of what a daemon has counted.
struct sample {
  std::string name;
  labels with;
  double value = 0;
};

/// All that a daemon has counted, at one moment.
struct snapshot {
  std::chrono::steady_clock::time_point taken;
  std::vector<sample> samples;

  /// The value of the first sample of that name whose labels have all of these; 0 if there is none.
  double value(std::string_view name, const labels& having = {}) const;
};

/// Reads Prometheus's text format (0.0.4), as far as the daemon writes it. A line that is none is
/// left out.
std::vector<sample> parse_samples(std::string_view text);

/// Below which so many of the durations were that were counted between two snapshots (0.5: the
/// median), in seconds; 0 where nothing was.
double quantile(const snapshot& before, const snapshot& now, std::string_view histogram,
                const labels& having, double share);

}  // namespace weir::tools::top
