#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/fail.hpp"

namespace weir::bench {

enum class work_kind {
  read,
  write,
  mixed,    ///< one of the two, as it comes
  durable,  ///< a write, then fdatasync(2)
};

/// What every contestant does: transfers of one size, so many in flight, at the same places.
struct workload {
  std::vector<int> files;  ///< borrowed
  std::size_t block = 4096;
  std::size_t span = 1 << 20;  ///< of each file: how much of it is used
  unsigned depth = 32;
  work_kind kind = work_kind::read;
  bool sequential = false;
};

struct place {
  unsigned file;
  std::uint64_t offset;
  bool write;
};

/// Where a workload's transfers go, one after the other. Cheap, and the same for everybody. Files
/// are taken in turn.
class places {
 public:
  /// `seed`: so that several need not go the same way.
  explicit places(const workload& work, std::uint64_t seed = 0) noexcept
      : state_(0x9e3779b97f4a7c15 + seed * 0x2545f4914f6cdd1d),
        files_(static_cast<unsigned>(work.files.size())),
        block_(work.block),
        blocks_(work.span / work.block),
        kind_(work.kind),
        sequential_(work.sequential) {}

  place next() noexcept {
    const unsigned file = file_;
    file_ = file + 1 == files_ ? 0 : file + 1;
    if (sequential_) {
      const std::uint64_t block = round_ % blocks_;
      if (file_ == 0) ++round_;
      return {.file = file, .offset = block * block_, .write = writes(0)};
    }
    // xorshift64: all that is asked of it is that no cache foresees it.
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return {.file = file, .offset = (state_ >> 16) % blocks_ * block_, .write = writes(state_)};
  }

 private:
  bool writes(std::uint64_t random) const noexcept {
    if (kind_ == work_kind::mixed) return (random & 1) != 0;
    return kind_ != work_kind::read;
  }

  std::uint64_t state_;
  std::uint64_t round_ = 0;
  unsigned file_ = 0;
  unsigned files_;
  std::size_t block_;
  std::uint64_t blocks_;
  work_kind kind_;
  bool sequential_;
};

/// A block of memory for each operation in flight: page-aligned, and there from the start.
class blocks {
 public:
  explicit blocks(const workload& work) : block_(work.block), size_(work.block * work.depth) {
    void* const mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mapped == MAP_FAILED) fail("mmap");
    memory_ = static_cast<std::byte*>(mapped);
  }
  blocks(const blocks&) = delete;
  blocks& operator=(const blocks&) = delete;
  ~blocks() { ::munmap(memory_, size_); }

  std::byte* operator[](std::size_t slot) const noexcept { return memory_ + slot * block_; }
  std::size_t size() const noexcept { return size_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t block_;
  std::size_t size_;
};

/// The slots that are not in flight, taken in the order in which they came free: the coroutines'
/// and the loops' buffers take turns, too, and whoever took the hottest buffer first would copy
/// faster.
class free_slots {
 public:
  explicit free_slots(unsigned count) : slots_(count), count_(count) {
    for (unsigned slot = 0; slot < count; ++slot) slots_[slot] = slot;
  }

  bool empty() const noexcept { return count_ == 0; }
  unsigned take() noexcept {
    const unsigned slot = slots_[first_];
    first_ = first_ + 1 == slots_.size() ? 0 : first_ + 1;
    --count_;
    return slot;
  }
  void give_back(unsigned slot) noexcept {
    const std::size_t end = first_ + count_++;
    slots_[end < slots_.size() ? end : end - slots_.size()] = slot;
  }

 private:
  std::vector<unsigned> slots_;
  std::size_t first_ = 0;
  std::size_t count_;
};

}  // namespace weir::bench
