#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "weir/stream.hpp"

/// What readers and writers are built from.
namespace weir::detail {

/// Blocks begin and end at multiples of this: whole pages, and what O_DIRECT needs on any disk that
/// is common.
inline constexpr std::size_t page = 4096;

constexpr std::uint64_t page_start(std::uint64_t offset) noexcept { return offset & ~(page - 1); }
constexpr std::uint64_t page_end(std::uint64_t offset) noexcept {
  return page_start(offset + page - 1);
}

/// Memory for all blocks of a stream, aligned to a page, and not set: only bytes that were put in
/// are ever shown or written.
struct free_pages {
  void operator()(std::byte* memory) const noexcept {
    ::operator delete(memory, std::align_val_t{page});
  }
};
using pages = std::unique_ptr<std::byte, free_pages>;
inline pages allocate_pages(std::size_t size) {
  return pages(static_cast<std::byte*>(::operator new(size, std::align_val_t{page})));
}

/// For std::optional::emplace: a sender becomes its state where that will be, since a state cannot
/// be moved.
template <class Sender>
class state_of_sender {
 public:
  explicit state_of_sender(Sender&& sender) noexcept : sender_(std::move(sender)) {}
  operator typename Sender::state_type() && noexcept { return std::move(sender_).prepare(); }

 private:
  Sender sender_;
};

/// Lets whoever waits go on. The stream may be gone afterwards.
inline void wake(stream_window& stream) noexcept { std::exchange(stream.waiter, {})(); }

}  // namespace weir::detail
