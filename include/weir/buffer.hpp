#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "weir/result.hpp"

namespace weir {
namespace detail {

template <class Handle>
concept contiguous_memory = requires(Handle& memory) {
  requires std::is_trivially_copyable_v<std::remove_pointer_t<decltype(memory.data())>>;
  { std::span(memory.data(), memory.size()) };
};

template <class Handle>
concept pointer_to_memory =
    !contiguous_memory<Handle> && !std::is_pointer_v<Handle> && requires(Handle& pointer) {
      static_cast<bool>(pointer);
      requires contiguous_memory<std::remove_reference_t<decltype(*pointer)>>;
    };

/// The bytes that a handle stands for; none for a null pointer.
template <class Handle>
auto memory_of(Handle& handle) noexcept {
  if constexpr (contiguous_memory<Handle>) {
    const std::span memory(handle.data(), handle.size());
    if constexpr (std::is_const_v<typename decltype(memory)::element_type>) {
      return std::as_bytes(memory);
    } else {
      return std::as_writable_bytes(memory);
    }
  } else {
    using bytes = decltype(memory_of(*handle));
    return static_cast<bool>(handle) ? memory_of(*handle) : bytes{};
  }
}

}  // namespace detail

/// What owns memory and can travel through an operation: has `data()` and `size()`, or points to
/// what does (a smart pointer, an optional). Moved, never copied, and moving must not throw; its
/// memory may move with it (std::array, a short std::string). Views are not handles: they own
/// nothing, and are borrowed.
template <class Handle>
concept memory_handle =
    std::is_object_v<Handle> && !std::is_const_v<Handle> &&
    std::is_nothrow_move_constructible_v<Handle> && !std::ranges::enable_borrowed_range<Handle> &&
    (detail::contiguous_memory<Handle> || detail::pointer_to_memory<Handle>);

/// One whose memory may be written to, so that a read can fill it.
template <class Handle>
concept writable_memory_handle = memory_handle<Handle> && requires(Handle& handle) {
  { detail::memory_of(handle) } -> std::same_as<std::span<std::byte>>;
};

/// A vector of bytes, or what is like one.
template <class Vector>
concept byte_vector = writable_memory_handle<Vector> && requires(Vector& bytes, std::size_t n) {
  requires sizeof(typename Vector::value_type) == 1;
  { bytes.capacity() } -> std::convertible_to<std::size_t>;
  bytes.resize(n);
};

/// Owns one aligned block of memory; movable, not copyable. What O_DIRECT and registered transfers
/// need, and what travels through an operation: a moved-in buffer comes back with the result.
/// A new buffer is filled with zeros, so that memory of somebody else never reaches a disk.
/// A moved-from buffer is empty: size 0, data null.
class buffer {
 public:
  /// Frees adopted memory: gets what was adopted. Must not throw.
  using deleter = void (*)(std::byte* data, std::size_t size);
  /// The same for memory that belongs to something, which it gets first.
  using keeper = void (*)(void* owner, std::byte* data, std::size_t size);

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
  /// The same for memory that goes back to `owner`. Such a buffer cannot be released.
  static buffer adopt(std::span<std::byte> memory, keeper give_back, void* owner) noexcept;
  /// Gives the memory up: whoever calls owns it and frees it, with free(3) unless it was adopted.
  /// Aborts where the memory has an owner to go back to: a pool, or a handle.
  std::byte* release() noexcept;

  /// Takes over a handle with its memory, nothing copied; the handle is destroyed with the buffer.
  /// A vector's spare capacity becomes the buffer's. One small allocation; throws std::bad_alloc,
  /// and has not moved the handle then. Where the type may stay, `file::read_at` takes any handle
  /// itself, without allocating.
  template <class Handle>
    requires writable_memory_handle<Handle>
  static buffer from(Handle&& handle);
  /// A vector of these bytes, `size()` long; the buffer is empty afterwards. What came from such a
  /// vector goes back into it, nothing copied, with its capacity; anything else is copied. Throws
  /// std::bad_alloc.
  template <byte_vector Vector>
  Vector to() &&;

  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;
  buffer(buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)),
        give_back_(std::exchange(other.give_back_, nullptr)),
        owner_(std::exchange(other.owner_, nullptr)) {}
  buffer& operator=(buffer&& other) noexcept;
  ~buffer() { reset(); }

