#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "weir/buffer.hpp"
#include "weir/result.hpp"
#include "weir/sender.hpp"

struct iovec;  // <sys/uio.h>

namespace weir {

/// How `open` opens. O_CLOEXEC is always set.
struct open_options {
  bool read = true;
  bool write = false;
  bool create = false;     ///< O_CREAT: make it where it is missing, with `mode`
  bool truncate = false;   ///< O_TRUNC
  bool append = false;     ///< O_APPEND: every write goes to the end, whatever its offset
  bool exclusive = false;  ///< O_EXCL: fail with EEXIST where it is there
  /// O_DIRECT: past the page cache. Memory, offset and length must be multiples of what
  /// `file_status` names; otherwise EINVAL. Some file systems refuse to open (EINVAL).
  bool direct = false;
  std::uint32_t mode = 0644;  ///< permission bits of a created file, less the umask
};

/// What statx(2) says about a file. Times are nanoseconds since 1970-01-01 UTC; sizes are bytes.
struct file_status {
  std::uint64_t size = 0;
  std::uint64_t allocated = 0;  ///< on disk; less than `size` where the file has holes
  std::uint32_t mode = 0;       ///< type and permissions, as in stat(2)
  std::uint32_t user = 0;
  std::uint32_t group = 0;
  std::uint32_t links = 0;
  std::uint64_t device = 0;  ///< as st_dev
  std::uint64_t inode = 0;
  std::uint32_t block_size = 0;  ///< preferred for I/O
  /// What O_DIRECT needs; both 0 where it is not offered or the kernel does not say (before 6.1).
  std::uint32_t direct_memory_alignment = 0;
  std::uint32_t direct_offset_alignment = 0;
  std::int64_t accessed_ns = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
};

class file;
class close_sender;

namespace detail {

/// Repeats a transfer until its whole range has been moved.
class whole_awaiter : public awaiting_operation {
 public:
  whole_awaiter(io_context* context, const request& what, file_state* file) noexcept
      : awaiting_operation(context, what, file, &step), first_offset_(what.offset) {}
  transfer_result await_resume() const noexcept;

 private:
  static void step(operation& op) noexcept;
  bool advance() noexcept;

  std::uint64_t first_offset_;
  std::error_code error_;
};

class stat_awaiter : public awaiting_operation {
 public:
  stat_awaiter(io_context* context, const request& what, file_state* file) noexcept;
  result<file_status> await_resume() const noexcept;

 private:
  alignas(8) std::array<std::byte, 256> raw_;  // struct statx
};

class open_awaiter : public awaiting_operation {
 public:
  open_awaiter(io_context& context, std::string path, const open_options& options) noexcept;
  bool await_ready() const noexcept { return refused_; }
  result<file> await_resume() noexcept;

 private:
  std::string path_;
  bool refused_;
};

class close_awaiter : public awaiting_operation {
 public:
  explicit close_awaiter(file_state* file) noexcept;
  void await_suspend(std::coroutine_handle<> waiter) noexcept;
  result<void> await_resume() const noexcept;

 private:
  static void closed(operation& op) noexcept;
};

class buffer_awaiter : public awaiting_operation {
 public:
  buffer_awaiter(io_context* context, const request& what, file_state* file, buffer data) noexcept
      : awaiting_operation(context, what, file), data_(std::move(data)) {}
  buffer_result await_resume() noexcept {
    return {to_result<std::size_t>(answer()), std::move(data_)};
  }

 private:
  buffer data_;
};

/// A sender that is its awaiter's arguments and nothing more.
template <class Awaiter>
class [[nodiscard("a sender does nothing until it is awaited")]] file_sender {
 public:
  file_sender(io_context* context, const request& what, file_state* file) noexcept
      : context_(context), file_(file), what_(what) {}
  Awaiter operator co_await() const noexcept { return {context_, what_, file_}; }

 private:
  io_context* context_;
  file_state* file_;
  request what_;
};

}  // namespace detail

/// A description like `io_sender`, of a transfer that is resumed after short ones; yields
/// `transfer_result`.
using whole_sender = detail::file_sender<detail::whole_awaiter>;
/// A description like `io_sender`; yields `result<file_status>`.
using stat_sender = detail::file_sender<detail::stat_awaiter>;

/// A description like `io_sender`, holding a buffer that comes back in its `buffer_result`,
/// whether the transfer succeeds or fails.
class [[nodiscard("a sender does nothing until it is awaited")]] buffer_sender {
 public:
  buffer_sender(io_context* context, const request& what, detail::file_state* file,
                buffer data) noexcept
      : context_(context), file_(file), what_(what), data_(std::move(data)) {}
  detail::buffer_awaiter operator co_await() && noexcept {
    return {context_, what_, file_, std::move(data_)};
  }

