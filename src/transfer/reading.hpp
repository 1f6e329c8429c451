#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "file_state.hpp"
#include "stream/blocks.hpp"
#include "weir/file.hpp"

namespace weir::detail {

/// One read of a part of a file into memory that is aligned to a page. O_DIRECT wants whole pages;
/// what of them was not asked for is left out.
class piece_read {
 public:
  piece_read(const file& from, std::span<std::byte> memory, std::uint64_t offset,
             std::uint64_t wanted) noexcept
      : memory_(memory), begin_(offset) {
    const bool whole_pages = state_of(from)->direct;
    if (whole_pages) begin_ = page_start(offset);
    skipped_ = static_cast<std::size_t>(offset - begin_);
    wanted_ = static_cast<std::size_t>(std::min<std::uint64_t>(wanted, memory.size() - skipped_));
    asked_ = whole_pages ? page_end(skipped_ + wanted_) : wanted_;
  }

  io_sender on(file& from) const noexcept { return from.read_at(memory_.first(asked_), begin_); }

  /// What was asked for, of what was read; nothing at the end of the file.
  std::span<std::byte> of(std::size_t count) const noexcept {
    if (count <= skipped_) return {};
    return memory_.subspan(skipped_, std::min(count - skipped_, wanted_));
  }

 private:
  std::span<std::byte> memory_;
  std::uint64_t begin_;
  std::size_t skipped_;
  std::size_t wanted_;
  std::size_t asked_;
};

}  // namespace weir::detail
