#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

#include "report/page.hpp"

namespace weir::report {
namespace {

int decimals_of(double magnitude) noexcept {
  if (magnitude >= 99.95) return 0;
  if (magnitude >= 9.995) return 1;
  return magnitude >= 0.9995 ? 2 : 3;
}

/// A blank before every third digit from the right.
std::string in_groups(std::string digits) {
  const std::size_t first = digits.starts_with('-') ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ' ');
  return digits;
}

}  // namespace

std::string grouped(std::uint64_t count) { return in_groups(std::to_string(count)); }

std::string digits_of(double value) {
  if (!std::isfinite(value)) return "?";
  std::array<char, 400> plain{};  // the largest double has 309 digits
  std::snprintf(plain.data(), plain.size(), "%.*f", decimals_of(std::abs(value)), value);
  const std::string text = plain.data();
  return text.find('.') == std::string::npos ? in_groups(text) : text;
}

}  // namespace weir::report
