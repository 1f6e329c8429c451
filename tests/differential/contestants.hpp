#pragma once

#include <array>
#include <string_view>

namespace weir::testing::differential {

/// Who is compared with the driver `sync`. One that is not available is left out, which is said.
struct contestant {
  std::string_view driver;
  /// Its descriptors are the kernel's: pipes of the kernel's can be spliced with them, and what it
  /// leaves behind can be looked at without it. Not so where the files are in its own memory.
  bool kernel_files = true;
};

inline constexpr std::array contestants = {
    contestant{"uring"},         contestant{"linux_aio"},         contestant{"threads"},
    contestant{"merging:uring"}, contestant{"merging:linux_aio"}, contestant{"merging:threads"},
    contestant{"merging:sync"},  contestant{"simulated", false},
};

}  // namespace weir::testing::differential
