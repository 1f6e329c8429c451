#pragma once

#include <string>
#include <vector>

#include "top/samples.hpp"

namespace weir::tools::top {

/// What happened at a daemon between two snapshots, as lines for a person: what it has under way,
/// then a row for each kind of request that there was, then one for each client, the busiest first.
std::vector<std::string> shown(const snapshot& before, const snapshot& now);

/// The same for a program: JSON, with rates and latencies as numbers.
std::string as_json(const snapshot& before, const snapshot& now);

}  // namespace weir::tools::top
