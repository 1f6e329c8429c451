#include "weir/driver.hpp"

#include <sys/random.h>

#include <cerrno>

#include "clock.hpp"
#include "perform.hpp"

namespace weir {

// What holds where descriptors and time are the kernel's.

std::int64_t driver::now_ns() const noexcept { return detail::monotonic_now_ns(); }

result<std::uint64_t> driver::random_bits() noexcept {
  std::uint64_t bits = 0;
  while (::getrandom(&bits, sizeof bits, 0) != sizeof bits) {
    if (errno != EINTR) return std::unexpected(detail::errno_code(errno));
  }
  return bits;
}

std::int32_t driver::perform_now(const request& what) noexcept { return detail::perform(what); }

}  // namespace weir
