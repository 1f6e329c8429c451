#include "weir/driver.hpp"

#include "clock.hpp"
#include "perform.hpp"

namespace weir {

// What holds where descriptors and time are the kernel's.

std::int64_t driver::now_ns() const noexcept { return detail::monotonic_now_ns(); }

std::int32_t driver::perform_now(const request& what) noexcept { return detail::perform(what); }

}  // namespace weir
