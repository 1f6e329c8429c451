#include "bench/shown.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>

namespace weir::tools::bench {
namespace {

std::string fixed(double value, int decimals) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

std::string scaled(double value, double step, auto units) {
  std::size_t unit = 0;
  for (; value >= step && unit + 1 < units.size(); ++unit) value /= step;
  return shown_digits(value) + " " + units[unit];
}

}  // namespace

std::string shown_digits(double value) {
  if (value <= 0) return "0";
  return fixed(value, std::clamp(2 - static_cast<int>(std::floor(std::log10(value))), 0, 6));
}

std::string shown_time(double seconds) {
  return scaled(seconds * 1e9, 1000, std::array{"ns", "us", "ms", "s"});
}

std::string shown_rate(const regime& what, double per_second) {
  constexpr std::size_t many = 64 * kib;  // from here on it is the bytes that matter
  if (what.block < many) return scaled(per_second, 1000, std::array{"/s", "k/s", "M/s"});
  return fixed(per_second * static_cast<double>(what.block) / 1e6, 0) + " MB/s";
}

std::string shown_ratio(double ratio) {
  return fixed(ratio, ratio < 9.995 ? 2 : ratio < 99.95 ? 1 : 0);
}

std::string shown_percent(double fraction) { return fixed(fraction * 100, 0) + " %"; }

}  // namespace weir::tools::bench
