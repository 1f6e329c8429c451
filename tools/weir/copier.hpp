#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "copy_plan.hpp"
#include "failures.hpp"
#include "progress.hpp"
#include "weir/weir.hpp"

namespace weir::tools {

struct copy_options {
  bool verify = false;
  bool direct = false;
  bool drop_cache = false;
  unsigned lanes = 32;              ///< blocks in flight, of all files
  unsigned lanes_on_one_file = 32;  ///< and of one
};

/// Copies what a plan hands out: many files at once, and many blocks of a large one, on one thread.
///
/// The work is done in lanes, coroutines with a buffer each. A lane takes the next block of the
/// large file at hand or, if there is none, the next job. A file is written under a name of its own
/// beside its destination, and renamed when it is whole; whoever takes its last block does that.
class copier {
 public:
  copier(io_context& context, const copy_options& options, copy_plan& plan, progress& shown,
         failures& failed, const std::atomic<bool>& interrupted);
  ~copier();

  /// Drives the context until everything has been copied, or given up.
  void run();

  std::size_t files_copied() const noexcept { return files_copied_; }
  /// The destination is full: the rest was not tried.
  bool gave_up() const noexcept { return gave_up_; }

 private:
  struct file_copy;
  struct block;
  using shared_copy = std::shared_ptr<file_copy>;

  bool stopping() const noexcept { return gave_up_ || interrupted_; }
  void start_lanes();
  shared_copy large_with_room() const;
  task<> lane();
  task<> carry_out(const copy_job& job, buffer& memory);
  void copy_symlink(const copy_job& job);

  task<bool> open_both(file_copy& copy);
  task<bool> open_source(file_copy& copy);
  task<bool> open_partial(file_copy& copy);
  bool destination_acceptable(file_copy& copy);

  task<> copy_blocks(shared_copy copy, buffer& memory);
  task<> copy_block(file_copy& copy, const block& what, buffer& memory);
  task<result<std::size_t>> read_range(const file_copy& copy, const file& from,
                                       std::span<std::byte> memory, std::uint64_t offset);
  task<bool> write_block(file_copy& copy, std::uint64_t offset, std::size_t count, buffer& memory);

  task<> finish(file_copy& copy, buffer& memory);
  task<bool> complete(file_copy& copy);
  task<bool> drop_from_cache(file_copy& copy);
  bool put_in_place(file_copy& copy);
  static int rename_to(const copy_job& job, const std::string& partial);
  void remove_partial(const std::string& path);
  std::string next_partial(const std::string& destination);
  task<> verify(file_copy& copy, buffer& memory);
  void fail(file_copy& copy, const char* verb, const std::string& path, std::error_code error);

  io_context& context_;
  const copy_options options_;
  copy_plan& plan_;
  progress& progress_;
  failures& failed_;
  const std::atomic<bool>& interrupted_;
  const std::string partial_prefix_;  // of the names that files have while they are written

  std::vector<shared_copy> large_;  // files whose blocks lanes share, while they have any
  unsigned lanes_ = 0;
  std::vector<buffer> idle_buffers_;
  std::size_t partial_names_ = 0;
  std::size_t files_copied_ = 0;
  bool gave_up_ = false;
  bool direct_refusal_told_ = false;
};

}  // namespace weir::tools
