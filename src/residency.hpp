#pragma once

#include <cstdint>

#include "weir/driver.hpp"

namespace weir::detail {

/// Learns from a file's reads whether it is worth trying them in the page cache before they are
/// queued: a hit saves a part of what a read costs, a miss costs a system call for nothing. A
/// decaying average of hits, of which a few are enough to be believed. While the average is too low
/// one read is tried now and then, ever more rarely, so that a file that has become resident is
/// found out. Not thread-safe.
class residency {
 public:
  bool worth_trying() noexcept {
    if (rate_ >= worth_it) return true;
    if (left_out_ != 0) return --left_out_, false;
    return !hopeless_;
  }

  void learn(at_once what) noexcept {
    if (what != at_once::done || rate_ != all) average(what);
  }

  /// This file's reads are never to be tried: it is past the page cache, or has none.
  void give_up() noexcept;

  /// What else is known of the file: bits of `hint`.
  std::uint8_t hints() const noexcept { return hints_; }
  void learn_hints(std::uint8_t more) noexcept { hints_ |= more; }

 private:
  void average(at_once what) noexcept;

  // Of 256 tries as many hits. Measured (docs/performance.md): a miss costs about three times of
  // what a hit gains.
  static constexpr unsigned all = 256;
  static constexpr unsigned worth_it = 192;
  static constexpr unsigned shortest_pause = 16;
  static constexpr unsigned longest_pause = 1024;

  std::uint16_t rate_ = all;
  std::uint16_t left_out_ = 0;  // reads until the next try
  std::uint16_t pause_ = shortest_pause;
  bool hopeless_ = false;
  std::uint8_t hints_ = 0;
};

}  // namespace weir::detail
