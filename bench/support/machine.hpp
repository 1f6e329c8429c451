#pragma once

#include <vector>

#include "report/page.hpp"

namespace weir::bench {

/// What the numbers were measured on.
std::vector<report::fact> machine_facts();

/// Of the last minute; what others did meanwhile makes numbers doubtful.
double load_average();

/// From now on this process, and what it forks, runs on the core that it is on.
void stay_on_one_core();

}  // namespace weir::bench
