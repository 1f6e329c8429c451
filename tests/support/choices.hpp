#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::testing {

/// Bytes, from a fuzzer or from a random number generator, read as decisions. When they are used
/// up, every decision is the first of its kind.
class choices {
 public:
  explicit choices(std::span<const std::uint8_t> bytes) noexcept : left_(bytes) {}

  bool used_up() const noexcept { return left_.empty(); }

  std::uint8_t byte() noexcept {
    if (left_.empty()) return 0;
    const std::uint8_t next = left_.front();
    left_ = left_.subspan(1);
    return next;
  }
  /// Of so many bytes at most, the lowest first.
  std::uint64_t number(unsigned size) noexcept {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size && !used_up(); ++i) value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }
  /// Less than `limit`, which is not 0.
  std::size_t below(std::size_t limit) noexcept { return number(limit <= 256 ? 1 : 4) % limit; }
  bool one_in(std::size_t n) noexcept { return below(n) == n - 1; }
  template <class Range>
  const auto& one_of(const Range& all) noexcept {
    return all[below(std::size(all))];
  }

  /// A byte says how long it is.
  std::string_view text(std::size_t most = 255) noexcept {
    return bytes(std::min<std::size_t>(byte(), most));
  }
  /// So many, or what is left.
  std::string_view bytes(std::size_t length) noexcept {
    const auto taken = left_.first(std::min(length, left_.size()));
    left_ = left_.subspan(taken.size());
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  std::string_view rest() noexcept { return bytes(left_.size()); }

 private:
  std::span<const std::uint8_t> left_;
};

}  // namespace weir::testing
