#include "top/samples.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

namespace weir::tools::top {
namespace {

std::optional<double> number(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  double value = 0;
  const char* const first = text.data();
  const char* const end = first + text.size();
  const auto [stop, error] = std::from_chars(first, end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

// name="value",name="value": the daemon's values have no quotation marks in them.
labels parse_labels(std::string_view text) {
  labels found;
  while (!text.empty()) {
    const std::size_t equals = text.find("=\"");
    const std::size_t end =
        equals == std::string_view::npos ? std::string_view::npos : text.find('"', equals + 2);
    if (end == std::string_view::npos) break;
    found.emplace(text.substr(0, equals), text.substr(equals + 2, end - equals - 2));
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return found;
}

std::optional<sample> parse_line(std::string_view line) {
  const std::size_t space = line.rfind(' ');
  if (line.starts_with('#') || space == std::string_view::npos) return std::nullopt;
  const auto value = number(line.substr(space + 1));
  if (!value) return std::nullopt;
  const std::string_view key = line.substr(0, space);
  const std::size_t brace = key.find('{');
  if (brace == std::string_view::npos)
    return sample{.name = std::string(key), .with = {}, .value = *value};
  if (!key.ends_with('}')) return std::nullopt;
  return sample{.name = std::string(key.substr(0, brace)),
                .with = parse_labels(key.substr(brace + 1, key.size() - brace - 2)),
                .value = *value};
}

bool has_all(const labels& given, const labels& wanted) {
  return std::ranges::all_of(wanted, [&](const auto& each) {
    const auto found = given.find(each.first);
    return found != given.end() && found->second == each.second;
  });
}

/// How many durations were at most so long: an upper bound, then the count.
using bucket_counts = std::vector<std::pair<double, double>>;

// The daemon leaves out buckets that say the same as the one before.
bucket_counts buckets(const snapshot& of, const std::string& name, const labels& having) {
  bucket_counts found;
  for (const sample& each : of.samples) {
    if (each.name != name || !has_all(each.with, having)) continue;
    const auto bound = each.with.find("le");
    const auto limit = bound == each.with.end() ? std::nullopt : number(bound->second);
    if (limit) found.emplace_back(*limit, each.value);
  }
  std::ranges::sort(found);
  return found;
}

double count_within(const bucket_counts& counted, double limit) {
  double count = 0;
  for (const auto& [bound, so_many] : counted) {
    if (bound <= limit) count = so_many;
  }
  return count;
}

}  // namespace

double snapshot::value(std::string_view name, const labels& having) const {
  const auto found = std::ranges::find_if(
      samples, [&](const sample& each) { return each.name == name && has_all(each.with, having); });
  return found == samples.end() ? 0 : found->value;
}

std::vector<sample> parse_samples(std::string_view text) {
  std::vector<sample> samples;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto read = parse_line(text.substr(0, end))) samples.push_back(std::move(*read));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return samples;
}

double quantile(const snapshot& before, const snapshot& now, std::string_view histogram,
                const labels& having, double share) {
  const std::string name = std::string(histogram) + "_bucket";
  const bucket_counts earlier = buckets(before, name, having);
  const bucket_counts later = buckets(now, name, having);
  constexpr double all = std::numeric_limits<double>::infinity();
  const double wanted = share * (count_within(later, all) - count_within(earlier, all));
  if (wanted <= 0) return 0;
  double last = 0;
  for (const auto& [bound, so_many] : later) {
    if (bound != all) last = bound;
    if (so_many - count_within(earlier, bound) >= wanted) break;
  }
  return last;
}

}  // namespace weir::tools::top
