#pragma once

#include <cstdint>
#include <functional>
#include <system_error>

namespace weir::tools {

/// What came of moving bytes.
struct pumped {
  std::uint64_t bytes = 0;
  std::error_code error;  ///< why they are not all
  bool at_input = false;  ///< which side said so
};

/// Moves bytes from one descriptor to another, at most `limit`, to the end of the input: through
/// the kernel (splice(2)) where one of them is a pipe and the other allows it, else through memory.
/// Calls `moved` with each number of bytes, and with 0 after a signal; stops with EINTR when that
/// returns false.
pumped pump(int from, int to, std::uint64_t limit, const std::function<bool(std::uint64_t)>& moved);

}  // namespace weir::tools
