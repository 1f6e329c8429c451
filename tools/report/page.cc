#include <string>
#include <vector>

#include "report/suite.hpp"

namespace weir::report {
namespace {

std::vector<bar> group_of(const comparison& answer) {
  std::vector<bar> group{{.label = answer.ours, .value = answer.our_median, .ours = true}};
  if (answer.peer.empty()) return group;
  group.front().note = digits_of(answer.ratio) + "\u00d7 (" + digits_of(answer.spread.least) +
                       " to " + digits_of(answer.spread.most) + ")";
  group.push_back({.label = answer.peer, .value = answer.peer_median});
  return group;
}

chart chart_for(const comparison& first) {
  return {.title = first.regime,
          .unit = first.unit + (first.more_is_better ? ", more is better" : ", less is better"),
          .groups = {}};
}

section section_of(const question& asked) {
  section made{.title = asked.program, .paragraphs = {asked.asks}, .charts = {}};
  made.paragraphs.insert(made.paragraphs.end(), asked.remarks.begin(), asked.remarks.end());
  const comparison* previous = nullptr;
  for (const comparison& each : asked.answers) {
    const bool same_chart =
        previous != nullptr && each.regime == previous->regime && each.unit == previous->unit;
    if (!same_chart) made.charts.push_back(chart_for(each));
    made.charts.back().groups.push_back(group_of(each));
    previous = &each;
  }
  return made;
}

}  // namespace

page page_of(const suite& measured) {
  page made{.title = "weir beside its peers", .facts = measured.machine, .sections = {}};
  for (const question& each : measured.questions) made.sections.push_back(section_of(each));
  return made;
}

}  // namespace weir::report
