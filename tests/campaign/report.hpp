#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "campaign/attempt.hpp"

namespace weir::campaign {

/// A fault on a driver: the sum of its tries.
struct row {
  std::string_view fault;
  std::string_view driver;
  unsigned tries = 0;
  std::uint64_t operations = 0;
  std::array<std::uint64_t, account::errors> refused{};
  std::uint64_t lost = 0;  ///< not completed, completed twice, or succeeded without the data
  std::uint64_t hung = 0;
  std::uint64_t crashed = 0;
  std::uint64_t leaked = 0;
  std::uint64_t odd = 0;  ///< an error that was not expected, or none where one was
  std::string skipped;    ///< why; empty where it was not
  std::set<std::string> remarks;

  void add(const attempt& one);
  bool is_clean() const noexcept { return lost + hung + crashed + leaked + odd == 0; }
};

/// Markdown, aligned so that it can be read as it is; then what was remarked about rows that are
/// not clean, and why rows were skipped.
void print_table(std::ostream& out, std::span<const row> rows);

}  // namespace weir::campaign
