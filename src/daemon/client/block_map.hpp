#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace weir::detail::daemon {

/// Which blocks of a piece of memory are in use. It has no memory of its own to hand out: places
/// are numbers of bytes from the beginning. Next fit, so that what was given back last rests.
class block_map {
 public:
  static constexpr std::size_t block = 4096;

  /// `size` is rounded down to whole blocks.
  explicit block_map(std::size_t size) : used_(size / block) {}

  /// A run of blocks that holds `size` bytes, not 0; nothing where there is none.
  std::optional<std::uint64_t> take(std::size_t size) noexcept;

  /// Takes back what `take` gave for `size` bytes.
  void give_back(std::uint64_t place, std::size_t size) noexcept;

  std::size_t blocks_in_use() const noexcept { return in_use_; }

 private:
  static std::size_t blocks_of(std::size_t size) noexcept { return (size + block - 1) / block; }
  std::optional<std::size_t> find(std::size_t count, std::size_t first,
                                  std::size_t last) const noexcept;
  void mark(std::size_t first, std::size_t count, bool used) noexcept;

  std::vector<bool> used_;
  std::size_t in_use_ = 0;
  std::size_t next_ = 0;  // where the search goes on
};

}  // namespace weir::detail::daemon
