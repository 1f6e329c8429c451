#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "weir/request.hpp"

namespace weir::detail {

/// A number that one thread changes and any may read: plain loads and stores, no locked cycle.
class counter {
 public:
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }
  void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  void add(std::uint64_t count) noexcept { set(get() + count); }
  void raise_to(std::uint64_t value) noexcept {
    if (value > get()) set(value);
  }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

/// Counts of values by their logarithm, eight buckets to each power of two; the values below 8 have
/// one each.
class log_histogram {
 public:
  static constexpr unsigned sub_bits = 3;
  static constexpr std::size_t buckets = (64 - sub_bits + 1) << sub_bits;

  static std::size_t bucket_of(std::uint64_t value) noexcept {
    constexpr std::uint64_t linear = std::uint64_t{1} << sub_bits;
    if (value < linear) return value;
    const auto exponent = static_cast<unsigned>(std::bit_width(value)) - 1;
    const std::uint64_t mantissa = (value >> (exponent - sub_bits)) & (linear - 1);
    return ((exponent - sub_bits + 1) << sub_bits) + mantissa;
  }

  /// The least value of a bucket; also of the one behind the last, which is 2^64.
  static double least_of(std::size_t bucket) noexcept;

  void record(std::uint64_t value, std::uint64_t count) noexcept {
    max_.raise_to(value);
    counts_[bucket_of(value)].add(count);
  }

  std::uint64_t count_of(std::size_t bucket) const noexcept { return counts_[bucket].get(); }
  std::uint64_t max() const noexcept { return max_.get(); }

 private:
  counter max_;
  std::array<counter, buckets> counts_;
};

/// What completed with one opcode. Those that were timed are in `ticks`.
struct operation_counters {
  counter untimed;
  counter failed;
  counter cancelled;
  counter bytes;
  log_histogram ticks;
};

/// What one driver counts into.
struct route_counters {
  std::string name;
  counter in_flight;
  counter most_in_flight;
  std::array<operation_counters, opcode_count> operations;
};

}  // namespace weir::detail
