#pragma once

#include <string>

#include "bench/regime.hpp"

/// Numbers as a person reads them.
namespace weir::tools::bench {

/// Three digits, as of 0.0123, 1.23, 12.3, 123, 1230.
std::string shown_digits(double value);

/// "812 ns", "3.41 us", "1.20 ms".
std::string shown_time(double seconds);

/// What a regime gives, in the unit that suits its blocks: "91.1 k/s" or "1920 MB/s".
std::string shown_rate(const regime& what, double per_second);

/// "0.97", "12.3", "128".
std::string shown_ratio(double ratio);

/// "12 %".
std::string shown_percent(double fraction);

}  // namespace weir::tools::bench
