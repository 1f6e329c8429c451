#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::detail::daemon {

/// Numbers that nobody can guess, for naming transfers: from getrandom(2), many at a time. Never 0.
class transfer_ids {
 public:
  std::uint64_t next() noexcept;

 private:
  void refill() noexcept;

  std::array<std::uint64_t, 256> drawn_{};
  std::size_t left_ = 0;
};

}  // namespace weir::detail::daemon
