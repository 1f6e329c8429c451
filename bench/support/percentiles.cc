#include "support/percentiles.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace weir::bench {
namespace {

using slices = std::vector<std::vector<double>>;  // each sorted

/// In turn first, as everywhere.
std::pair<slices, slices> measured(const latencies& ours, const latencies& peer, int pairs) {
  std::pair<slices, slices> all;
  const auto take = [](slices& into, const latencies& from) {
    into.push_back(from());
    std::ranges::sort(into.back());
  };
  for (int pair = 0; pair < pairs; ++pair) {
    if (pair % 2 == 0) take(all.first, ours);
    take(all.second, peer);
    if (pair % 2 != 0) take(all.first, ours);
  }
  return all;
}

auto each_percentile(const slices& of, double percent) {
  return [&of, percent, next = std::size_t{0}]() mutable {
    return percentile_of(of[next++], percent);
  };
}

/// "p99.9"
std::string name_of(double percent) {
  std::ostringstream name;
  name << 'p' << percent;
  return name.str();
}

}  // namespace

double percentile_of(const std::vector<double>& sorted, double percent) noexcept {
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  const auto at = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(at, sorted.size() - 1)];
}

void compare_percentiles(program& run, const std::string& regime,
                         const std::vector<double>& percents, const std::string& ours,
                         const latencies& our_slice, const std::string& peer,
                         const latencies& peer_slice) {
  const auto [our_slices, peer_slices] = measured(our_slice, peer_slice, run.pairs());
  const conditions under{.regime = regime, .shown = {.unit = "\u00b5s"}};
  for (const double percent : percents) {
    comparison seconds = compare_values(each_percentile(our_slices, percent),
                                        each_percentile(peer_slices, percent), run.pairs());
    seconds.ours *= 1e6;
    seconds.peers *= 1e6;
    run.record(under, ours + ", " + name_of(percent), peer, seconds);
  }
}

}  // namespace weir::bench
