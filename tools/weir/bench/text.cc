#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "bench/shown.hpp"
#include "bench/summary.hpp"
#include "formatted.hpp"
#include "report/suite.hpp"
#include "text_page.hpp"

namespace weir::tools::bench {
namespace {

using weir::report::digits_of;

constexpr unsigned bar_width = 24;

std::string bar(double fraction, bars drawn) {
  if (drawn == bars::unicode) return weir::report::bar_of(fraction * bar_width / 10, bar_width);
  std::string text;
  text.resize(static_cast<std::size_t>(std::lround(fraction * bar_width)), '#');
  return text;
}

double fastest_in(const row& measured) {
  double fastest = 0;
  for (const series& each : measured.contestants) {
    fastest = std::max(fastest, rate_of(each).median);
  }
  return fastest;
}

// "0.92 (0.90 to 0.95)", or less where there is nothing to compare with.
std::string beside_plain(const row& measured, const series& of) {
  const series* const calls = find(measured, plain);
  if (calls == nullptr || calls == &of) return "";
  const spread ratio = ratio_of(of, *calls);
  return digits_of(ratio.median) + " (" + digits_of(ratio.least) + " to " + digits_of(ratio.most) +
         ")";
}

void show(text_page& out, const row& measured, bars drawn) {
  out.line("");
  out.line("  " + title_of(measured.what));
  const double fastest = fastest_in(measured);
  for (const series& each : measured.contestants) {
    if (each.rounds.empty()) continue;
    const spread rate = rate_of(each);
    std::string line =
        formatted("    %-15s %11s %25s %9s  ", each.contestant.c_str(),
                  shown_rate(measured.what, rate.median).c_str(),
                  beside_plain(measured, each).c_str(), shown_time(cpu_of(each)).c_str());
    if (drawn != bars::none) line += bar(rate.median / fastest, drawn);
    out.line(line.substr(0, line.find_last_not_of(' ') + 1));
  }
}

void show_heading(text_page& out, const summary& done) {
  out.heading("Measured");
  out.row("on", done.target + ", " + shown_bytes(done.size) +
                    (done.file_system.empty() ? "" : ", " + done.file_system));
  out.row("with", done.kernel + ", " + std::to_string(done.processors) + " processors");
  out.row("how", std::to_string(done.found.rounds) + " rounds, in each of which every contestant " +
                     "has a slice of " + std::to_string(done.measured_at.slice.count()) +
                     " ms in every regime; " + digits_of(done.seconds) + " s in all");
  for (const absence& each : done.found.absent) {
    out.row("without", each.driver + ": " + each.reason);
  }
  for (const std::string& each : done.found.remarks) out.row("remark", each);
}

}  // namespace

std::string text_of(const summary& done, bars drawn) {
  text_page out;
  show_heading(out, done);
  std::string group;
  for (const row& each : done.found.rows) {
    if (group != group_of(each.what)) {
      group = group_of(each.what);
      out.heading(group);
      out.line(formatted("    %-15s %11s %25s %9s", "", "median", "times pread (spread)", "CPU"));
    }
    show(out, each, drawn);
  }
  out.heading("What suits this disk");
  for (const advice_line& each : done.advised.lines) {
    out.row(each.question, each.answer);
    out.row("", each.why);
  }
  return out.text();
}

}  // namespace weir::tools::bench
