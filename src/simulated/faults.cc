#include "simulated/faults.hpp"

#include <algorithm>

namespace weir::detail::simulated {

fate::fate(const simulated_options& options)
    : rates_{0,  // what a power failure takes is decided there
             0,
             options.faults.misdirected,
             options.faults.bit_rot,
             options.faults.bad_sector,
             options.faults.io_error,
             options.faults.sync_failed,
             options.faults.short_transfer,
             options.faults.interrupted,
             options.faults.would_block,
             options.faults.stalled},
      options_(options),
      random_(options.seed) {
  if (options_.replay) std::ranges::sort(*options_.replay);
}

bool fate::befalls(simulated_fault what, double rate, std::uint64_t operation,
                   std::uint32_t part) const noexcept {
  if (options_.replay) {
    return std::ranges::binary_search(*options_.replay, simulated_fault_at{operation, part, what});
  }
  if (rate <= 0) return false;
  const auto kind = static_cast<purpose>(static_cast<std::uint64_t>(purpose::fault) +
                                         static_cast<std::uint64_t>(what));
  return happens(rate, random_.draw(kind, operation, part));
}

// A heavy tail of P(longer than typical x 2^n) = 1 / 2^(1 + 3n/2): Pareto's with an exponent
// of 1.5.
std::int64_t fate::latency(opcode op, std::uint64_t operation) const noexcept {
  const simulated_latency& of = options_.latency;
  const bool sync = op == opcode::fsync || op == opcode::fdatasync;
  const auto typical = static_cast<std::uint64_t>(sync ? of.sync_ns : of.typical_ns);
  constexpr std::uint64_t one = 1U << 16;
  const std::uint64_t drawn = minus_log2(random_.draw(purpose::latency, operation));
  switch (of.how) {
    case simulated_latency::shape::constant:
      return static_cast<std::int64_t>(typical);
    case simulated_latency::shape::exponential:
      return static_cast<std::int64_t>(typical * drawn / one * 100 / 144);
    case simulated_latency::shape::heavy_tail: {
      if (drawn < one) return static_cast<std::int64_t>(typical / 2 + typical / 2 * drawn / one);
      const std::uint64_t doublings = (drawn - one) * 2 / 3;
      const std::uint64_t whole = typical << (doublings / one);
      return static_cast<std::int64_t>(whole + whole * (doublings % one) / one);
    }
  }
  return 0;
}

}  // namespace weir::detail::simulated
