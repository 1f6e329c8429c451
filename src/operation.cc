#include "weir/operation.hpp"

#include "fork_guard.hpp"
#include "misuse.hpp"

namespace weir::detail {

void operation_destroyed_in_flight(const operation& op) noexcept {
  if (op.fork_generation_ != static_cast<std::uint8_t>(fork_generation())) return;
  misuse(
      "an operation was destroyed while it was in flight; the kernel may still write to its "
      "memory. "
      "Keep it, and the coroutine that awaits it, until it has completed");
}

}  // namespace weir::detail
