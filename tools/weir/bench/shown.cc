#include "bench/shown.hpp"

#include <array>
#include <cmath>
#include <cstddef>

#include "report/page.hpp"

namespace weir::tools::bench {
namespace {

std::string scaled(double value, double step, auto units) {
  std::size_t unit = 0;
  for (; value >= step && unit + 1 < units.size(); ++unit) value /= step;
  return weir::report::digits_of(value) + " " + units[unit];
}

}  // namespace

std::string shown_time(double seconds) {
  return scaled(seconds * 1e9, 1000, std::array{"ns", "us", "ms", "s"});
}

bool counts_bytes(const regime& what) noexcept { return what.block >= 64 * kib; }

std::string shown_rate(const regime& what, double per_second) {
  if (!counts_bytes(what)) return scaled(per_second, 1000, std::array{"/s", "k/s", "M/s"});
  return weir::report::digits_of(per_second * static_cast<double>(what.block) / 1e6) + " MB/s";
}

std::string shown_percent(double fraction) {
  return std::to_string(std::lround(fraction * 100)) + " %";
}

}  // namespace weir::tools::bench
