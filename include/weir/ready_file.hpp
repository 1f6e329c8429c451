#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "weir/driver.hpp"
#include "weir/file.hpp"

/// Files that behave like sockets: try; where it would have to wait, EAGAIN; be told; try again.
///
///     weir::ready_files files;                              // watch files.fd() for readability
///     auto in = *weir::ready_file::open(files, "input");
///     auto got = in.try_read(memory);
///     if (!got && got.error() == std::errc::resource_unavailable_try_again) return;  // later
///     ...
///     while (auto event = files.next()) {                   // when files.fd() is readable
///       if (event->handle == in.handle() && event->what == weir::ready::readable) read_on();
///     }
///
/// What a program without an event loop of ours needs, and one that has one may prefer: a context
/// of one's own is cheaper where data is not in memory, since there no other thread is woken.
namespace weir {

/// What a file is ready for, or has come to: single bits of an event's `what`, and of `poll`.
namespace ready {
inline constexpr unsigned readable = 1;
inline constexpr unsigned writable = 2;
inline constexpr unsigned opened = 4;
inline constexpr unsigned synced = 8;
inline constexpr unsigned closed = 16;
}  // namespace ready

struct ready_event {
  int handle = -1;
  unsigned what = 0;      ///< one bit of `ready`
  std::error_code error;  ///< of opened, synced and closed: why that failed
};

enum class ready_status : std::uint8_t { opening, open, closing, closed };

struct ready_options {
  /// The most handles at a time, those counted whose `closed` event has not been taken.
  std::size_t files = 1024;
  /// The most bytes that are read ahead at a time; a handle has two such pieces at most. Rounded up
  /// to a multiple of 4096.
  std::size_t read_ahead = std::size_t{256} << 10;
  /// The most bytes that a handle has accepted and not written, exactly.
  std::size_t write_behind = std::size_t{1} << 20;
  static constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();
  /// What is accepted is written in pieces of this size at most; rounded up to a multiple of 4096.
  std::size_t block_size = std::size_t{128} << 10;
  /// How long a piece that is not full lies in memory.
  std::chrono::milliseconds flush_after{1000};
};

/// A table of files with handles of its own: small numbers from 0 on, reused, the one that has been
/// free the longest first. It has a context, on a thread of its own, which does what has to wait.
///
/// Each call returns at once, but for `close_and_wait` and destruction. What it cannot do without
/// waiting for a disk fails with EAGAIN, and one event follows, however often it was tried
/// meanwhile; a new try then gets on.
///
/// Events are told by one of: `fd` and `next` (also without `fd`, now and then), or a callback.
/// They have to be taken: a handle is free again when its `closed` event has been.
///
/// Files must be able to seek: of others opening fails with ESPIPE, of a directory with EISDIR.
///
/// Every call: EBADF for a number that is no handle, or that is being closed; EAGAIN while the file
/// is being opened; what opening failed with, until it is closed.
///
/// Thread-safe; calls for the same handle take turns. Memory that is given is only used during the
/// call. In a child of fork(2) nothing may be done with it.
class ready_files {
 public:
  /// Opens a driver and starts a thread. Throws std::system_error where that cannot be, EINVAL
  /// where a size is 0; std::bad_alloc.
  explicit ready_files(const ready_options& options = {}, const driver_options& with = {});
  ready_files(const ready_options& options, std::unique_ptr<driver> with);
  /// Without exceptions.
  static result<std::unique_ptr<ready_files>> make(const ready_options& options = {},
                                                   const driver_options& with = {}) noexcept;
  ready_files(const ready_files&) = delete;
  ready_files& operator=(const ready_files&) = delete;
  /// Closes what is open, and waits until everything accepted has been written; of an error nobody
  /// hears. Not from the callback.
  ~ready_files();

  /// Begins to open, and yields the handle at once; an `opened` event tells what came of it. A
  /// relative path is resolved from where the program is now. With `direct`, alignment is not the
  /// caller's business; where the file system refuses O_DIRECT, the file is opened without.
  /// EMFILE: the table is full. EINVAL: as for `weir::open`. ENOMEM.
  result<int> open(std::string_view path, const open_options& options = {}) noexcept;
  /// The same, with openat(2)'s own flags and mode.
  result<int> open(std::string_view path, int flags, std::uint32_t mode) noexcept;

  /// How far a handle has got; fails with what opening failed with.
  result<ready_status> status(int handle) noexcept;

  /// Reads on at the read position: what is at hand, at most `most_at_once` bytes; 0 at the end of
  /// the file. From memory, if that has it: read ahead, or in the page cache (preadv2(2),
  /// RWF_NOWAIT, Linux 4.14). Else EAGAIN, a transfer begins, and a `readable` event follows; the
  /// longer the reads are sequential, the more is read ahead. At the end each call asks anew, so
  /// growth is seen. What the handle has itself accepted for that place is written first.
  /// EBADF also where the file was not opened for reading. An error of the transfer, once.
  result<std::size_t> try_read(int handle, std::span<std::byte> memory) noexcept;
  static constexpr std::size_t most_at_once = std::size_t{256} << 10;

