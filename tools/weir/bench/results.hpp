#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/regime.hpp"

/// What was measured, and what can be said about it: plain numbers and pure functions.
namespace weir::tools::bench {

/// What one contestant did in one slice.
struct sample {
  double per_second = 0;   ///< operations
  double cpu_seconds = 0;  ///< processor time of one operation, the kernel's and all threads' too
};

/// One contestant's samples in one regime, a sample for each round.
struct series {
  std::string contestant;
  std::vector<sample> rounds;
};

/// What was measured in one regime. The series have equally many rounds; those of the same number
/// were measured one right after the other.
struct row {
  regime what;
  std::vector<series> contestants;
};

/// A median, with what it varied between.
struct spread {
  double median = 0;
  double least = 0;
  double most = 0;
};

/// The contestant whose loop of pread(2) and pwrite(2) the others are compared with.
inline constexpr std::string_view plain = "pread";

const series* find(const row& in, std::string_view contestant) noexcept;

/// Of values that there are some of.
spread spread_of(std::vector<double> values);

/// Operations per second.
spread rate_of(const series& of);

/// Seconds of processor time for one operation.
double cpu_of(const series& of);

/// How much faster `one` is than `other`, round by round.
spread ratio_of(const series& one, const series& other);

/// What cannot be told from chance in this row, as a fraction: what the successive slices of one
/// contestant, which did the same work, differ by in the middle. At least 2 %.
double noise_of(const row& in);

/// Whether `ratio` says that there is a difference: it is beyond the noise, and most rounds agree.
enum class verdict { slower, same, faster };
verdict judge(const series& one, const series& other, double noise);

}  // namespace weir::tools::bench
