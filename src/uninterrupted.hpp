#pragma once

#include <cerrno>

namespace weir::detail {

/// Makes a system call again while signals interrupt it (EINTR). Its answer; or, in the place of
/// -1, a negative errno.
template <class Call>
auto uninterrupted(Call call) noexcept {
  for (;;) {
    const auto answer = call();
    if (answer >= 0) return answer;
    if (errno != EINTR) return static_cast<decltype(call())>(-errno);
  }
}

}  // namespace weir::detail
