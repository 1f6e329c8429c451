#include <nlohmann/json.hpp>

#include <expected>
#include <string>
#include <string_view>

#include "report/suite.hpp"

namespace weir::report {
namespace {

using json = nlohmann::ordered_json;

// Raised when what is written changes its meaning; what is only added does not count.
constexpr int format_version = 1;

json to_json(const comparison& of) {
  json shown = {{"regime", of.regime},
                {"ours", of.ours},
                {"peer", of.peer},
                {"unit", of.unit},
                {"more_is_better", of.more_is_better},
                {"our_median", of.our_median}};
  if (of.peer.empty()) return shown;
  shown["peer_median"] = of.peer_median;
  shown["ratio"] = of.ratio;
  shown["least"] = of.spread.least;
  shown["most"] = of.spread.most;
  shown["pairs"] = of.pairs;
  return shown;
}

json to_json(const question& of) {
  json shown = {{"program", of.program}, {"asks", of.asks}, {"answers", json::array()}};
  for (const comparison& each : of.answers) shown["answers"].push_back(to_json(each));
  shown["remarks"] = of.remarks;
  return shown;
}

comparison comparison_of(const json& from) {
  comparison made{.regime = from.at("regime"),
                  .ours = from.at("ours"),
                  .peer = from.at("peer"),
                  .unit = from.at("unit"),
                  .more_is_better = from.at("more_is_better"),
                  .our_median = from.at("our_median")};
  if (made.peer.empty()) return made;
  made.peer_median = from.at("peer_median");
  made.ratio = from.at("ratio");
  made.spread = {.least = from.at("least"), .most = from.at("most")};
  made.pairs = from.at("pairs");
  return made;
}

question question_of(const json& from) {
  question made{.program = from.at("program"),
                .asks = from.at("asks"),
                .answers = {},
                .remarks = from.at("remarks")};
  for (const json& each : from.at("answers")) made.answers.push_back(comparison_of(each));
  return made;
}

suite suite_of(const json& from) {
  suite made;
  for (const json& each : from.at("machine")) {
    made.machine.push_back({.label = each.at("label"), .text = each.at("text")});
  }
  for (const json& each : from.at("questions")) made.questions.push_back(question_of(each));
  return made;
}

}  // namespace

std::string json_of(const suite& measured) {
  json shown = {
      {"format", format_version}, {"machine", json::array()}, {"questions", json::array()}};
  for (const fact& each : measured.machine) {
    shown["machine"].push_back({{"label", each.label}, {"text", each.text}});
  }
  for (const question& each : measured.questions) shown["questions"].push_back(to_json(each));
  // A name from the system need not be UTF-8; what is not becomes U+FFFD.
  return shown.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::expected<suite, std::string> suite_of(std::string_view text) {
  try {
    const json parsed = json::parse(text);
    if (parsed.at("format") != format_version) {
      return std::unexpected("it is of format " + parsed.at("format").dump() + ", and only " +
                             std::to_string(format_version) + " is known");
    }
    return suite_of(parsed);
  } catch (const json::exception& problem) {
    return std::unexpected(problem.what());
  }
}

}  // namespace weir::report
