#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "campaign/account.hpp"
#include "campaign/fault.hpp"

namespace weir::campaign {

/// How an attempt ended.
enum class ending : std::uint8_t { done, skipped, hung, crashed };

/// One try, as it is seen from outside: a process of its own, and what it said.
struct attempt {
  ending how = ending::done;
  std::unique_ptr<account> said;
  std::string output;  ///< of the process; how it ended, where it crashed
};

/// Runs this program again as a child, which makes the try, and waits for its end; but not for
/// ever.
attempt make_attempt(const fault& what, std::string_view driver, unsigned number,
                     std::uint64_t seed, bool in_full);

/// Whether this process is such a child; then `be_child` is all that it has to do, and its answer
/// the exit status.
bool is_child(std::span<char* const> arguments);
int be_child(std::span<char* const> arguments);

}  // namespace weir::campaign
