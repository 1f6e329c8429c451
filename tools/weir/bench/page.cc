#include "report/page.hpp"

#include <string>
#include <string_view>

#include "bench/shown.hpp"
#include "bench/summary.hpp"
#include "text_page.hpp"

namespace weir::tools::bench {
namespace {

using weir::report::chart;
using weir::report::digits_of;
using weir::report::fact;
using weir::report::page;
using weir::report::section;

/// What a value is divided by for the unit of its chart.
double divisor_of(const regime& what) {
  return counts_bytes(what) ? 1e6 / static_cast<double>(what.block) : 1e3;
}

std::string note_on(const row& in, const series& of) {
  std::string cpu = shown_time(cpu_of(of)) + " of processor time each";
  const series* const calls = find(in, plain);
  if (calls == nullptr || calls == &of) return cpu;
  return digits_of(ratio_of(of, *calls).median) + " times pread, " + cpu;
}

chart chart_of(const row& measured) {
  chart drawn{.title = title_of(measured.what),
              .unit = counts_bytes(measured.what) ? "MB/s, more is better"
                                                  : "thousands a second, more is better",
              .groups = {{}}};
  const double divisor = divisor_of(measured.what);
  for (const series& each : measured.contestants) {
    if (each.rounds.empty()) continue;
    const spread rate = rate_of(each);
    drawn.groups.front().push_back(
        {.label = each.contestant,
         .value = rate.median / divisor,
         .spread = weir::report::range{.least = rate.least / divisor, .most = rate.most / divisor},
         .note = note_on(measured, each),
         .ours = each.contestant != plain});
  }
  return drawn;
}

section advice_of(const summary& done) {
  section made{.title = "What suits this disk", .paragraphs = {}, .charts = {}};
  for (const advice_line& each : done.advised.lines) {
    made.paragraphs.push_back(each.question + ": " + each.answer + ". " + each.why + ".");
  }
  return made;
}

std::vector<fact> facts_of(const summary& done) {
  std::vector<fact> facts{
      {.label = "measured on", .text = done.target + ", " + shown_bytes(done.size)},
      {.label = "file system", .text = done.file_system},
      {.label = "kernel", .text = done.kernel},
      {.label = "processors", .text = std::to_string(done.processors)},
      {.label = "weir", .text = WEIR_VERSION},
      {.label = "rounds",
       .text = std::to_string(done.found.rounds) + ", slices of " +
               std::to_string(done.measured_at.slice.count()) + " ms"}};
  for (const absence& each : done.found.absent) {
    facts.push_back({.label = "without " + each.driver, .text = each.reason});
  }
  for (const std::string& each : done.found.remarks) {
    facts.push_back({.label = "remark", .text = each});
  }
  return facts;
}

}  // namespace

page page_of(const summary& done) {
  page made{.title = "weir bench", .facts = facts_of(done), .sections = {advice_of(done)}};
  for (const row& each : done.found.rows) {
    const std::string group = group_of(each.what);
    if (made.sections.back().title != group) {
      made.sections.push_back({.title = group, .paragraphs = {}, .charts = {}});
    }
    made.sections.back().charts.push_back(chart_of(each));
  }
  return made;
}

}  // namespace weir::tools::bench
