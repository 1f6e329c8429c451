#pragma once

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "weir/file.hpp"

/// Streams for coroutines: a file read or written from one place on, in pieces of any size.
///
///     weir::reader in(*co_await weir::open(context, "words"));
///     weir::writer out(*co_await weir::open(context, "copy", {.write = true, .create = true}));
///     std::string line;
///     while ((co_await in.read_line(line, 4096)).value_or(false)) {
///       auto written = co_await out.write(std::as_bytes(std::span(line)));
///       if (!written) break;                      // close() tells the same
///     }
///     auto closed = co_await out.close(weir::durability::data);
///
/// Both copy between the caller's memory and blocks of their own, so what fits is served without
/// suspending, and nothing of the caller's is borrowed beyond the await. All memory is allocated
/// when a stream is made: nothing is allocated for a read or a write.
///
/// A stream is for files that can seek, and owns its file: what else is to be done with that, while
/// the stream stands still, is done through `target()`. Cancelling that file's operations ends a
/// wait with ECANCELED.
///
/// Threads: the context's only, and one coroutine at a time; a second one that waits aborts the
/// program. Destroying a coroutine that waits for a stream is safe; so is destroying a stream whose
/// blocks are in flight: what stands behind it lives until they have ended.
namespace weir {

struct reader_options {
  std::uint64_t offset = 0;  ///< where in the file reading begins
  /// Bytes of a transfer at most; rounded up to a multiple of 4096.
  std::size_t block_size = std::size_t{256} << 10;
  /// How many blocks there are at most, in memory and in flight.
  std::size_t blocks = 8;
  /// The page cache is left without what was read; while reading is in order, also without what of
  /// it others had there. See docs/decisions/0020.
  bool drop_cache = false;
};

struct writer_options {
  std::uint64_t offset = 0;  ///< where in the file writing begins; of no effect with O_APPEND
  std::size_t block_size = std::size_t{256} << 10;  ///< as for a reader
  /// How many blocks: when all are full and on their way, `write` waits.
  std::size_t blocks = 8;
  /// The page cache is left without what was written, of which it holds 32 MiB and the blocks at
  /// most. `close` waits for the disk then; it is not durable by that. See docs/decisions/0020.
  bool drop_cache = false;
};

namespace detail {

/// What a stream has at hand without waiting: bytes to be read, or room to be written to; and the
/// coroutine that waits for more. The base of what stands behind a stream.
struct stream_window {
  std::byte* next = nullptr;
  std::byte* end = nullptr;
  continuation waiter;

  std::size_t at_hand() const noexcept { return static_cast<std::size_t>(end - next); }
};

struct read_window : stream_window {
  std::error_code error;  // why `more` failed
};
struct write_window : stream_window {};

/// What became of an attempt to go on.
enum class progress : std::uint8_t { ready, waiting, ended, failed };

/// With nothing at hand: looks for more, of which the caller will want so many bytes.
progress more(read_window& from, std::size_t wanted) noexcept;

/// The same for room, where there is none.
progress more_room(write_window& in) noexcept;

/// Sets who waits for a stream. Aborts where somebody does.
void wait_for(stream_window& stream, continuation who) noexcept;

/// A coroutine that goes on with `Step` as often as the stream has more. `advance` is true when the
/// step is over; `take` is its value.
template <class Step>
class [[nodiscard("it does nothing until it is awaited")]] stream_awaiter {
 public:
  template <class... Arguments>
  explicit stream_awaiter(Arguments&&... arguments) noexcept
      : step_{std::forward<Arguments>(arguments)...} {}
  stream_awaiter(const stream_awaiter&) = delete;
  stream_awaiter& operator=(const stream_awaiter&) = delete;
  ~stream_awaiter() {
    if (waiting_) step_.stream.waiter = {};
  }

  bool await_ready() noexcept { return step_.advance(); }
  void await_suspend(std::coroutine_handle<> who) noexcept {
    who_ = who;
    wait();
  }
  auto await_resume() noexcept { return step_.take(); }

 private:
  void wait() noexcept {
    waiting_ = true;
    wait_for(step_.stream, continuation::calling<&stream_awaiter::again>(*this));
  }
  void again() noexcept {
    waiting_ = false;
    if (!step_.advance()) return wait();
    who_.resume();  // `this` may be gone from here on
  }

  Step step_;
  std::coroutine_handle<> who_;
  bool waiting_ = false;
};

// --- the steps of a reader -----------------------------------------------------------------------

struct read_step {
  read_window& stream;
  std::span<std::byte> memory;
  std::size_t moved = 0;
  progress came = progress::ready;

  bool advance() noexcept {
    if (memory.empty()) return true;
    while (stream.at_hand() == 0) {
      came = more(stream, memory.size());
      if (came != progress::ready) return came != progress::waiting;
    }
    moved = std::min(memory.size(), stream.at_hand());
    std::memcpy(memory.data(), stream.next, moved);
    stream.next += moved;
    return true;
  }
  result<std::size_t> take() const noexcept {
    if (came == progress::failed) return std::unexpected(stream.error);
    return moved;
  }
};

struct read_exactly_step {
  read_window& stream;
  std::span<std::byte> memory;
  std::size_t moved = 0;
  progress came = progress::ready;

