#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "report/page.hpp"

namespace weir::report {

/// Two ways of doing the same work, measured in turn, slice by slice.
struct comparison {
  std::string regime;  ///< under which conditions: "4 KiB, page cache, one core"
  std::string ours;    ///< "weir uring"
  std::string peer;    ///< "raw ring"; empty where there is nobody to compare with
  std::string unit;    ///< "ns an operation", "operations a second"
  bool more_is_better = false;
  double our_median = 0;  ///< of all slices
  double peer_median = 0;
  double ratio = 0;  ///< ours by the peer's: the median of the pairs' ratios,
  range spread;      ///< their least and most,
  unsigned pairs = 0;

  bool operator==(const comparison&) const = default;
};

/// What one program answers.
struct question {
  std::string program;  ///< "warm"
  std::string asks;     ///< a sentence
  std::vector<comparison> answers;
  std::vector<std::string> remarks;  ///< "libuv was not there when this was built."

  bool operator==(const question&) const = default;
};

/// All that was measured on one machine in one go.
struct suite {
  std::vector<fact> machine;
  std::vector<question> questions;

  bool operator==(const suite&) const = default;
};

/// A line for each comparison, in the order of their regimes, with a bar of the ratio.
std::string text_of(const question& asked);
/// Its parts, for a program that shows each answer as soon as it has it.
std::string heading_of(const question& asked);
std::string heading_of_regime(const comparison& first);
std::string line_of(const comparison& answer);

/// A bar of `fraction` times ten characters, at most `limit` of them; eighths of a character count.
std::string bar_of(double fraction, unsigned limit);

std::string json_of(const suite& measured);
/// What `json_of` wrote; else a sentence that says what is wrong with it.
std::expected<suite, std::string> suite_of(std::string_view text);

/// A section for each question, a chart for each regime.
page page_of(const suite& measured);

}  // namespace weir::report
