#pragma once

#include <span>
#include <string_view>

namespace weir::campaign {

class trial;

/// A row of the campaign. To add one: its file in faults/, its declaration in faults/faults.hpp,
/// its row in faults/faults.cc, its line in CMakeLists.txt.
struct fault {
  std::string_view name;
  std::string_view does;         ///< what is done to whom, in a sentence
  std::span<const int> expects;  ///< the errors that operations may answer while it lasts
  /// One try, in a process of its own. Whatever it sets up is gone when it returns.
  void (*strike)(trial&);
  unsigned short_tries;
  unsigned long_tries;
};

/// All of them, in the order of the table.
std::span<const fault* const> all_faults();

}  // namespace weir::campaign
