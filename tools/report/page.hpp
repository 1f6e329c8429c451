#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// What was measured, for people to look at: plain structs in, one string out. Nothing here
/// measures anything.
namespace weir::report {

/// What a value varied between.
struct range {
  double least = 0;
  double most = 0;

  bool operator==(const range&) const = default;
};

/// One value, drawn from zero.
struct bar {
  std::string label;
  double value = 0;
  std::optional<range> spread;  ///< drawn as a whisker
  std::string note;             ///< follows the value: "1.02 times pread"
  bool ours = false;            ///< stands out
};

/// Bars of one unit and one scale, in groups that stand together.
struct chart {
  std::string title;
  std::string unit;  ///< "ns an operation, less is better"
  std::vector<std::vector<bar>> groups;
};

struct section {
  std::string title;
  std::vector<std::string> paragraphs;
  std::vector<chart> charts;
};

/// A line of two columns: "kernel", "Linux 6.18".
struct fact {
  std::string label;
  std::string text;

  bool operator==(const fact&) const = default;
};

struct page {
  std::string title;
  std::vector<fact> facts;
  std::vector<section> sections;
};

/// One HTML file that needs nothing else: no network, no script, light or dark as its reader likes
/// it. Any text may hold any character.
std::string html_of(const page& shown);

/// Three digits or more, in groups: "0.934", "12.3", "1 234 567".
std::string digits_of(double value);
/// "12", "1 000 000".
std::string grouped(std::uint64_t count);

}  // namespace weir::report
