#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "record.hpp"
#include <weir/weir.hpp>

/// A write-ahead log: what a storage engine writes first, so that nothing that it has acknowledged
/// is lost. Small enough to be read at a sitting; right, as crash_test.cc shows.
namespace append_log {

/// What is easily left out, and what no test on a running machine misses. Leave them on; the crash
/// test turns off one at a time, to show that it finds that.
struct precautions {
  /// A segment's name is durable before a record in it is acknowledged. fsync(2) of a file says
  /// nothing about the entry in its directory.
  bool sync_directory = true;
  /// A record is believed only with its checksum. Of a write that the power failure has cut off any
  /// part may be there, the header without the bytes, too.
  bool check_sums = true;
};

struct log_options {
  std::uint64_t segment_size = std::uint64_t{64} << 20;  ///< bytes; a longer group has its own
  precautions take = {};
};

/// Appends to the last of the segments in a directory, each named after the first record in it.
/// Belongs to its context's thread, and outlives its appends.
class log {
 public:
  using replay = std::function<void(const record&)>;

  /// Opens the log in a directory that is there, and first hands every record to `each`, in order:
  /// those that were acknowledged, and maybe some that were under way. They are durable when this
  /// ends. Errors: EBADMSG where a record in the middle is damaged or missing; those of the system
  /// calls.
  static weir::task<weir::result<std::unique_ptr<log>>> open(weir::io_context& context,
                                                             std::string directory,
                                                             const replay& each,
                                                             log_options options = {});

  /// Appends a record, and yields its number when it is durable, with all before it. Any number at
  /// once: while a group of records is being written, the next one gathers, and is written at once.
  /// Borrows `bytes` until it ends. After an error every append yields the same: whether the last
  /// records are there only opening the log anew can tell.
  weir::task<weir::result<std::uint64_t>> append(std::span<const std::byte> bytes);

  /// When no append is under way.
  weir::task<weir::result<void>> close();

  /// How many groups have been written.
  std::uint64_t groups() const noexcept { return groups_; }

 private:
  log(weir::io_context& context, std::string directory, log_options options) noexcept
      : context_(context), directory_(std::move(directory)), options_(options) {}

  weir::task<weir::result<void>> recover(const replay& each);
  weir::task<weir::result<void>> recover_segment(const std::string& path, bool last,
                                                 const replay& each);
  std::size_t replay_segment(std::span<const std::byte> segment, const replay& each);
  weir::task<weir::result<void>> settle(weir::file segment, std::uint64_t end, bool torn);

  auto next_group() noexcept;
  weir::task<void> write_group();
  weir::task<weir::result<void>> write(std::span<const std::byte> group, std::uint64_t first);
  weir::task<weir::result<void>> begin_segment(std::uint64_t first);

  weir::io_context& context_;
  std::string directory_;
  log_options options_;
  weir::file segment_;          // the last
  std::uint64_t end_ = 0;       // of it
  std::uint64_t appended_ = 0;  // number of the last record: that was gathered,
  std::uint64_t durable_ = 0;   // that is durable
  std::vector<std::byte> gathered_;
  bool writing_ = false;
  std::vector<std::coroutine_handle<>> waiting_;  // for the group that is being written
  std::error_code failed_;
  std::uint64_t groups_ = 0;
};

}  // namespace append_log
