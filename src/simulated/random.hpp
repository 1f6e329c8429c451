#pragma once

#include <bit>
#include <cstdint>

namespace weir::detail::simulated {

/// Mixes 64 bits until each depends on every other: the finalizer of SplitMix64 (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
constexpr std::uint64_t mixed(std::uint64_t bits) noexcept {
  bits += 0x9e3779b97f4a7c15;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

/// What a number is drawn for. Each has numbers of its own, so that a draw more or less for one
/// changes nothing for the others.
enum class purpose : std::uint8_t {
  latency,
  order,
  place,
  sectors,
  writeback,
  keep_rate,
  cut,
  stop,
  name,
  moment,
  fault,  // and the next ones: one for each fault
};

/// Draws by counter: what is drawn for an operation depends on the seed and the operation's number,
/// not on what was drawn before. That is what lets a run be repeated with one fault fewer.
class random_source {
 public:
  explicit constexpr random_source(std::uint64_t seed) noexcept : seed_(mixed(seed)) {}

  constexpr std::uint64_t draw(purpose what, std::uint64_t number,
                               std::uint64_t part = 0) const noexcept {
    return mixed(seed_ ^ mixed(number + (static_cast<std::uint64_t>(what) << 56) + (part << 28)));
  }

  /// One of 0 … count - 1.
  constexpr std::uint64_t below(std::uint64_t count, purpose what, std::uint64_t number,
                                std::uint64_t part = 0) const noexcept {
    return draw(what, number, part) % count;
  }

 private:
  std::uint64_t seed_;
};

/// Whether something of this probability happens, given a draw. Exact in every floating point that
/// C++ compilers use: a product by a power of two.
constexpr bool happens(double rate, std::uint64_t drawn) noexcept {
  if (rate <= 0) return false;
  return rate >= 1 || static_cast<double>(drawn >> 11) < rate * 0x1p53;
}

/// -log2 of a fraction whose first 64 bits are drawn, as a number with 16 bits behind the point:
/// between powers of two a straight line, in integers, so that it is the same everywhere.
constexpr std::uint64_t minus_log2(std::uint64_t drawn) noexcept {
  drawn |= 1;
  const auto zeros = static_cast<unsigned>(std::countl_zero(drawn));
  const std::uint64_t mantissa = (drawn << zeros) >> 47;  // 17 bits, the first of them set
  return (std::uint64_t{zeros + 1} << 16) - (mantissa - (1U << 16));
}

}  // namespace weir::detail::simulated