  /// Accepts bytes for the write position, as many as there is room for, and copies them. EAGAIN
  /// where there is none: a `writable` event follows when half of it is free. What was accepted is
  /// written when a block is full, after `flush_after`, on `sync` and on `close`; in order where
  /// writes overlap, or append. EBADF where the file was not opened for writing; ENOMEM.
  ///
  /// The first error of a write behind the caller's back is told by every later call that writes or
  /// syncs, and by `closed`; what was accepted and not yet written is gone then.
  result<std::size_t> try_write(int handle, std::span<const std::byte> bytes) noexcept;

  /// What a try would not answer with EAGAIN as far as is known: bits of `ready`. Changes nothing,
  /// and no event follows.
  result<unsigned> poll(int handle) noexcept;

  /// Where the next byte is read, or written. The two positions have nothing to do with each other.
  /// Without a meaning for writing where the file was opened to append. EINVAL above 2^63 - 1.
  result<void> seek_read(int handle, std::uint64_t position) noexcept;
  result<void> seek_write(int handle, std::uint64_t position) noexcept;

  /// Writes what has been accepted; then fdatasync(2), or fsync(2) if `full`; `none` only writes.
  /// A `synced` event tells the outcome. EALREADY until the event of the one before has been taken.
  /// One that fails with EIO, ENOSPC or EDQUOT has lost writes: it fails for good.
  result<void> sync(int handle, durability how = durability::data) noexcept;

  /// Writes what has been accepted, closes, and tells by a `closed` event: the first error of a
  /// write or a failed sync, or close(2)'s. Nothing else is heard of the handle from here on.
  result<void> close(int handle) noexcept;
  /// The same, and waits; there is no event. Also for what is being closed. EDEADLK from the
  /// callback.
  result<void> close_and_wait(int handle) noexcept;

  /// Readable (poll(2), epoll(7)) while there are events to take. Not to be read or closed.
  int fd() const noexcept;
  /// The next event, if there is one.
  std::optional<ready_event> next() noexcept;

  using callback = void (*)(void* user, const ready_event& event) noexcept;
  /// From now on events are told by this call, on the table's thread, which it must not hold up; it
  /// may use the table. Null: by `next` again; then no call is under way any more on return, unless
  /// it is the caller's own.
  void on_event(callback tell, void* user) noexcept;

  class table;

 private:
  friend class ready_file;
  void abandon(int handle) noexcept;

  std::unique_ptr<table> table_;
};

/// A handle that is closed when this is destroyed: then nobody hears of an error but who takes the
/// `closed` event. Not thread-safe by itself. The table must live longer.
class ready_file {
 public:
  ready_file() noexcept = default;
  /// Takes over a handle of a table.
  ready_file(ready_files& files, int handle) noexcept : files_(&files), handle_(handle) {}
  static result<ready_file> open(ready_files& files, std::string_view path,
                                 const open_options& options = {}) noexcept {
    const auto handle = files.open(path, options);
    if (!handle) return std::unexpected(handle.error());
    return ready_file(files, *handle);
  }
  ready_file(ready_file&& other) noexcept
      : files_(other.files_), handle_(std::exchange(other.handle_, -1)) {}
  ready_file(const ready_file&) = delete;
  ready_file& operator=(const ready_file&) = delete;
  ready_file& operator=(ready_file&& other) noexcept {
    if (this != &other) {
      abandon();
      files_ = other.files_;
      handle_ = std::exchange(other.handle_, -1);
    }
    return *this;
  }
  ~ready_file() { abandon(); }

  /// -1 once it is closed or moved from. The calls below are for others.
  int handle() const noexcept { return handle_; }

  // As of `ready_files`.
  result<ready_status> status() noexcept { return files_->status(handle_); }
  result<std::size_t> try_read(std::span<std::byte> memory) noexcept {
    return files_->try_read(handle_, memory);
  }
  result<std::size_t> try_write(std::span<const std::byte> bytes) noexcept {
    return files_->try_write(handle_, bytes);
  }
  result<unsigned> poll() noexcept { return files_->poll(handle_); }
  result<void> seek_read(std::uint64_t position) noexcept {
    return files_->seek_read(handle_, position);
  }
  result<void> seek_write(std::uint64_t position) noexcept {
    return files_->seek_write(handle_, position);
  }
  result<void> sync(durability how = durability::data) noexcept {
    return files_->sync(handle_, how);
  }
  result<void> close() noexcept { return files_->close(std::exchange(handle_, -1)); }
  result<void> close_and_wait() noexcept {
    return files_->close_and_wait(std::exchange(handle_, -1));
  }

 private:
  void abandon() noexcept {
    if (handle_ >= 0) files_->abandon(handle_);
  }

  ready_files* files_ = nullptr;
  int handle_ = -1;
};

}  // namespace weir
