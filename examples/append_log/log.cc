#include "log.hpp"

#include <new>
#include <utility>

#include "segment_name.hpp"

namespace append_log {

using weir::result;
using weir::task;

// --- Appending -----------------------------------------------------------------------------------

/// Awaiting it goes on when the group that is being written has been, or has failed.
auto log::next_group() noexcept {
  struct awaiter {
    std::vector<std::coroutine_handle<>>& waiting;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) const { waiting.push_back(waiter); }
    void await_resume() const noexcept {}
  };
  return awaiter{waiting_};
}

// One group is in flight at a time, as one write. Several side by side would be durable in any
// order, and a crash could keep the second and lose the first: recovery stops at the gap, and with
// it goes what had been acknowledged behind it.
task<result<std::uint64_t>> log::append(std::span<const std::byte> bytes) {
  if (failed_) co_return std::unexpected(failed_);
  put_record(gathered_, {appended_ + 1, bytes});
  const std::uint64_t mine = ++appended_;
  while (durable_ < mine && !failed_) {
    if (writing_) {
      co_await next_group();
    } else {
      co_await write_group();
    }
  }
  if (durable_ < mine) co_return std::unexpected(failed_);
  co_return mine;
}

/// Writes what has gathered, for all whose it is.
task<void> log::write_group() {
  writing_ = true;
  const std::vector<std::byte> group = std::exchange(gathered_, {});
  const std::uint64_t last = appended_;
  result<void> written = std::unexpected(std::make_error_code(std::errc::not_enough_memory));
  try {
    written = co_await write(group, durable_ + 1);
  } catch (const std::bad_alloc&) {
    // It stays the error.
  }
  if (written) {
    durable_ = last;
    ++groups_;
  } else {
    failed_ = written.error();
  }
  writing_ = false;
  for (const std::coroutine_handle<> each : std::exchange(waiting_, {})) each.resume();
}

task<result<void>> log::write(std::span<const std::byte> group, std::uint64_t first) {
  const bool fits = end_ + group.size() <= options_.segment_size;
  if (!segment_.is_open() || (!fits && end_ != 0)) {
    const result<void> begun = co_await begin_segment(first);
    if (!begun) co_return begun;
  }
  const weir::transfer_result written = co_await weir::commit(segment_, group, end_);
  if (!written) co_return std::unexpected(written.error());
  end_ += group.size();
  co_return result<void>{};
}

task<result<void>> log::begin_segment(std::uint64_t first) {
  if (segment_.is_open()) {
    const result<void> closed = co_await segment_.close();
    if (!closed) co_return closed;
  }
  const std::string path = directory_ + '/' + segment_name(first);
  result<weir::file> begun;
  if (options_.take.sync_directory) {
    begun = co_await weir::create_durably(context_, path);
  } else {
    // Wrong: the file is there for everyone to see, and commits in it succeed, but the directory
    // may not have its name yet when the power fails.
    begun = co_await weir::open(context_, path, {.write = true, .create = true, .exclusive = true});
  }
  if (!begun) co_return std::unexpected(begun.error());
  segment_ = *std::move(begun);
  end_ = 0;
  co_return result<void>{};
}

task<result<void>> log::close() {
  if (!segment_.is_open()) co_return result<void>{};
  co_return co_await segment_.close();
}

}  // namespace append_log
