#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>

#include "weir/file.hpp"
#include "weir/task.hpp"

/// Whole files, or parts of them, moved from one descriptor to another: to a socket, a pipe or a
/// file, and from there.
///
///     auto sent = co_await weir::send_file(file, socket);
///     if (sent.error) log("sent only", sent.transferred, sent.error);
///
/// They are coroutines on the file's context: begun and awaited on its thread. Neither a slow
/// receiver nor a slow disk holds up that thread or another: what is in the page cache goes at
/// once, what is not is read by the driver, and a descriptor that is not ready is waited for by
/// `io_context::poll`. Whoever waits holds no memory but its frame.
///
/// Descriptors are borrowed until the transfer has ended. Their flags are never changed, and need
/// not be O_NONBLOCK.
namespace weir {

/// A length: whatever there is, up to the end of the file, or of what the sender sends.
inline constexpr std::uint64_t to_the_end = UINT64_MAX;

/// How bytes get from one descriptor to the other.
enum class transfer_route : std::uint8_t {
  automatic,        ///< as an option: whichever measured best for these two (docs/transfers.md)
  buffered,         ///< read into memory and written from there
  sendfile,         ///< sendfile(2), from the page cache to a socket
  splice,           ///< splice(2), between a file and a pipe
  copy_file_range,  ///< copy_file_range(2), by the file system
  reflink,          ///< ioctl_ficlonerange(2): the blocks are shared until one is written
};

/// The routes that a transfer took: more than one, where parts went different ways.
class transfer_routes {
 public:
  constexpr bool has(transfer_route route) const noexcept { return (bits_ & bit(route)) != 0; }
  constexpr bool none() const noexcept { return bits_ == 0; }
  constexpr void add(transfer_route route) noexcept {
    bits_ = static_cast<std::uint8_t>(bits_ | bit(route));
  }
  constexpr void add(transfer_routes others) noexcept {
    bits_ = static_cast<std::uint8_t>(bits_ | others.bits_);
  }
  friend bool operator==(transfer_routes, transfer_routes) = default;

 private:
  static constexpr unsigned bit(transfer_route route) noexcept {
    return 1U << static_cast<unsigned>(route);
  }

  std::uint8_t bits_ = 0;
};

/// What became of a transfer. The counts are right in failure, too.
struct transfer_outcome {
  /// Bytes of the file that were moved: from the beginning of the range on, without a gap. Sent is
  /// what the receiver's descriptor has taken.
  std::uint64_t transferred = 0;
  /// Bytes of header and trailer that were sent.
  std::uint64_t framing = 0;
  /// None in success. `errc::short_read` where the file, or what was received, ended before an
  /// explicit length; `std::errc::operation_canceled` by `stop`, `std::errc::timed_out` by
  /// `deadline`; else what the call that failed said: EPIPE or ECONNRESET of a receiver that is
  /// gone, EIO of a disk.
  std::error_code error;
  /// That the file's bytes took.
  transfer_routes routes;

  explicit operator bool() const noexcept { return !error; }
};

struct transfer_options {
  /// Sent before and after the file's bytes, together with them where that saves a packet
  /// (MSG_MORE). Borrowed until the transfer has ended. Not for `receive_file`, `copy_file`.
  std::span<const std::byte> header;
  std::span<const std::byte> trailer;
  /// Of `send_file` to a socket: another transfer to it follows at once, so the last packet may be
  /// filled up from that (MSG_MORE). Where none follows, it is sent 200 ms late.
  bool more_follows = false;
  /// Told, on the context's thread, how many of the file's bytes have been moved, whenever that has
  /// become more. What it throws ends the transfer and is thrown by the await.
  std::function<void(std::uint64_t transferred)> progress;
  /// How long the whole transfer may take.
  std::optional<std::chrono::nanoseconds> deadline;
  /// Ends it early. `request_stop` may be called on any thread, as for `with_stop`.
  std::stop_token stop;
  transfer_route route = transfer_route::automatic;
  /// The most bytes moved in one go; then others on the context have a turn. At least a page. What
  /// passes through memory does so by 512 KiB at most.
  std::size_t piece = std::size_t{512} << 10;
  /// Whoever shares the receiver's or the sender's open file description, as the process that a
  /// socket came from, may mean harm. sendfile(2) is not used then: with O_NONBLOCK taken off
  /// meanwhile it would wait.
  bool untrusted = false;
  /// Of `receive_file` and `copy_file`: what must be durable when the transfer completes.
  durability sync = durability::none;
};

/// Sends `length` bytes of `from`, from `offset` on, to a socket, a pipe, a device or another file.
/// An empty range succeeds with 0 bytes, wherever it begins.
///
/// A socket is of a stream, else EPROTOTYPE: what keeps messages apart would make one of each
/// piece. SIGPIPE is not raised. A regular file is written where its descriptor stands, which is
/// moved along, as by write(2). A device is written to by the driver, for which it may wait.
///
/// A forced route that does not lead there: EINVAL. One that does is left for `buffered` where it
/// would wait: for what is not in the page cache, or for a receiver without O_NONBLOCK.
task<transfer_outcome> send_file(file& from, int to, std::uint64_t offset = 0,
                                 std::uint64_t length = to_the_end, transfer_options options = {});

/// A part of an open file, which is borrowed.
struct file_part {
  file* from;
  std::uint64_t offset = 0;
  std::uint64_t length = to_the_end;
};

/// Sends parts of files on one context, one after the other: the same as a `send_file` of each, and
/// small parts of a known length together, which is faster. `parts` are borrowed until it has
/// ended; there is no header or trailer. A part that cannot be had ends it, behind those before.
task<transfer_outcome> send_files(std::span<const file_part> parts, int to,
                                  transfer_options options = {});

/// Writes what comes from a socket, a pipe, a device or another file to `to`, from `offset` on (at
/// the end, if it was opened O_APPEND): `length` bytes, or all up to the sender's end. The file is
/// not made shorter. A regular file is read where its descriptor stands, which is moved along.
///
/// Of a sender that has been read from, and a file that could not be written, bytes are lost:
/// `transferred` counts what was written.
task<transfer_outcome> receive_file(int from, file& to, std::uint64_t offset = 0,
                                    std::uint64_t length = to_the_end,
                                    transfer_options options = {});

/// Which part of one file goes where in another.
struct copy_part {
  std::uint64_t from_offset = 0;
  std::uint64_t to_offset = 0;
  std::uint64_t length = to_the_end;
};

/// Copies within the file system: by sharing blocks, where it can, by copy_file_range(2), or by
/// reads and writes that overlap. Both files are on one context. Holes stay holes; the target is
/// made longer where it must be, not shorter. EINVAL where both are the same file.
task<transfer_outcome> copy_file(file& from, file& to, copy_part part = {},
                                 transfer_options options = {});

/// Whether the page cache has every page of a range that is not empty, so that sendfile(2) and
/// splice(2) will not wait for the disk: cachestat(2), Linux 6.5. A page on its way from the disk
/// counts. False, too, where the kernel does not say: it is older, or the file is neither the
/// caller's nor writable to it. Any thread.
bool all_cached(int fd, std::uint64_t offset, std::uint64_t length) noexcept;

}  // namespace weir
