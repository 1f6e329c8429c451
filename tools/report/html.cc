#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "report/page.hpp"

namespace weir::report {
namespace {

// Of a chart, in the units of its own coordinates; the browser scales them to the page's width.
constexpr double width = 860;
constexpr double bars_left = 250;
constexpr double bars_width = 360;
constexpr double row_height = 20;
constexpr double bar_height = 14;
constexpr double group_gap = 10;

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --dim: #59636e; --line: #d1d9e0;
        --ours: #0a6e8a; --peer: #a9b4bf; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0f1318; --text: #e6eaef; --dim: #9aa5b1; --line: #303841;
          --ours: #4cc2e0; --peer: #5b6672; } }
body { margin: 2rem auto; max-width: 56rem; padding: 0 1rem; background: var(--back);
       color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.6rem 0 0; font-size: 1rem; } .unit { margin: 0; color: var(--dim); }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1.5rem; }
dt { color: var(--dim); } dd { margin: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
svg .value { font-variant-numeric: tabular-nums; } svg .note { fill: var(--dim); }
svg .ours { fill: var(--ours); } svg .peer { fill: var(--peer); }
svg .whisker { stroke: var(--text); stroke-width: 1; } svg .axis { stroke: var(--line); }
)";

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char each : text) {
    switch (each) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      // What else is below a blank has no place in HTML.
      default:
        safe += static_cast<unsigned char>(each) < ' ' ? ' ' : each;
    }
  }
  return safe;
}

/// What has room beside a bar; the rest is in its tooltip.
std::string shortened(std::string_view label) {
  constexpr std::size_t room = 40;
  std::size_t shown = 0;
  for (std::size_t at = 0; at < label.size(); ++at) {
    const bool continues = (static_cast<unsigned char>(label[at]) & 0xc0u) == 0x80u;
    if (!continues && ++shown > room) return std::string(label.substr(0, at)) + "\u2026";
  }
  return std::string(label);
}

std::string element(std::string_view name, std::string_view text) {
  return "<" + std::string(name) + ">" + escaped(text) + "</" + std::string(name) + ">\n";
}

/// A coordinate: a tenth is finer than anyone sees.
std::string at(double value) {
  const auto tenths = std::llround(value * 10);
  return std::to_string(tenths / 10) + "." + std::to_string(std::abs(tenths % 10));
}

std::string attribute(std::string_view name, std::string_view value) {
  return " " + std::string(name) + "=\"" + escaped(value) + "\"";
}

std::string attribute(std::string_view name, double coordinate) {
  return attribute(name, at(coordinate));
}

std::string line_from(double x1, double y1, double x2, double y2, std::string_view kind) {
  return "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) +
         attribute("y2", y2) + attribute("class", kind) + "/>";
}

/// By the values alone: a single slow slice must not make every bar short. Its whisker ends at the
/// edge.
double scale_of(const chart& drawn) {
  double greatest = 0;
  for (const auto& group : drawn.groups) {
    for (const bar& each : group) greatest = std::max(greatest, each.value);
  }
  return greatest > 0 ? bars_width / greatest : 0;
}

std::string whisker(const range& spread, double scale, double middle) {
  const double least = bars_left + std::clamp(spread.least * scale, 0.0, bars_width);
  const double most = bars_left + std::clamp(spread.most * scale, 0.0, bars_width);
  return line_from(least, middle, most, middle, "whisker") +
         line_from(least, middle - 3, least, middle + 3, "whisker") +
         line_from(most, middle - 3, most, middle + 3, "whisker");
}

std::string value_beside(const bar& of, double x, double baseline) {
  std::string svg = "<text" + attribute("x", x) + attribute("y", baseline) + "><tspan" +
                    attribute("class", "value") + ">" + digits_of(of.value) + "</tspan>";
  if (!of.note.empty()) {
    svg += "<tspan" + attribute("class", "note") + attribute("dx", "8") + ">" + escaped(of.note) +
           "</tspan>";
  }
  return svg + "</text>";
}

std::string drawn_bar(const bar& of, double scale, double top) {
  const double length = std::max(of.value * scale, 0.0);
  const double baseline = top + row_height - 6;
  std::string svg =
      "<g>" + element("title", of.label + ": " + digits_of(of.value) + " " + of.note) + "<text" +
      attribute("x", bars_left - 8) + attribute("y", baseline) + attribute("text-anchor", "end") +
      ">" + escaped(shortened(of.label)) + "</text><rect" + attribute("x", bars_left) +
      attribute("y", top + (row_height - bar_height) / 2) + attribute("width", length) +
      attribute("height", bar_height) + attribute("class", of.ours ? "ours" : "peer") + "/>";
  double end = length;
  if (of.spread) {
    svg += whisker(*of.spread, scale, top + row_height / 2);
    end = std::max(end, std::clamp(of.spread->most * scale, 0.0, bars_width));
  }
  return svg + value_beside(of, bars_left + end + 6, baseline) + "</g>\n";
}

std::string svg_of(const chart& drawn) {
  const double scale = scale_of(drawn);
  double top = group_gap / 2;
  std::string bars;
  for (const auto& group : drawn.groups) {
    for (const bar& each : group) {
      bars += drawn_bar(each, scale, top);
      top += row_height;
    }
    top += group_gap;
  }
  const double height = top - group_gap / 2;
  return "<svg" + attribute("viewBox", "0 0 " + at(width) + " " + at(height)) +
         attribute("role", "img") + attribute("aria-label", drawn.title) + ">\n" +
         line_from(bars_left, 0, bars_left, height, "axis") + "\n" + bars + "</svg>\n";
}

std::string html_of(const section& shown) {
  std::string html = "<section>\n" + element("h2", shown.title);
  for (const std::string& each : shown.paragraphs) html += element("p", each);
  for (const chart& each : shown.charts) {
    html += element("h3", each.title);
    html += "<p" + attribute("class", "unit") + ">" + escaped(each.unit) + "</p>\n" + svg_of(each);
  }
  return html + "</section>\n";
}

}  // namespace

std::string html_of(const page& shown) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n" +
      element("title", shown.title) + "<style>" + std::string(style) +
      "</style>\n</head>\n<body>\n" + element("h1", shown.title) + "<dl>\n";
  for (const fact& each : shown.facts) html += element("dt", each.label) + element("dd", each.text);
  html += "</dl>\n";
  for (const section& each : shown.sections) html += html_of(each);
  return html + "</body>\n</html>\n";
}

}  // namespace weir::report
