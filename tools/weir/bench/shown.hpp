#pragma once

#include <string>

#include "bench/regime.hpp"

/// Numbers as a person reads them.
namespace weir::tools::bench {

/// "812 ns", "3.41 us", "1.20 ms".
std::string shown_time(double seconds);

/// Whether it is the bytes that matter there, rather than the operations.
bool counts_bytes(const regime& what) noexcept;

/// What a regime gives, in the unit that suits its blocks: "91.1 k/s" or "1920 MB/s".
std::string shown_rate(const regime& what, double per_second);

/// "12 %".
std::string shown_percent(double fraction);

}  // namespace weir::tools::bench
