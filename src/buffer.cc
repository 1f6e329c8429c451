#include "weir/buffer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "misuse.hpp"

namespace weir {
namespace {

void free_aligned(void*, std::byte* data, std::size_t) { std::free(data); }

// A plain deleter travels as the owner: one function and one pointer serve every kind of memory.
void call_deleter(void* owner, std::byte* data, std::size_t size) {
  reinterpret_cast<buffer::deleter>(owner)(data, size);
}

bool power_of_two(std::size_t n) noexcept { return n != 0 && (n & (n - 1)) == 0; }

}  // namespace

buffer::buffer(std::size_t size, std::size_t alignment) {
  auto made = allocate(size, alignment);
  if (!made) throw std::bad_alloc{};
  *this = std::move(*made);
}

result<buffer> buffer::allocate(std::size_t size, std::size_t alignment) noexcept {
  if (!power_of_two(alignment)) return std::unexpected(detail::errno_code(EINVAL));
  if (size == 0) return buffer{};
  void* memory = nullptr;
  // posix_memalign wants at least a pointer's alignment; more than was asked for does no harm.
  const auto at_least = alignment < sizeof(void*) ? sizeof(void*) : alignment;
  if (const int error = ::posix_memalign(&memory, at_least, size); error != 0) {
    return std::unexpected(detail::errno_code(error));
  }
  std::memset(memory, 0, size);
  return buffer{{static_cast<std::byte*>(memory), size}, &free_aligned, nullptr};
}

buffer buffer::adopt(std::span<std::byte> memory, deleter free_memory) noexcept {
  if (free_memory == nullptr) return {memory, nullptr, nullptr};
  return {memory, &call_deleter, reinterpret_cast<void*>(free_memory)};
}

buffer buffer::adopt(std::span<std::byte> memory, keeper give_back, void* owner) noexcept {
  return {memory, give_back, owner};
}

std::byte* buffer::release() noexcept {
  if (give_back_ != nullptr && give_back_ != &free_aligned && give_back_ != &call_deleter) {
    detail::misuse(
        "a buffer was released whose memory belongs to a pool, a handle or another owner; destroy "
        "it instead, and it goes back there");
  }
  std::byte* const memory = data_;
  forget();
  return memory;
}

buffer& buffer::operator=(buffer&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = other.data_;
    size_ = other.size_;
    capacity_ = other.capacity_;
    give_back_ = other.give_back_;
    owner_ = other.owner_;
    other.forget();
  }
  return *this;
}

void buffer::resize(std::size_t size) noexcept {
  if (size > capacity_) detail::misuse("a buffer was resized beyond its capacity; make a new one");
  size_ = size;
}

std::size_t buffer::copy_from(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  if (offset >= size_) return 0;
  const std::size_t count = std::min(bytes.size(), size_ - offset);
  if (count != 0) std::memmove(data_ + offset, bytes.data(), count);
  return count;
}

std::size_t buffer::copy_and_zero_rest(std::span<const std::byte> bytes,
                                       std::size_t offset) noexcept {
  const std::size_t count = copy_from(bytes, offset);
  zero(0, offset);
  zero(offset + count, size_);
  return count;
}

void buffer::zero(std::size_t offset, std::size_t count) noexcept {
  if (offset >= size_) return;
  std::memset(data_ + offset, 0, std::min(count, size_ - offset));
}

bool buffer::is_zero() const noexcept {
  return std::ranges::all_of(span(), [](std::byte b) { return b == std::byte{0}; });
}

result<buffer> buffer::clone() const noexcept {
  constexpr std::size_t page = 4096;
  if (capacity_ == 0) return buffer{};
  result<buffer> copy = allocate(capacity_, std::min(alignment(), page));
  if (!copy) return copy;
  copy->resize(size_);
  copy->copy_from(span());
  return copy;
}

std::size_t buffer::alignment() const noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(data_);
  return address & (~address + 1);
}

bool buffer::is_aligned(std::size_t block) const noexcept {
  return ((reinterpret_cast<std::uintptr_t>(data_) | size_) & (block - 1)) == 0;
}

void buffer::reset() noexcept {
  if (give_back_ != nullptr) give_back_(owner_, data_, capacity_);
  forget();
}

void buffer::forget() noexcept {
  data_ = nullptr;
  size_ = 0;
  capacity_ = 0;
  give_back_ = nullptr;
  owner_ = nullptr;
}

}  // namespace weir
