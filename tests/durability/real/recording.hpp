#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

/// A disk in memory that two processes share: one serves it and logs what is written to it, the
/// other reads the log, cuts it, and puts other contents in its place.
namespace weir::real_disks {

/// What the disk was told: bytes for a place, or to flush.
struct log_entry {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  ///< 0: a flush
  std::uint64_t at = 0;      ///< where in the log's bytes

  bool is_flush() const noexcept { return length == 0; }
};

/// A log that stays, while the disk goes on.
struct disk_history {
  std::vector<log_entry> entries;
  std::vector<std::byte> bytes;

  std::span<const std::byte> bytes_of(const log_entry& written) const {
    return std::span(bytes).subspan(written.at, written.length);
  }
};

/// Memory of nobody's file, all zeros, which takes only as much as is touched, and which children
/// by fork(2) share if so said. Throws std::bad_alloc.
class mapped_memory {
 public:
  mapped_memory(std::size_t size, bool shared);
  mapped_memory(const mapped_memory&) = delete;
  mapped_memory& operator=(const mapped_memory&) = delete;
  ~mapped_memory();

  std::span<std::byte> span() const noexcept { return {data_, size_}; }
  /// All zeros again, and no memory taken; of what is shared.
  void clear() noexcept;

 private:
  std::byte* data_;
  std::size_t size_;
};

/// Made before the process forks that serves the disk.
class recording {
 public:
  explicit recording(std::size_t disk_size);

  /// What is on the disk now. For this process while nothing is mounted from it.
  std::span<std::byte> disk() const noexcept { return disk_.span(); }

  // For the process that serves the disk. False, and nothing is changed, where the log is full.
  bool write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept;
  bool flush() noexcept;

  // For the other.
  /// The disk is all zeros.
  void clear_disk() noexcept { disk_.clear(); }
  /// Forgets the log, and logs from now on.
  void start() noexcept;
  void stop() noexcept;
  /// How many entries the log has. What was answered before this is asked is among them.
  std::uint64_t position() const noexcept;
  /// Whether something could not be logged; the disk has answered with an error then.
  bool is_full() const noexcept;
  disk_history history() const;

 private:
  struct state {
    std::atomic<std::uint64_t> entries;
    std::atomic<std::uint64_t> bytes;
    std::atomic<bool> records;
    std::atomic<bool> full;
  };

  bool append(const log_entry& what) noexcept;
  state& shared() const noexcept;
  std::span<log_entry> entries() const noexcept;

  mapped_memory disk_;
  mapped_memory entries_;
  mapped_memory bytes_;
  mapped_memory state_;
};

}  // namespace weir::real_disks
