#pragma once

#include <functional>
#include <string>
#include <vector>

#include "support/program.hpp"

namespace weir::bench {

/// Of a sorted sample that is not empty: the least value that so many percent do not exceed.
double percentile_of(const std::vector<double>& sorted, double percent) noexcept;

/// One slice: how many seconds each of its operations took, in any order.
using latencies = std::function<std::vector<double>()>;

/// Compares percentiles of latency, slice by slice, as `program::compare` does means; shown in
/// microseconds.
void compare_percentiles(program& run, const std::string& regime,
                         const std::vector<double>& percents, const std::string& ours,
                         const latencies& our_slice, const std::string& peer,
                         const latencies& peer_slice);

}  // namespace weir::bench