  bool advance() noexcept {
    if (memory.size() - moved > stream.at_hand()) return advance_by_blocks();
    copy(memory.size() - moved);
    return true;
  }
  transfer_result take() const noexcept {
    if (came == progress::failed) return {std::unexpected(stream.error), moved};
    if (came == progress::ended) return {std::unexpected(make_error_code(errc::short_read)), moved};
    return {moved, moved};
  }

 private:
  void copy(std::size_t count) noexcept {
    if (count == 0) return;
    std::memcpy(memory.data() + moved, stream.next, count);
    stream.next += count;
    moved += count;
  }
  bool advance_by_blocks() noexcept;
};

struct peek_step {
  read_window& stream;
  progress came = progress::ready;

  bool advance() noexcept {
    if (stream.at_hand() == 0) came = more(stream, 1);
    return came != progress::waiting;
  }
  result<std::span<const std::byte>> take() const noexcept {
    if (came == progress::failed) return std::unexpected(stream.error);
    return std::span<const std::byte>(stream.next, stream.at_hand());
  }
};

struct read_until_step {
  read_window& stream;
  std::string& into;
  char delimiter;
  std::size_t limit;
  std::error_code error{};  // NOLINT(readability-redundant-member-init): or g++ warns of users
  bool found = false;

  bool advance() noexcept;
  result<std::size_t> take() const noexcept {
    if (error) return std::unexpected(error);
    return into.size();
  }

 private:
  bool settle(progress came) noexcept;
  bool take_from_block();
};

struct read_line_step : read_until_step {
  result<bool> take() const noexcept {
    if (error) return std::unexpected(error);
    if (found) into.pop_back();
    return found || !into.empty();
  }
};

// --- the steps of a writer -----------------------------------------------------------------------

struct write_step {
  write_window& stream;
  std::span<const std::byte> bytes;
  std::size_t moved = 0;
  progress came = progress::ready;

  bool advance() noexcept {
    if (bytes.size() - moved >= stream.at_hand()) return advance_by_blocks();
    copy(bytes.size() - moved);
    return true;
  }
  transfer_result take() const noexcept;

 private:
  void copy(std::size_t count) noexcept {
    if (count == 0) return;
    std::memcpy(stream.next, bytes.data() + moved, count);
    stream.next += count;
    moved += count;
  }
  bool advance_by_blocks() noexcept;
};

struct room_step {
  write_window& stream;
  progress came = progress::ready;

  bool advance() noexcept {
    if (stream.at_hand() == 0) came = more_room(stream);
    return came != progress::waiting;
  }
  result<std::span<std::byte>> take() const noexcept;
};

/// Flushing, and what may follow: syncing, closing.
struct flush_step {
  enum class stage : std::uint8_t { writing, syncing, closing, over };

  write_window& stream;
  durability how;
  bool closes;
  stage at = stage::writing;
  // Of the sync or the close.
  std::error_code error{};  // NOLINT(readability-redundant-member-init): as above

  bool advance() noexcept;
  transfer_result take() const noexcept;
};

/// Lets go of what stands behind a stream, which may have to live on.
struct abandon_stream {
  void operator()(read_window* reader) const noexcept;
  void operator()(write_window* writer) const noexcept;
};

}  // namespace detail

/// Reads a file from one place on, ahead of whoever reads.
///
/// It reads ahead as much as has been read in order: twice as much with each block that was read to
/// its end, up to all blocks; a quarter after each seek to where nothing has been read. Awaiting
/// suspends only where nothing is at hand.
///
/// The end of the file: 0 bytes, as of when that place was read. The next read asks again, so
/// growth by others is seen. An error is told when the reader comes to its place, not before, and
/// once: a further read tries again.
///
/// O_DIRECT files are read in aligned blocks, from and to anywhere.
class reader {
 public:
  /// Takes the file over. Throws std::bad_alloc; the file is closed then.
  explicit reader(file source, const reader_options& options = {});