  std::byte* data() noexcept { return data_; }
  const std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  /// How large it was made: `resize` can go up to here.
  std::size_t capacity() const noexcept { return capacity_; }
  /// Makes it `size` bytes long, of the same memory: what a transfer moves then. The bytes stay as
  /// they are, those beyond the end too. More than the capacity aborts.
  void resize(std::size_t size) noexcept;

  std::span<std::byte> span() noexcept { return {data_, size_}; }
  std::span<const std::byte> span() const noexcept { return {data_, size_}; }
  /// The first `count` bytes, or all if there are fewer.
  std::span<std::byte> first(std::size_t count) noexcept {
    return span().first(count < size_ ? count : size_);
  }
  std::span<const std::byte> first(std::size_t count) const noexcept {
    return span().first(count < size_ ? count : size_);
  }

  /// Copies `bytes` to `offset`, as far as they fit; returns how many did.
  std::size_t copy_from(std::span<const std::byte> bytes, std::size_t offset = 0) noexcept;
  /// The same, and zeroes all that is before and after.
  std::size_t copy_and_zero_rest(std::span<const std::byte> bytes, std::size_t offset = 0) noexcept;
  /// Zeroes `count` bytes from `offset` on, as far as there are any.
  void zero(std::size_t offset, std::size_t count) noexcept;
  void zero() noexcept { zero(0, size_); }
  bool is_zero() const noexcept;

  /// A copy in memory of its own, of the same size and capacity, aligned as this (to a page at
  /// most): ENOMEM.
  result<buffer> clone() const noexcept;

  /// The largest power of two that the address is a multiple of; 0 for an empty buffer.
  std::size_t alignment() const noexcept;
  /// Whether address and size are multiples of `block`, a power of two, as O_DIRECT wants it.
  bool is_aligned(std::size_t block = 512) const noexcept;

 private:
  template <class Handle>
  static void destroy_handle(void* handle, std::byte*, std::size_t) noexcept {
    delete static_cast<Handle*>(handle);
  }

  buffer(std::span<std::byte> memory, keeper give_back, void* owner) noexcept
      : data_(memory.data()),
        size_(memory.size()),
        capacity_(memory.size()),
        give_back_(give_back),
        owner_(owner) {}
  void reset() noexcept;
  void forget() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  keeper give_back_ = nullptr;
  void* owner_ = nullptr;
};

template <class Handle>
  requires writable_memory_handle<Handle>
buffer buffer::from(Handle&& handle) {
  auto* owner = new Handle(std::forward<Handle>(handle));
  const std::size_t used = detail::memory_of(*owner).size();
  // Meanwhile a vector is as long as its capacity, so that all of its memory is live, and set.
  if constexpr (byte_vector<Handle>) owner->resize(owner->capacity());
  buffer made(detail::memory_of(*owner), &destroy_handle<Handle>, owner);
  made.size_ = used;
  return made;
}

template <byte_vector Vector>
Vector buffer::to() && {
  if (give_back_ != &destroy_handle<Vector>) {
    const auto* first = reinterpret_cast<const typename Vector::value_type*>(data_);
    Vector copy(first, first + size_);
    reset();
    return copy;
  }
  auto& owner = *static_cast<Vector*>(owner_);
  owner.resize(size_);
  Vector bytes = std::move(owner);
  reset();
  return bytes;
}

/// What a transfer with a travelling handle yields: its answer, and the handle, always.
template <class Handle>
struct handle_result {
  result<std::size_t> transferred;
  Handle data;
};

using buffer_result = handle_result<buffer>;

}  // namespace weir
