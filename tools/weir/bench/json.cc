#include <nlohmann/json.hpp>

#include <string>

#include "bench/summary.hpp"

namespace weir::tools::bench {
namespace {

using json = nlohmann::ordered_json;

json to_json(const spread& of) {
  return {{"median", of.median}, {"least", of.least}, {"most", of.most}};
}

json to_json(const row& in, const series& of) {
  json shown = {{"contestant", of.contestant},
                {"per_second", to_json(rate_of(of))},
                {"cpu_seconds", cpu_of(of)},
                {"rounds", json::array()}};
  const series* const calls = find(in, plain);
  shown["times_pread"] = calls != nullptr ? to_json(ratio_of(of, *calls)) : json(nullptr);
  for (const sample& each : of.rounds) shown["rounds"].push_back(each.per_second);
  return shown;
}

json to_json(const row& of) {
  json shown = {{"cache", name_of(of.what.cache)}, {"work", name_of(of.what.work)},
                {"order", name_of(of.what.order)}, {"block", of.what.block},
                {"depth", of.what.depth},          {"neighbours", of.what.neighbours},
                {"title", title_of(of.what)},      {"noise", noise_of(of)},
                {"contestants", json::array()}};
  for (const series& each : of.contestants) {
    if (!each.rounds.empty()) shown["contestants"].push_back(to_json(of, each));
  }
  return shown;
}

json to_json(const std::optional<route>& which) {
  if (!which) return nullptr;
  return *which == route::direct ? "direct" : "buffered";
}

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json to_json(const advice& of) {
  json shown = {{"driver", of.driver.empty() ? json(nullptr) : json(of.driver)},
                {"queue_depth", or_null(of.queue_depth)},
                {"streams", to_json(of.streams)},
                {"random", to_json(of.random)},
                {"merging", or_null(of.merging)},
                {"why", json::array()}};
  for (const advice_line& each : of.lines) {
    shown["why"].push_back(
        {{"question", each.question}, {"answer", each.answer}, {"why", each.why}});
  }
  return shown;
}

}  // namespace

std::string json_of(const summary& done) {
  json shown = {{"weir", WEIR_VERSION},
                {"target", done.target},
                {"size", done.size},
                {"file_system", done.file_system},
                {"kernel", done.kernel},
                {"processors", done.processors},
                {"slice_seconds", std::chrono::duration<double>(done.measured_at.slice).count()},
                {"rounds", done.found.rounds},
                {"seconds", done.seconds},
                {"advice", to_json(done.advised)},
                {"regimes", json::array()},
                {"absent", json::array()},
                {"remarks", done.found.remarks}};
  for (const row& each : done.found.rows) shown["regimes"].push_back(to_json(each));
  for (const absence& each : done.found.absent) {
    shown["absent"].push_back({{"driver", each.driver}, {"reason", each.reason}});
  }
  // A path need not be UTF-8; what is not becomes U+FFFD.
  return shown.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace weir::tools::bench
