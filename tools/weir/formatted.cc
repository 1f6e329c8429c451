#include "formatted.hpp"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace weir::tools {

std::string formatted(const char* format, ...) {
  std::array<char, 256> text{};
  va_list values;
  va_start(values, format);
  std::vsnprintf(text.data(), text.size(), format, values);
  va_end(values);
  return text.data();
}

std::string human_bytes(double bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  return formatted("%.*f %s", unit == 0 ? 0 : 1, bytes, units[unit]);
}

}  // namespace weir::tools
