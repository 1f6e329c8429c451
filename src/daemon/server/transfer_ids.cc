#include "daemon/server/transfer_ids.hpp"

#include <sys/random.h>

#include <cerrno>
#include <utility>

#include "misuse.hpp"

namespace weir::detail::daemon {

std::uint64_t transfer_ids::next() noexcept {
  for (;;) {
    if (left_ == 0) refill();
    // Used once, and not left in memory.
    const std::uint64_t id = std::exchange(drawn_[--left_], 0);
    if (id != 0) return id;
  }
}

// Ids that could be guessed would be worse than no daemon, so there is no going on without.
void transfer_ids::refill() noexcept {
  std::size_t filled = 0;
  auto* const at = reinterpret_cast<std::byte*>(drawn_.data());
  while (filled < sizeof drawn_) {
    const ssize_t got = ::getrandom(at + filled, sizeof drawn_ - filled, 0);
    if (got > 0) filled += static_cast<std::size_t>(got);
    if (got < 0 && errno != EINTR) misuse("the kernel has no getrandom(2), which Linux 3.17 has");
  }
  left_ = drawn_.size();
}

}  // namespace weir::detail::daemon