  /// Yields `result<std::size_t>`: bytes read, at least one, as many as are at hand; 0 at the end
  /// of the file.
  auto read(std::span<std::byte> memory) noexcept {
    return detail::stream_awaiter<detail::read_step>(*core_, memory);
  }
  /// Yields a `transfer_result`: the whole span, or `errc::short_read` where the file ends before.
  /// What `transferred` counts has been read, here and on any failure.
  auto read_exactly(std::span<std::byte> memory) noexcept {
    return detail::stream_awaiter<detail::read_exactly_step>(*core_, memory);
  }
  /// Replaces `into` by what comes up to the delimiter, and it. Yields `result<std::size_t>`, how
  /// many bytes that are; the last of them is no delimiter where the file ended before; 0 at the
  /// end of the file. Where `limit` bytes have come, another one, and none is the delimiter:
  /// `errc::too_long`; those `limit` bytes are in `into`, and read. ENOMEM where a string cannot
  /// grow. After an error of the file, too, what was read before is in `into`.
  auto read_until(std::string& into, char delimiter, std::size_t limit) noexcept {
    into.clear();
    return detail::stream_awaiter<detail::read_until_step>(*core_, into, delimiter, limit);
  }
  /// The same with a line: of at most `limit` bytes, without its '\n'. Yields `result<bool>`, false
  /// at the end of the file. A last line without '\n' is one.
  auto read_line(std::string& line, std::size_t limit) noexcept {
    line.clear();
    return detail::stream_awaiter<detail::read_line_step>(
        detail::read_until_step{*core_, line, '\n', limit});
  }

  /// What is at hand, where it lies, at least one byte: yields `result<std::span<const
  /// std::byte>>`, empty at the end of the file. Valid until anything else is asked of the reader
  /// but `consume` and `position`.
  auto peek() noexcept { return detail::stream_awaiter<detail::peek_step>(*core_); }
  /// So many bytes of that have been read. More than there are aborts.
  void consume(std::size_t count) noexcept;

  /// Where in the file the next byte is read.
  std::uint64_t position() const noexcept;
  /// Reads on from there; costs nothing where that has been read ahead.
  void seek(std::uint64_t offset) noexcept;
  /// Reads on so many bytes further, whether the file is as long or not.
  void skip(std::uint64_t count) noexcept { seek(position() + count); }

  /// The file. Not to be closed or moved from here.
  file& target() noexcept;
  /// Closes the file when no block is in flight any more; yields `result<void>`. Reads yield EBADF
  /// from then on.
  close_sender close() noexcept;

 private:
  std::unique_ptr<detail::read_window, detail::abandon_stream> core_;
};

/// Writes a file from one place on, behind whoever writes.
///
/// What is written is copied to a block. A full block goes on its way while the next is filled, up
/// to all blocks; then `write` waits. A block that is not full is written by `flush` and `close`,
/// and by nothing else. Blocks in flight may reach the file in any order; with O_APPEND there is
/// one at a time, so they do in order.
///
/// Errors come late: that of a block is told by the next call, and by each one after that, `flush`
/// and `close` among them. It is the first in the stream's order, and `written` says how much
/// reached the file before it; of what was accepted beyond that, some may be there, too, with a
/// hole before it. No block is started after an error, and nothing more is accepted.
///
/// O_DIRECT files are written in aligned blocks. What begins or ends within a page of 4096 bytes is
/// written through the page cache, by itself, for which O_DIRECT is taken off the open file
/// (fcntl(2)) for that time: so the bytes beside it are kept, and the file is never longer than its
/// data. With O_APPEND, where nobody knows what is aligned, it is taken off for good.
///
/// A writer that is destroyed without `close` has everything accepted written, and closes the file,
/// as long as its context is driven; nobody hears of an error.
class writer {
 public:
  /// Takes the file over. Throws std::bad_alloc; the file is closed then.
  explicit writer(file target, const writer_options& options = {});

  /// Accepts all of `bytes`; yields a `transfer_result`, whose `transferred` says how many were
  /// accepted, also where an earlier block's error is told.
  auto write(std::span<const std::byte> bytes) noexcept {
    return detail::stream_awaiter<detail::write_step>(*core_, bytes);
  }

  /// Where the next bytes go, at least one, to be put there by the caller: yields
  /// `result<std::span<std::byte>>`. Valid until anything else is asked of the writer but `produce`
  /// and `position`.
  auto room() noexcept { return detail::stream_awaiter<detail::room_step>(*core_); }
  /// So many bytes have been put there. More than there is room for aborts.
  void produce(std::size_t count) noexcept;

  /// Waits until everything accepted is in the file; then makes it durable, by fdatasync(2) or
  /// fsync(2), if asked. Yields a `transfer_result`: what `written` says. Errors: the first of a
  /// block, or of the sync (see `file::sync`; one that failed for good fails again).
  auto flush(durability how = durability::none) noexcept {
    return detail::stream_awaiter<detail::flush_step>(*core_, how, false);
  }
  /// The same, and closes the file, whatever failed before. Writes yield EBADF from then on, or
  /// the error that there was.
  auto close(durability how = durability::none) noexcept {
    return detail::stream_awaiter<detail::flush_step>(*core_, how, true);
  }

  /// Where in the file the next byte goes; without a meaning with O_APPEND.
  std::uint64_t position() const noexcept;
  /// How many bytes, from the stream's first on, are known to have been written to the file.
  std::uint64_t written() const noexcept;

  file& target() noexcept;

 private:
  std::unique_ptr<detail::write_window, detail::abandon_stream> core_;
};

}  // namespace weir
