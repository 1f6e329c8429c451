#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "durability/real/ledger.hpp"
#include "durability/real/recording.hpp"

namespace weir::real_disks {

/// What a disk of today writes whole, or not at all; and what the oldest do.
inline constexpr std::uint64_t block_size = 4096;
inline constexpr std::uint64_t sector_size = 512;

/// Which of the writes that no flush has reached are found after a cut.
enum class remainder : std::uint8_t {
  none,
  all,
  some,      ///< each whole, or not at all
  torn,      ///< each block by itself
  shredded,  ///< each sector by itself
};

/// The power fails when the log has `position` entries. All before `stable` is on the disk, since
/// the entry before that is a flush; of what lies between, what `rest` and `seed` say.
struct cut {
  std::uint64_t stable;
  std::uint64_t position;
  remainder rest;
  std::uint64_t seed;

  bool is_at_flush() const noexcept { return stable == position; }
};

std::string described(const cut& which);

/// So many cuts, in the order of the log: half of them at flushes, of which none is taken twice;
/// then behind promises, with nothing left that was not flushed; the others anywhere.
std::vector<cut> choose_cuts(const disk_history& history, const ledger& told, std::size_t most,
                             std::uint64_t seed);

/// Contents of a disk that every trial begins with, and a second copy to work on: a disk of zeros
/// behind which there is this history.
struct prepared_contents {
  prepared_contents(std::size_t disk_size, const disk_history& made);

  mapped_memory base;
  mapped_memory stable;
};

/// What the disk holds at one cut after the other, which must come in the order of the log. Takes
/// as long as the log is, however large the disk.
class cut_disk {
 public:
  /// `disk` is where the contents are to be: it has `history` behind it now.
  cut_disk(const disk_history& history, prepared_contents& contents, std::span<std::byte> disk);
  cut_disk(const cut_disk&) = delete;
  cut_disk& operator=(const cut_disk&) = delete;
  /// Disk and contents are as they were before the log began.
  ~cut_disk();

  void go_to(const cut& which);
  /// Somebody has written to the disk.
  void was_written(const disk_history& since);

 private:
  void put(std::uint64_t offset, std::span<const std::byte> bytes);
  void put_remainder(const cut& which);
  void restore(const log_entry& place, const mapped_memory& from);

  const disk_history& history_;
  prepared_contents& contents_;
  std::span<std::byte> disk_;
  std::uint64_t stable_ = 0;
  std::vector<log_entry> dirty_;  // places where the disk may differ from what is stable
};

}  // namespace weir::real_disks
