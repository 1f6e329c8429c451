#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>

#include "report/suite.hpp"

namespace weir::report {
namespace {

constexpr std::size_t name_width = 66;
constexpr std::size_t value_width = 11;

/// How many characters a terminal shows.
std::size_t width_of(std::string_view utf8) noexcept {
  return static_cast<std::size_t>(std::ranges::count_if(
      utf8, [](char each) { return (static_cast<unsigned char>(each) & 0xc0u) != 0x80u; }));
}

std::string left(std::string text, std::size_t width) {
  const std::size_t shown = width_of(text);
  return shown < width ? text.append(width - shown, ' ') : text;
}

std::string right(const std::string& text, std::size_t width) {
  const std::size_t shown = width_of(text);
  return shown < width ? std::string(width - shown, ' ') + text : text;
}

std::string direction_of(const comparison& one) {
  return one.unit + (one.more_is_better ? ", more is better" : ", less is better");
}

}  // namespace

std::string bar_of(double fraction, unsigned limit) {
  constexpr std::array<std::string_view, 8> eighths{"",       "\u258f", "\u258e", "\u258d",
                                                    "\u258c", "\u258b", "\u258a", "\u2589"};
  if (!(fraction > 0)) return "";
  const double length = std::min(fraction * 10, static_cast<double>(limit));
  const auto steps = static_cast<std::size_t>(std::lround(length * 8));
  std::string bar;
  for (std::size_t full = 0; full < steps / 8; ++full) bar += "\u2588";
  return bar.append(eighths.at(steps % 8));
}

std::string heading_of(const question& asked) { return asked.program + ": " + asked.asks + "\n"; }

std::string heading_of_regime(const comparison& first) {
  return "\n" + left(first.regime, name_width) + right("ours", value_width) +
         right("peer's", value_width) + "   ratio (spread)          " + direction_of(first) + "\n";
}

std::string line_of(const comparison& answer) {
  const bool alone = answer.peer.empty();
  std::string line = left("  " + answer.ours + (alone ? "" : " / " + answer.peer), name_width);
  line += " " + right(digits_of(answer.our_median), value_width - 1);
  if (alone) return line + "\n";
  line += " " + right(digits_of(answer.peer_median), value_width - 1);
  const std::string spread =
      digits_of(answer.spread.least) + " to " + digits_of(answer.spread.most);
  line += "   " + left(digits_of(answer.ratio) + " (" + spread + ")", 24);
  return line + bar_of(answer.ratio, 20) + "\n";
}

std::string text_of(const question& asked) {
  std::string text = heading_of(asked);
  std::string_view regime;
  for (const comparison& each : asked.answers) {
    if (each.regime != regime) text += heading_of_regime(each);
    regime = each.regime;
    text += line_of(each);
  }
  for (const std::string& each : asked.remarks) text += "\n" + each + "\n";
  return text;
}

}  // namespace weir::report
