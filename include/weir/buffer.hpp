#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "weir/result.hpp"

namespace weir {

/// Owns one aligned block of memory; movable, not copyable. What O_DIRECT and registered transfers
/// need, and what travels through an operation: a moved-in buffer comes back with the result.
/// A new buffer is filled with zeros, so that memory of somebody else never reaches a disk.
/// A moved-from buffer is empty: size 0, data null.
class buffer {
 public:
  /// Frees adopted memory: gets what was adopted. Must not throw.
  using deleter = void (*)(std::byte* data, std::size_t size);

  /// Empty.
  buffer() noexcept = default;
  /// `size` zeroed bytes at a multiple of `alignment`, a power of two. Throws std::bad_alloc where
  /// there is no memory, or `alignment` is no power of two.
  explicit buffer(std::size_t size, std::size_t alignment = 4096);
  /// The same without exceptions: ENOMEM or EINVAL.
  static result<buffer> allocate(std::size_t size, std::size_t alignment = 4096) noexcept;

  /// Takes over foreign memory; `free_memory` (may be null: nobody frees it) runs with the buffer's
  /// destruction, on whatever thread that is.
  static buffer adopt(std::span<std::byte> memory, deleter free_memory) noexcept;
  /// Gives the memory up: whoever calls owns it and frees it, with free(3) unless it was adopted.
  std::byte* release() noexcept;

  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;
  buffer(buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        free_(std::exchange(other.free_, nullptr)) {}
  buffer& operator=(buffer&& other) noexcept;
  ~buffer() { reset(); }

  std::byte* data() noexcept { return data_; }
  const std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  std::span<std::byte> span() noexcept { return {data_, size_}; }
  std::span<const std::byte> span() const noexcept { return {data_, size_}; }
  /// The first `count` bytes, or all if there are fewer.
  std::span<std::byte> first(std::size_t count) noexcept {
    return span().first(count < size_ ? count : size_);
  }
  std::span<const std::byte> first(std::size_t count) const noexcept {
    return span().first(count < size_ ? count : size_);
  }

  /// The largest power of two that the address is a multiple of; 0 for an empty buffer.
  std::size_t alignment() const noexcept;

 private:
  buffer(std::byte* data, std::size_t size, deleter free_memory) noexcept
      : data_(data), size_(size), free_(free_memory) {}
  void reset() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  deleter free_ = nullptr;
};

/// What a transfer with a travelling buffer yields: its answer, and the buffer, always.
struct buffer_result {
  result<std::size_t> transferred;
  buffer data;
};

}  // namespace weir
