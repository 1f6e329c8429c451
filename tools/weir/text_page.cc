#include "text_page.hpp"

#include <algorithm>
#include <array>
#include <iomanip>
#include <ranges>
#include <sstream>
#include <string_view>
#include <utility>

namespace weir::tools {

std::string shown_bytes(std::uint64_t count) {
  static constexpr std::array units = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(count);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  std::ostringstream text;
  const bool whole = value == static_cast<double>(static_cast<std::uint64_t>(value));
  text << std::fixed << std::setprecision(whole ? 0 : 1) << value << " " << units[unit];
  return text.str();
}

void text_page::heading(const std::string& title) {
  text_ += (text_.empty() ? "" : "\n") + title + "\n";
}

void text_page::row(const std::string& label, const std::string& text) {
  std::string current = "  " + label;
  current.resize(std::max(current.size() + 1, indent), ' ');
  bool fresh = true;
  for (const auto part : std::views::split(text, ' ')) {
    const std::string_view word(part.begin(), part.end());
    if (!fresh && current.size() + 1 + word.size() > width) {
      line(std::move(current));
      current.assign(indent, ' ');
      fresh = true;
    }
    if (!fresh) current += ' ';
    current += word;
    fresh = false;
  }
  line(std::move(current));
}

void text_page::line(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < ' ' || c == 127; }, '?');
  text_ += text + "\n";
}

}  // namespace weir::tools
