#include "weir/buffer.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace weir {
namespace {

void free_aligned(std::byte* data, std::size_t) { std::free(data); }

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
  return buffer{static_cast<std::byte*>(memory), size, &free_aligned};
}

buffer buffer::adopt(std::span<std::byte> memory, deleter free_memory) noexcept {
  return {memory.data(), memory.size(), free_memory};
}

std::byte* buffer::release() noexcept {
  size_ = 0;
  free_ = nullptr;
  return std::exchange(data_, nullptr);
}

buffer& buffer::operator=(buffer&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    free_ = std::exchange(other.free_, nullptr);
  }
  return *this;
}

std::size_t buffer::alignment() const noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(data_);
  return address & (~address + 1);
}

void buffer::reset() noexcept {
  if (free_ != nullptr) free_(data_, size_);
  data_ = nullptr;
  size_ = 0;
  free_ = nullptr;
}

}  // namespace weir
