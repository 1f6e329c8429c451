#include "bench/results.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace weir::tools::bench {
namespace {

std::vector<double> ratios(const series& one, const series& other) {
  const std::size_t rounds = std::min(one.rounds.size(), other.rounds.size());
  std::vector<double> found;
  found.reserve(rounds);
  for (std::size_t i = 0; i < rounds; ++i) {
    found.push_back(one.rounds[i].per_second / other.rounds[i].per_second);
  }
  return found;
}

}  // namespace

const series* find(const row& in, std::string_view contestant) noexcept {
  const auto found = std::ranges::find(in.contestants, contestant, &series::contestant);
  return found != in.contestants.end() && !found->rounds.empty() ? &*found : nullptr;
}

spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  const double median =
      values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {.median = median, .least = values.front(), .most = values.back()};
}

spread rate_of(const series& of) {
  std::vector<double> rates;
  std::ranges::transform(of.rounds, std::back_inserter(rates), &sample::per_second);
  return spread_of(std::move(rates));
}

double cpu_of(const series& of) {
  std::vector<double> times;
  std::ranges::transform(of.rounds, std::back_inserter(times), &sample::cpu_seconds);
  return spread_of(std::move(times)).median;
}

spread ratio_of(const series& one, const series& other) { return spread_of(ratios(one, other)); }

// Two slices of one contestant are a whole round apart, those that are compared are neighbours: so
// this is rather too much than too little.
double noise_of(const row& in) {
  constexpr double least = 0.02;
  constexpr double not_known = 0.25;  // of a single round nobody can tell
  std::vector<double> differences;
  for (const series& each : in.contestants) {
    for (std::size_t i = 1; i < each.rounds.size(); ++i) {
      differences.push_back(
          std::abs(std::log(each.rounds[i].per_second / each.rounds[i - 1].per_second)));
    }
  }
  if (differences.empty()) return not_known;
  return std::max(least, std::expm1(spread_of(std::move(differences)).median));
}

verdict judge(const series& one, const series& other, double noise) {
  const std::vector<double> found = ratios(one, other);
  const double median = spread_of(found).median;
  // At most one in four may say otherwise.
  const auto most = [&found](auto agrees) {
    return 4 * std::ranges::count_if(found, agrees) >= 3 * std::ssize(found);
  };
  if (median > 1 + noise && most([](double r) { return r > 1; })) return verdict::faster;
  if (median < 1 / (1 + noise) && most([](double r) { return r < 1; })) return verdict::slower;
  return verdict::same;
}

}  // namespace weir::tools::bench
