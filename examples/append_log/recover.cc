// The other half of log.cc: what is there after a crash.
#include <algorithm>
#include <utility>

#include "log.hpp"
#include "segment_name.hpp"

namespace append_log {

using weir::result;
using weir::task;

namespace {

std::unexpected<std::error_code> damaged() {
  return std::unexpected(std::make_error_code(std::errc::bad_message));
}

task<result<std::vector<std::byte>>> contents_of(weir::file& segment) {
  const result<weir::file_status> status = co_await segment.stat();
  if (!status) co_return std::unexpected(status.error());
  std::vector<std::byte> contents(status->size);
  const weir::transfer_result read = co_await segment.read_exactly_at(contents, 0);
  if (!read) co_return std::unexpected(read.error());
  co_return contents;
}

}  // namespace

task<result<std::unique_ptr<log>>> log::open(weir::io_context& context, std::string directory,
                                             const replay& each, log_options options) {
  // NOLINTNEXTLINE(modernize-make-unique): the constructor is for this alone
  std::unique_ptr<log> opened(new log(context, std::move(directory), options));
  const result<void> recovered = co_await opened->recover(each);
  if (!recovered) co_return std::unexpected(recovered.error());
  co_return opened;
}

task<result<void>> log::recover(const replay& each) {
  auto entries = co_await weir::list_directory(context_, directory_);
  if (!entries) co_return std::unexpected(entries.error());
  std::erase_if(*entries,
                [](const weir::directory_entry& entry) { return !first_record_of(entry.name); });
  std::ranges::sort(*entries, {}, &weir::directory_entry::name);
  for (const weir::directory_entry& entry : *entries) {
    const bool first = &entry == &entries->front();
    if (first) appended_ = *first_record_of(entry.name) - 1;
    // A segment begins where the one before it ends: it was made when that was complete.
    if (*first_record_of(entry.name) != appended_ + 1) co_return damaged();
    const result<void> done =
        co_await recover_segment(directory_ + '/' + entry.name, &entry == &entries->back(), each);
    if (!done) co_return done;
  }
  durable_ = appended_;
  // Whoever was here before may have been killed between making a segment and this.
  if (!options_.take.sync_directory) co_return result<void>{};
  co_return co_await weir::sync_directory(context_, directory_);
}

task<result<void>> log::recover_segment(const std::string& path, bool last, const replay& each) {
  result<weir::file> segment = co_await weir::open(context_, path, {.write = last});
  if (!segment) co_return std::unexpected(segment.error());
  const result<std::vector<std::byte>> contents = co_await contents_of(*segment);
  if (!contents) co_return std::unexpected(contents.error());
  const std::size_t whole = replay_segment(*contents, each);
  const bool torn = whole < contents->size();
  if (last) co_return co_await settle(*std::move(segment), whole, torn);
  // Everything in it was durable before the next segment was made.
  if (torn) co_return damaged();
  co_return co_await segment->close();
}

/// How far it is whole.
std::size_t log::replay_segment(std::span<const std::byte> segment, const replay& each) {
  std::size_t end = 0;
  while (const auto next =
             take_record(segment.subspan(end), appended_ + 1, options_.take.check_sums)) {
    each(*next);
    end += size_of(next->bytes);
    ++appended_;
  }
  return end;
}

// What was under way at the crash goes, for good, before anything is appended: left behind a new
// record of the right length, it would be found by the next recovery. And what stays may so far be
// in the page cache only, where a killed process has left it.
task<result<void>> log::settle(weir::file segment, std::uint64_t end, bool torn) {
  if (torn) {
    const result<void> cut = co_await segment.truncate(end);
    if (!cut) co_return cut;
  }
  const result<void> synced = co_await segment.sync();
  if (!synced) co_return synced;
  segment_ = std::move(segment);
  end_ = end;
  co_return result<void>{};
}

}  // namespace append_log
