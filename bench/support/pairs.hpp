#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace weir::bench {

struct comparison {
  double median = 0;  ///< of the pairs' ratios, ours by the peer's
  double least = 0;
  double most = 0;
  double ours = 0;  ///< median of the slices
  double peers = 0;
};

inline double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Two ways of doing the same work, measured in turn in one process, and compared pair by pair, so
/// that what the machine does meanwhile befalls both: slices A B, B A, A B, …, each of which
/// returns a value.
comparison compare_values(auto&& ours, auto&& peer, int pairs) {
  std::vector<double> ratios;
  std::vector<double> our_values;
  std::vector<double> peer_values;
  for (int pair = 0; pair < pairs; ++pair) {
    double our_value = 0;
    double peer_value = 0;
    if (pair % 2 == 0) {
      our_value = ours();
      peer_value = peer();
    } else {
      peer_value = peer();
      our_value = ours();
    }
    ratios.push_back(our_value / peer_value);
    our_values.push_back(our_value);
    peer_values.push_back(peer_value);
  }
  return {.median = median_of(ratios),
          .least = *std::ranges::min_element(ratios),
          .most = *std::ranges::max_element(ratios),
          .ours = median_of(our_values),
          .peers = median_of(peer_values)};
}

}  // namespace weir::bench
