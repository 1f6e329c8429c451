#include "campaign/report.hpp"

#include <algorithm>
#include <ostream>
#include <ranges>

#include "campaign/trial.hpp"
#include "campaign/words.hpp"

namespace weir::campaign {
namespace {

constexpr std::array headings = {"fault", "driver", "tries",   "operations", "refused",
                                 "lost",  "hung",   "crashed", "leaked",     "odd"};
using line = std::array<std::string, headings.size()>;

// "ENOSPC 812, EROFS 3"
std::string refusals(const row& of) {
  std::string text;
  for (std::size_t error = 0; error < of.refused.size(); ++error) {
    if (of.refused[error] == 0) continue;
    if (!text.empty()) text += ", ";
    text += in_words(name_of_error(static_cast<int>(error)), " ", of.refused[error]);
  }
  return text.empty() ? "none" : text;
}

line line_of(const row& of) {
  line shown{std::string(of.fault), std::string(of.driver)};
  if (!of.skipped.empty()) {
    shown[2] = "SKIPPED";
    return shown;
  }
  shown[2] = std::to_string(of.tries);
  shown[3] = std::to_string(of.operations);
  shown[4] = refusals(of);
  const std::array counts = {of.lost, of.hung, of.crashed, of.leaked, of.odd};
  for (std::size_t i = 0; i < counts.size(); ++i) shown[5 + i] = std::to_string(counts[i]);
  return shown;
}

void print_line(std::ostream& out, const line& cells, std::span<const std::size_t> widths) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    out << "| " << cells[i] << std::string(widths[i] - cells[i].size() + 1, ' ');
  }
  out << "|\n";
}

void print_remarks(std::ostream& out, std::span<const row> rows) {
  for (const row& each : rows) {
    if (!each.skipped.empty()) {
      out << "\nSKIPPED: " << each.fault << ", " << each.driver << ": " << each.skipped;
    }
    for (const std::string& remark : each.remarks) {
      out << '\n' << each.fault << ", " << each.driver << ": " << remark;
    }
  }
}

}  // namespace

void row::add(const attempt& one) {
  const account& said = *one.said;
  if (one.how == ending::skipped) {
    skipped = said.all_remarks();
    return;
  }
  ++tries;
  operations += said.started;
  for (std::size_t error = 0; error < refused.size(); ++error) {
    refused[error] += said.refused[error];
  }
  lost += said.started - said.completed + said.completed_twice + said.data_missing;
  crashed += said.crashed;
  leaked += said.leaked;
  odd += said.odd;
  hung += one.how == ending::hung ? 1 : 0;
  crashed += one.how == ending::crashed ? 1 : 0;
  for (const auto remark : std::views::split(said.all_remarks(), '\n')) {
    if (!remark.empty()) remarks.emplace(remark.begin(), remark.end());
  }
  const bool ended_well = one.how == ending::done;
  if (!ended_well && !one.output.empty()) remarks.insert(one.output);
}

void print_table(std::ostream& out, std::span<const row> rows) {
  std::vector<line> lines;
  line heading;
  std::ranges::copy(headings, heading.begin());
  lines.push_back(heading);
  for (const row& each : rows) lines.push_back(line_of(each));
  std::array<std::size_t, headings.size()> widths{};
  for (const line& each : lines) {
    for (std::size_t i = 0; i < each.size(); ++i) widths[i] = std::max(widths[i], each[i].size());
  }
  line rule;
  for (std::size_t i = 0; i < rule.size(); ++i) rule[i] = std::string(widths[i], '-');
  lines.insert(lines.begin() + 1, rule);
  for (const line& each : lines) print_line(out, each, widths);
  print_remarks(out, rows);
}

}  // namespace weir::campaign
