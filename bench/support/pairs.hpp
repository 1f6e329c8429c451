#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <vector>

/// What the benchmarks share: two ways of doing the same work, measured in turn in one process, and
/// compared pair by pair, so that what the machine does meanwhile befalls both.
namespace weir::bench {

/// The processor time of a thread or a process: what does not wait takes, however busy the machine
/// is with other things.
template <clockid_t id>
struct processor_clock {
  using time_point = std::chrono::time_point<processor_clock, std::chrono::nanoseconds>;
  static time_point now() noexcept {
    timespec time{};
    ::clock_gettime(id, &time);
    return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
  }
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
};
using thread_clock = processor_clock<CLOCK_THREAD_CPUTIME_ID>;
using process_clock = processor_clock<CLOCK_PROCESS_CPUTIME_ID>;

template <class Clock = std::chrono::steady_clock>
double seconds_of(auto&& work) {
  const auto before = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - before).count();
}

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

/// Slices A B, B A, A B, …, each of which returns a value.
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

/// The same in seconds, after one of each that is not counted.
template <class Clock = std::chrono::steady_clock>
comparison compare(auto&& ours, auto&& peer, int pairs = 15) {
  ours();
  peer();
  return compare_values([&] { return seconds_of<Clock>(ours); },
                        [&] { return seconds_of<Clock>(peer); }, pairs);
}

inline void print_heading() {
  std::printf("%-58s %10s %10s %7s  %s\n", "", "weir ns", "peer ns", "ratio", "spread");
}

/// One row: nanoseconds for one of `operations` in a slice.
inline void print(std::string_view title, const comparison& result, double operations) {
  std::printf("%-58.*s %10.1f %10.1f %7.3f  %.3f to %.3f\n", static_cast<int>(title.size()),
              title.data(), result.ours / operations * 1e9, result.peers / operations * 1e9,
              result.median, result.least, result.most);
}

}  // namespace weir::bench