 private:
  io_context* context_;
  detail::file_state* file_;
  request what_;
  buffer data_;
};

/// An open file: owns its descriptor; positional, no hidden cursor, no order between operations
/// but what the caller awaits. Any number may be in flight.
///
/// Threads: operations may be started from any thread and complete on the context's; `close`, the
/// destructor and moving are for the context's thread (or before it has run).
///
/// Lifetime: spans are borrowed until the operation completes; buffers passed by value travel and
/// come back. A sender is awaited while its file lives and has not been closed.
///
/// Closing with operations in flight: `close()` waits for them, then closes. The destructor closes
/// at once if there are none, else when the last one finishes; it cannot report an error. So a late
/// operation never hits a reused descriptor number.
///
/// Errors are those of the system call named at each member; EBADF also after `close`; ECANCELED
/// when the context shuts down.
class file {
 public:
  /// Closed: operations yield EBADF.
  file() noexcept = default;
  /// Adopts an open descriptor, asking fcntl(2) once whether it is O_DIRECT. Throws std::bad_alloc.
  file(io_context& context, int fd);
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  file(file&& other) noexcept;
  file& operator=(file&& other) noexcept;
  ~file();

  bool is_open() const noexcept { return state_ != nullptr; }
  /// The descriptor, still owned by the file; -1 when closed.
  int native_handle() const noexcept;
  /// The context on which its operations complete. The file is not closed.
  io_context& context() const noexcept;

  /// pread(2): yields bytes read; fewer than asked at the end of the file or by chance; 0 at its
  /// end. One transfer moves at most `transfer_max` bytes.
  io_sender read_at(std::span<std::byte> memory, std::uint64_t offset) noexcept;
  /// pwrite(2): yields bytes written, maybe fewer than asked.
  io_sender write_at(std::span<const std::byte> memory, std::uint64_t offset) noexcept;

  /// The same with a buffer that travels: `auto [n, b] = co_await f.read_at(std::move(b), 0);`
  buffer_sender read_at(buffer data, std::uint64_t offset) noexcept;
  buffer_sender write_at(buffer data, std::uint64_t offset) noexcept;

  /// preadv(2), pwritev(2): the array, too, is borrowed until completion; at most IOV_MAX (1024)
  /// elements, else EINVAL.
  io_sender readv_at(std::span<const iovec> memory, std::uint64_t offset) noexcept;
  io_sender writev_at(std::span<const iovec> memory, std::uint64_t offset) noexcept;

  /// Reads the whole span, resuming after short reads. Fails with `errc::short_read` where the
  /// file ends before; `transferred` says how many bytes had been moved, here and on any failure.
  whole_sender read_exactly_at(std::span<std::byte> memory, std::uint64_t offset) noexcept;
  /// Writes the whole span, resuming after short writes; `transferred` as above.
  whole_sender write_all_at(std::span<const std::byte> memory, std::uint64_t offset) noexcept;

  /// fsync(2): what was written before, by awaited writes, is durable, with all metadata.
  io_void_sender sync() noexcept;
  /// fdatasync(2): the same, with only the metadata needed to read the data back.
  io_void_sender datasync() noexcept;
  /// statx(2).
  stat_sender stat() noexcept;
  /// ftruncate(2): makes the file `size` bytes long.
  io_void_sender truncate(std::uint64_t size) noexcept;
  /// fallocate(2) with mode 0: disk space for the range, extending the file if needed. EOPNOTSUPP
  /// where the file system cannot.
  io_void_sender allocate(std::uint64_t offset, std::uint64_t length) noexcept;
  /// close(2), after every operation in flight has completed. The file is closed for the caller
  /// as soon as this is called; the sender must be awaited, or the descriptor is closed by its
  /// destruction without report.
  close_sender close() noexcept;

 private:
  friend class detail::open_awaiter;
  explicit file(detail::file_state* state) noexcept : state_(state) {}
  request on_this(request what) const noexcept;
  io_context* context_or_null() const noexcept;

  detail::file_state* state_ = nullptr;
};

/// A description like `io_sender`, of a file's close; yields `result<void>`. Owns what it closes.
class [[nodiscard("await it to close in order and hear of errors")]] close_sender {
 public:
  explicit close_sender(detail::file_state* file) noexcept : file_(file) {}
  close_sender(const close_sender&) = delete;
  close_sender& operator=(const close_sender&) = delete;
  close_sender(close_sender&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
  close_sender& operator=(close_sender&&) = delete;
  ~close_sender();
  detail::close_awaiter operator co_await() && noexcept {
    return detail::close_awaiter{std::exchange(file_, nullptr)};
  }

 private:
  detail::file_state* file_;
};

/// A description like `io_sender`, of openat(2); yields `result<file>`. Holds a copy of the path.
class [[nodiscard("a sender does nothing until it is awaited")]] open_sender {
 public:
  open_sender(io_context& context, std::string_view path, const open_options& options)
      : context_(&context), path_(path), options_(options) {}
  detail::open_awaiter operator co_await() && noexcept {
    return {*context_, std::move(path_), options_};
  }

 private:
  io_context* context_;
  std::string path_;
  open_options options_;
};

/// Opens a file: yields `result<file>`. Errors are those of openat(2); EINVAL also where neither
/// read nor write is asked for, or the path holds a NUL. A relative path is resolved when the
/// operation is carried out. An open that was cancelled too late closes its descriptor.
inline open_sender open(io_context& context, std::string_view path, open_options options = {}) {
  return {context, path, options};
}

/// The same for std::filesystem::path, without including <filesystem>.
template <class Path>
  requires requires(const Path& path) {
    { path.native() } -> std::convertible_to<std::string_view>;
  }
open_sender open(io_context& context, const Path& path, open_options options = {}) {
  return {context, path.native(), options};
}

}  // namespace weir
