#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "campaign/trial.hpp"
#include "support/support.hpp"

namespace weir::campaign {

/// What goes on while a fault strikes: reads, writes, syncs, directories, files opened and closed,
/// polls and pauses, `depth` at a time, in an order that the seed gives. It knows what each block
/// of its file must hold, and looks at each that is read.
class workload {
 public:
  static constexpr std::size_t block_size = 4096;

  struct options {
    std::string path;          ///< a file that there is not yet, or a block device
    std::size_t blocks = 512;  ///< of the file; never written ones hold zeros
    unsigned depth = 16;
    bool direct = false;      ///< O_DIRECT, where the file system has it
    bool opens_files = true;  ///< also opens and closes the file, besides
    bool writes = true;
  };

  workload(trial& now, io_context& context, const options& wanted);
  workload(const workload&) = delete;
  workload& operator=(const workload&) = delete;
  ~workload();

  /// Starts as many at once as its depth, and the next as one ends, `operations` in all.
  void begin(std::size_t operations);
  bool is_done() const noexcept { return left_ == 0 && running_ == 0; }
  /// The two, driven to the end on this thread.
  void run(std::size_t operations);

  /// Operations of the last `begin` that have not been started.
  std::size_t left() const noexcept { return left_; }

  /// From now on only what was written before a successful sync must be there: a file system that
  /// gives up drops from the page cache what it could not write back.
  void cache_may_be_lost() noexcept { only_synced_ = true; }

  /// Looks at the whole file, past weir: what was written and acknowledged is there.
  void verify() { verify(blocks_.size()); }
  /// The same of its first blocks.
  void verify(std::size_t count);

  /// The memory of all its transfers, at a multiple of its block size.
  std::span<std::byte> memory() noexcept { return memory_; }

 private:
  enum class kind : std::uint8_t { read, write, sync, list, open, poll, pause };

  /// What is known of a block.
  struct block {
    unsigned version = 0;            ///< of the pattern that it holds; 0 for zeros
    bool known = true;               ///< false from a failed write until the next that succeeds
    bool in_use = false;             ///< by an operation
    std::uint64_t acknowledged = 0;  ///< when that was
  };

  /// One of `depth` operations in flight, again and again.
  struct slot {
    slot(trial& now, std::function<void(tracked&)> then) : op(now, std::move(then)) {}
    tracked op;
    kind does = kind::read;
    std::size_t at = 0;    // its block
    unsigned version = 0;  // written there
    std::uint64_t begun = 0;
    std::span<std::byte> memory;
  };

  void start_next(slot& in);
  kind choose_kind();
  std::size_t choose_block();
  request prepare(slot& in);
  request prepare_read(slot& in);
  request prepare_write(slot& in);
  void ended(slot& in);
  void close_opened(slot& in);
  void judge(const slot& in);
  void judge_read(const slot& in);
  void judge_write(const slot& in);
  bool is_certain(const block& one) const noexcept;
  bool holds(std::size_t at, std::span<const std::byte> found) const;

  trial& trial_;
  io_context& context_;
  const options options_;
  std::mt19937_64 random_;
  testing::descriptor file_;
  testing::descriptor directory_;
  testing::pipe_ends ready_;  // there is always a byte in it
  std::vector<block> blocks_;
  std::vector<std::byte> storage_;
  std::span<std::byte> memory_;
  std::vector<std::unique_ptr<slot>> slots_;
  std::size_t left_ = 0;     // to be started
  std::size_t running_ = 0;  // started, not ended
  unsigned writes_ = 0;
  std::uint64_t now_ = 0;     // counts what is begun, for the order of events
  std::uint64_t synced_ = 0;  // what was acknowledged until then is on the disk
  bool only_synced_ = false;
};

}  // namespace weir::campaign
