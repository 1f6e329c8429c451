#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "file_state.hpp"
#include "stream/blocks.hpp"
#include "transfer/waiting.hpp"
#include "weir/file.hpp"
#include "weir/task.hpp"

namespace weir::detail {

/// Reads at most `wanted` bytes at `offset`, by one read: those bytes, in `memory`, which is
/// aligned to a page; none at the end of the file. O_DIRECT wants whole pages; what of them was not
/// asked for is left out.
inline task<result<std::span<std::byte>>> read_piece(file& from, std::span<std::byte> memory,
                                                     std::uint64_t offset, std::uint64_t wanted,
                                                     const transfer_limits& limits) {
  const bool whole_pages = state_of(from)->direct;
  const std::uint64_t begin = whole_pages ? page_start(offset) : offset;
  const auto skipped = static_cast<std::size_t>(offset - begin);
  const auto length =
      static_cast<std::size_t>(std::min<std::uint64_t>(wanted, memory.size() - skipped));
  const std::size_t asked = whole_pages ? page_end(skipped + length) : length;
  const io_sender read = from.read_at(memory.first(asked), begin);
  const result<std::size_t> got = co_await awaited_within(limits, read);
  if (!got) co_return std::unexpected(got.error());
  if (*got <= skipped) co_return std::span<std::byte>{};
  co_return memory.subspan(skipped, std::min(*got - skipped, length));
}

}  // namespace weir::detail
