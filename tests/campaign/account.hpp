#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::campaign {

/// What a try has to say, in memory shared with who watches it: it outlives a crash. Only plain
/// counters and text, all zero at first.
struct account {
  using counter = std::atomic<std::uint64_t>;

  /// Errors that operations answered are counted by their errno, below this.
  static constexpr std::size_t errors = 160;

  counter started;
  counter completed;
  counter completed_twice;
  counter data_missing;                 ///< succeeded, and yet a block does not hold what it must
  counter crashed;                      ///< processes that the try has started
  counter leaked;                       ///< descriptors, threads, allocations, mappings
  counter odd;                          ///< anything else that must not be; the remarks say what
  std::array<counter, errors> refused;  ///< what answered this errno, as expected
  std::atomic<bool> skipped;            ///< the remarks say why
  std::atomic<bool> ended;              ///< to its end, whatever it found

  /// Appends a line to the remarks, as long as there is room. Any thread.
  void remark(std::string_view line) noexcept {
    const std::size_t at = remarked.fetch_add(line.size() + 1);
    if (at + line.size() + 1 > remarks.size()) return;
    std::ranges::copy(line, remarks.begin() + static_cast<std::ptrdiff_t>(at));
    remarks[at + line.size()] = '\n';
  }
  std::string_view all_remarks() const noexcept {
    return {remarks.data(), std::min(remarked.load(), remarks.size())};
  }

  std::atomic<std::size_t> remarked;
  std::array<char, 4096> remarks;
};

}  // namespace weir::campaign
