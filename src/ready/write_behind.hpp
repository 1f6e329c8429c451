#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

#include "slot_operation.hpp"
#include "weir/buffer.hpp"

namespace weir::detail {

/// The writing half of a handle: its position, and blocks of what was accepted, in order: some on
/// their way, some that wait for that, at the end perhaps one that is not full yet. Under the
/// slot's lock.
///
/// With O_DIRECT what begins or ends within a page is written by itself, through the page cache,
/// with O_DIRECT taken off the open file meanwhile (fcntl(2)): so the bytes beside it are kept, and
/// the file is never longer than its data.
class write_behind {
 public:
  struct block : slot_operation {
    using slot_operation::slot_operation;

    enum class state : std::uint8_t { filling, sealed, in_flight, over };
    state now = state::filling;
    bool through_cache = false;  // O_DIRECT is off for this piece of it
    std::uint64_t number = 0;    // in the order of acceptance
    std::uint64_t offset = 0;    // in the file
    std::size_t head = 0;        // where in the memory it begins: with O_DIRECT as in the page
    std::size_t filled = 0;
    std::size_t written = 0;
    buffer memory;

    bool overlaps(std::uint64_t from, std::uint64_t length) const noexcept {
      return from < offset + filled && offset < from + length;
    }
  };

  /// Throws std::bad_alloc.
  write_behind(ready_slot& slot, operation::completion written);

  void begin(const ready_target& file, std::size_t bound, std::size_t block_size) noexcept;
  /// Frees what is held. Nothing is in flight.
  void end() noexcept;

  void seek(std::uint64_t position) noexcept;
  /// Takes as much as there is room for; a count, or a negative errno, -EAGAIN for no room.
  std::int64_t accept(std::span<const std::byte> bytes) noexcept;
  bool has_room() const noexcept;
  /// Room enough to be told of.
  bool has_much_room() const noexcept;

  /// What is not full yet is to be written, too; starts what may be started.
  void flush() noexcept;
  /// A block's operation has completed.
  void finished(block& which) noexcept;

  /// The number of the last block that there was; and whether all up to one are over.
  std::uint64_t last_number() const noexcept { return next_number_ - 1; }
  bool over_up_to(std::uint64_t number) const noexcept;
  bool over() const noexcept { return blocks_.empty(); }
  /// Something lies there that nothing but a flush would write.
  bool filling() const noexcept;
  /// Something accepted for that place is not written yet.
  bool overlaps(std::uint64_t from, std::uint64_t length) const noexcept;

  /// The first in the order of acceptance, and it stays.
  std::error_code error() const noexcept { return error_; }
  void fail(std::error_code why) noexcept;

 private:
  block* room() noexcept;
  std::unique_ptr<block> new_block() noexcept;
  void start_what_may() noexcept;
  bool may_start(const block& which) const noexcept;
  bool needs_cache(const block& which) const noexcept;
  void start(block& which) noexcept;
  void set_direct(bool on) const noexcept;
  void fail_at(std::uint64_t number, std::error_code why) noexcept;
  void drop(block& which) noexcept;
  void let_go() noexcept;

  ready_slot* const slot_;
  const operation::completion written_;
  ready_target file_;
  std::size_t bound_ = 0;
  std::size_t block_size_ = 0;
  std::uint64_t position_ = 0;
  std::deque<std::unique_ptr<block>> blocks_;
  std::vector<std::unique_ptr<block>> spare_;
  std::size_t behind_ = 0;  // accepted and not over
  std::uint64_t next_number_ = 1;
  unsigned in_flight_ = 0;
  bool alone_ = false;  // what is in flight goes through the cache
  std::error_code error_;
  std::uint64_t failed_ = 0;  // the number of the block that `error_` is of
};

}  // namespace weir::detail
