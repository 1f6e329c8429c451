#include <array>
#include <cmath>
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

}  // namespace

std::string digits_of(double value) {
  if (!std::isfinite(value)) return "?";
  std::array<char, 400> plain{};  // the largest double has 309 digits
  std::snprintf(plain.data(), plain.size(), "%.*f", decimals_of(std::abs(value)), value);
  std::string text = plain.data();
  const std::size_t first = text.starts_with('-') ? 1 : 0;
  const std::size_t point = text.find('.');
  if (point != std::string::npos) return text;
  for (std::size_t at = text.size(); at > first + 3;) text.insert(at -= 3, 1, ' ');
  return text;
}

}  // namespace weir::report
