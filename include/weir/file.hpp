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
  bool only_directory = false;  ///< O_DIRECTORY: fail with ENOTDIR where it is anything else
  /// O_NONBLOCK: opening a FIFO or a device does not wait for whoever is at its other end. Without
  /// effect on a regular file.
  bool nonblock = false;
  std::uint32_t mode = 0644;  ///< permission bits of a created file, less the umask
  /// Bits of `resolve`: how the path may be resolved. With any, openat2(2) opens (Linux 5.6).
  std::uint32_t resolve = 0;
  /// Where a relative path begins: an open directory's descriptor, borrowed until the open has
  /// completed; AT_FDCWD for the working directory.
  int directory = -100;
};

/// How a path may be resolved: RESOLVE_* of openat2(2). What is not allowed fails with EXDEV
/// (beneath, no_xdev) or ELOOP (no_symlinks, no_magiclinks).
namespace resolve {
inline constexpr std::uint32_t no_xdev = 0x01;        ///< across no mount point
inline constexpr std::uint32_t no_magiclinks = 0x02;  ///< through none of /proc's magic links
inline constexpr std::uint32_t no_symlinks = 0x04;    ///< through no symbolic link
inline constexpr std::uint32_t beneath = 0x08;        ///< never above `directory`
inline constexpr std::uint32_t in_root = 0x10;        ///< as if `directory` were the root
}  // namespace resolve

/// What must be durable when a write completes.
enum class durability : std::uint8_t {
  none,  ///< nothing: the page cache has it
  data,  ///< these bytes, and what is needed to read them back: RWF_DSYNC, as O_DSYNC
  full,  ///< and all metadata: RWF_SYNC, as O_SYNC
};

/// Policy of one transfer, its optional last argument. `file::capabilities` says beforehand what
/// the file's file system makes of each.
struct io_options {
  durability sync = durability::none;
  /// The page cache is left as it was: RWF_DONTCACHE (Linux 6.14) where the file system has it.
  /// Elsewhere the same by hand, in the same sender: what was read is dropped by posix_fadvise(2);
  /// what was written is written back by sync_file_range(2) first, whose error is the transfer's.
  /// Without effect on a file opened O_DIRECT, and on a pipe or socket.
  bool drop_cache = false;
  /// Yields EAGAIN instead of waiting for the disk: RWF_NOWAIT. Where the file system cannot tell,
  /// EOPNOTSUPP.
  bool nowait = false;
  /// The write is done whole or not at all, also at a power loss: RWF_ATOMIC (Linux 6.11), or
  /// EOPNOTSUPP or EINVAL; never faked. `file::capabilities` says which lengths.
  bool atomic = false;
  /// As for ioprio_set(2): class << 13 | level; 0 is the thread's own.
  std::uint16_t priority = 0;
};

/// What becomes of one policy on one file.
enum class support : std::uint8_t {
  native,    ///< the kernel and the file system do it
  degraded,  ///< weir does what it can instead, as `io_options` says
  refused,   ///< a transfer that asks for it fails
  unknown,   ///< it could not be found out, as on a file that is open for writing only
};

/// What a file's file system, kernel and driver make of `io_options`.
struct file_capabilities {
  support sync = support::unknown;
  support drop_cache = support::unknown;
  support nowait = support::unknown;
  support atomic = support::unknown;
  support priority = support::unknown;
  /// Lengths of an atomic write: powers of two within these bounds, at a multiple of the length;
  /// 0 where atomic writes are refused.
  std::uint32_t atomic_write_min = 0;
  std::uint32_t atomic_write_max = 0;
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

/// What a file's operations are made of; as this, closed.
struct open_file {
  io_context* context = nullptr;
  file_state* state = nullptr;
  std::int32_t fd = -1;
  std::uint8_t hints = 0;
};

/// What stands behind a file; null when it is closed.
file_state* state_of(const file& which) noexcept;

/// A transfer whose policy may take more system calls than its own: see `io_options::drop_cache`.
class policy_operation : public awaited_operation {
 public:
  policy_operation(io_context* context, const request& what, file_state* file,
                   completion when_done) noexcept
      : awaited_operation(context, what, file, when_done) {}

  void begin(continuation next) noexcept;
  operation* stop() noexcept {
    stopped_ = true;
    return this;
  }

 protected:
  /// After a completion: true when the transfer is over with its policy; false when the next call
  /// has been started.
  bool settle() noexcept;
  /// Starts what `args` have become.
  void go_on() noexcept;
  /// `stop` was called: start nothing more.
  bool stopped() const noexcept { return stopped_; }

 private:
  enum class step : std::uint8_t { transfer, write_back, drop };

  bool drops_cache() const noexcept;
  void prepare_transfer() noexcept;
  void step_on(step next) noexcept;
  void remember_failure() noexcept;
  bool settle_transfer() noexcept;
  bool settled_with(std::int32_t answer) noexcept;

  request asked_;  // `args` as they were before the policy's own calls
  std::int32_t moved_ = 0;
  step step_ = step::transfer;
  bool stopped_ = false;
};

class policy_state : public policy_operation {
 public:
  policy_state(io_context* context, const request& what, file_state* file) noexcept
      : policy_operation(context, what, file, &stepped) {}
  bool try_at_once() noexcept { return read_at_once(); }
  result<std::size_t> take() const noexcept { return to_result<std::size_t>(answer()); }

 protected:
  static void stepped(operation& op) noexcept;
};

/// Repeats a transfer until its whole range has been moved.
class whole_state : public policy_operation {
 public:
  whole_state(io_context* context, const request& what, file_state* file) noexcept
      : policy_operation(context, what, file, &stepped), first_offset_(what.offset) {}
  bool try_at_once() noexcept { return read_at_once() && !advance(); }
  bool refuse(std::int32_t why) noexcept;
  void cancellation_means(std::int32_t why) noexcept;
  transfer_result take() const noexcept;

 private:
  static void stepped(operation& op) noexcept;
  bool advance() noexcept;

  std::uint64_t first_offset_;
  std::error_code error_;
};

/// A transfer whose memory belongs to a handle that travels with it. Where that memory is, is asked
/// once the handle has come to rest, here.
template <class Handle>
class handle_state : public policy_state {
 public:
  handle_state(io_context* context, const request& what, file_state* file, Handle&& handle) noexcept
      : policy_state(context, what, file), handle_(std::move(handle)) {
    const auto memory = memory_of(handle_);
    // Writes, too, carry a plain pointer: the kernel reads through it.
    args.address = const_cast<std::byte*>(memory.data());
    args.length = memory.size();
  }
  handle_result<Handle> take() noexcept {
    return {to_result<std::size_t>(answer()), std::move(handle_)};
  }

 private:
  Handle handle_;
};

class sync_state : public awaited_operation {
 public:
  sync_state(io_context* context, const request& what, file_state* file) noexcept;
  bool ready() const noexcept { return answered_; }
  result<void> take() const noexcept { return to_result<void>(answer()); }

 private:
  static void synced(operation& op) noexcept;

  bool answered_;
};

class stat_state : public awaited_operation {
 public:
  stat_state(io_context* context, const request& what, file_state* file) noexcept;
  result<file_status> take() const noexcept;

 private:
  alignas(8) std::array<std::byte, 256> raw_;  // struct statx
};

/// Asks the questions one after the other.
class capabilities_state : public awaited_operation {
 public:
  capabilities_state(io_context* context, const request& what, file_state* file) noexcept;
  operation* stop() noexcept { return nullptr; }
  result<file_capabilities> take() const noexcept;

 private:
  static void answered(operation& op) noexcept;
  bool ask_next() noexcept;
  support heard() const noexcept;

  file_capabilities found_;
  unsigned question_ = 0;
  std::byte probe_{};
  alignas(8) std::array<std::byte, 256> raw_;  // struct statx
};

class open_state : public awaited_operation {
 public:
  open_state(io_context& context, std::string path, const open_options& options) noexcept;
  open_state(const open_state&) = delete;
  open_state& operator=(const open_state&) = delete;
  /// What was opened and not taken is closed.
  ~open_state();
  bool ready() const noexcept { return refused_; }
  result<file> take() noexcept;

 private:
  std::string path_;
  std::array<std::uint64_t, 3> how_;  // struct open_how
  bool direct_;
  bool appends_;
  bool refused_;
};

class close_state : public awaited_operation {
 public:
  explicit close_state(file_state* file) noexcept;
  void begin(continuation next) noexcept;
  operation* stop() noexcept { return nullptr; }
  bool refuse(std::int32_t) noexcept { return false; }
  result<void> take() const noexcept { return to_result<void>(answer()); }

 private:
  static void closed(operation& op) noexcept;

  bool on_its_way_ = false;  // to the context's thread
};

/// A sender that is its state's arguments and nothing more.
template <class State>
class [[nodiscard("a sender does nothing until it is awaited or started")]] file_sender
    : public sender_interface<file_sender<State>> {
 public:
  using state_type = State;
  using value_type = decltype(std::declval<State&>().take());

  file_sender(io_context* context, const request& what, file_state* file) noexcept
      : context_(context), file_(file), what_(what) {}
  io_context* context() const noexcept { return context_; }
  state_type prepare() const noexcept { return State{context_, what_, file_}; }

 private:
  io_context* context_;
  file_state* file_;
  request what_;
};

}  // namespace detail

/// Descriptions like `io_sender`: of a transfer with a policy, yielding `result<std::size_t>`;
using policy_sender = detail::file_sender<detail::policy_state>;
/// of one that is resumed after short transfers, yielding `transfer_result`;
using whole_sender = detail::file_sender<detail::whole_state>;
/// of fsync(2) or fdatasync(2), yielding `result<void>`;
using sync_sender = detail::file_sender<detail::sync_state>;
/// of statx(2), yielding `result<file_status>`;
using stat_sender = detail::file_sender<detail::stat_state>;
/// of several questions, yielding `result<file_capabilities>`.
using capabilities_sender = detail::file_sender<detail::capabilities_state>;

/// A description like `io_sender`, holding a handle that comes back in its `handle_result`,
/// whether the transfer succeeds or fails.
template <class Handle>
class [[nodiscard("a sender does nothing until it is awaited or started")]] handle_sender
    : public detail::sender_interface<handle_sender<Handle>> {
 public:
  using value_type = handle_result<Handle>;
  using state_type = detail::handle_state<Handle>;

  handle_sender(io_context* context, const request& what, detail::file_state* file,
                Handle&& handle) noexcept
      : context_(context), file_(file), what_(what), handle_(std::move(handle)) {}
  handle_sender(const handle_sender&) = delete;  // a copied handle would be other memory
  handle_sender& operator=(const handle_sender&) = delete;
  handle_sender(handle_sender&&) noexcept = default;
  handle_sender& operator=(handle_sender&&) noexcept = default;
  ~handle_sender() = default;

  io_context* context() const noexcept { return context_; }
  state_type prepare() && noexcept { return {context_, what_, file_, std::move(handle_)}; }

 private:
  io_context* context_;
  detail::file_state* file_;
  request what_;
  Handle handle_;
};

using buffer_sender = handle_sender<buffer>;

/// An open file: owns its descriptor; positional, no hidden cursor, no order between operations
/// but what the caller awaits. Any number may be in flight.
///
/// Threads: operations, `close` too, may be started from any thread and complete on the context's;
/// the destructor of an open file and moving are for the context's thread (or before it has run).
///
/// Lifetime: spans are borrowed until the operation completes; handles that are moved in travel and
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

  bool is_open() const noexcept { return open_.state != nullptr; }
  /// The descriptor, still owned by the file; -1 when closed.
  int native_handle() const noexcept { return open_.fd; }
  /// The context on which its operations complete. The file is not closed.
  io_context& context() const noexcept { return *open_.context; }

  /// pread(2): yields bytes read; fewer than asked at the end of the file or by chance; 0 at its
  /// end. One transfer moves at most `transfer_max` bytes.
  io_sender read_at(std::span<std::byte> memory, std::uint64_t offset) noexcept {
    return transfer(opcode::read, memory.data(), memory.size(), offset);
  }
  /// pwrite(2): yields bytes written, maybe fewer than asked.
  io_sender write_at(std::span<const std::byte> memory, std::uint64_t offset) noexcept {
    // The kernel reads through this plain pointer, and nobody writes.
    return transfer(opcode::write, const_cast<std::byte*>(memory.data()), memory.size(), offset);
  }

  /// The same with a policy.
  policy_sender read_at(std::span<std::byte> memory, std::uint64_t offset,
                        const io_options& options) noexcept;
  policy_sender write_at(std::span<const std::byte> memory, std::uint64_t offset,
                         const io_options& options) noexcept;

  /// The same with memory that travels, a buffer or any other `memory_handle`, and comes back in
  /// success and in failure: `auto [n, b] = co_await f.read_at(std::move(b), 0);`
  template <class Handle>
    requires writable_memory_handle<Handle>
  handle_sender<Handle> read_at(Handle&& handle, std::uint64_t offset,
                                const io_options& options = {}) noexcept {
    const request what = on_this({.op = opcode::read, .offset = offset}, options);
    return {open_.context, what, open_.state, std::forward<Handle>(handle)};
  }
  template <class Handle>
    requires memory_handle<Handle>
  handle_sender<Handle> write_at(Handle&& handle, std::uint64_t offset,
                                 const io_options& options = {}) noexcept {
    const request what = on_this({.op = opcode::write, .offset = offset}, options);
    return {open_.context, what, open_.state, std::forward<Handle>(handle)};
  }

  /// preadv(2), pwritev(2): the array, too, is borrowed until completion; at most IOV_MAX (1024)
  /// elements, else EINVAL.
  io_sender readv_at(std::span<const iovec> memory, std::uint64_t offset) noexcept;
  io_sender writev_at(std::span<const iovec> memory, std::uint64_t offset) noexcept;
  policy_sender readv_at(std::span<const iovec> memory, std::uint64_t offset,
                         const io_options& options) noexcept;
  policy_sender writev_at(std::span<const iovec> memory, std::uint64_t offset,
                          const io_options& options) noexcept;

  /// Reads the whole span, resuming after short reads. Fails with `errc::short_read` where the
  /// file ends before; `transferred` says how many bytes had been moved, here and on any failure.
  whole_sender read_exactly_at(std::span<std::byte> memory, std::uint64_t offset,
                               const io_options& options = {}) noexcept;
  /// Writes the whole span, resuming after short writes; `transferred` as above.
  whole_sender write_all_at(std::span<const std::byte> memory, std::uint64_t offset,
                            const io_options& options = {}) noexcept;

  /// fsync(2): what was written before, by awaited writes, is durable, with all metadata.
  ///
  /// After a sync that failed, every later one on this file fails with the same error: the kernel
  /// reports a lost write once and then forgets it, so a second fsync(2) that succeeds proves
  /// nothing. Read the data back through a file opened anew, or write it again elsewhere. A write
  /// with `durability` that fails with EIO, ENOSPC or EDQUOT counts as a sync that failed.
  sync_sender sync() noexcept;
  /// fdatasync(2): the same, with only the metadata needed to read the data back.
  sync_sender datasync() noexcept;
  /// sync_file_range(2) with SYNC_FILE_RANGE_* `flags`: starts or awaits writing a range back. No
  /// durability: it writes no metadata and flushes no disk cache. An error counts as a failed sync.
  sync_sender sync_range(std::uint64_t offset, std::uint64_t length, unsigned flags) noexcept;
  /// statx(2).
  stat_sender stat() noexcept;
  /// ftruncate(2): makes the file `size` bytes long.
  io_void_sender truncate(std::uint64_t size) noexcept;
  /// fallocate(2) with mode 0: disk space for the range, extending the file if needed. EOPNOTSUPP
  /// where the file system cannot.
  io_void_sender allocate(std::uint64_t offset, std::uint64_t length) noexcept;
  /// The same with FALLOC_FL_* of fallocate(2): keep the size, punch holes, collapse, zero.
  io_void_sender allocate(std::uint64_t offset, std::uint64_t length, unsigned mode) noexcept;
  /// posix_fadvise(2) with POSIX_FADV_*: what to expect of a range; length 0 is up to the end.
  io_void_sender advise(std::uint64_t offset, std::uint64_t length, int advice) noexcept;
  /// fgetxattr(2): yields the size of the extended attribute, whose bytes are in `value`; ERANGE
  /// where that is too small, ENODATA where there is none. With an empty span, only the size. The
  /// name, "user.…", is borrowed and ends in NUL.
  io_sender get_attribute(const char* name, std::span<std::byte> value) noexcept;
  /// fsetxattr(2) with XATTR_* `flags`: 0 creates or replaces.
  io_void_sender set_attribute(const char* name, std::span<const std::byte> value,
                               unsigned flags = 0) noexcept;
  /// What becomes of each of `io_options` on this file: by statx(2), and by reading beyond its end.
  capabilities_sender capabilities() noexcept;

  /// Cancels every operation on this file that is in flight when it begins; what the kernel did
  /// wins, as with `cancel_request`. Yields success once each has been told.
  io_void_sender cancel() const noexcept;
  /// close(2), after every operation in flight has completed. The file is closed for the caller
  /// as soon as this is called; the sender must be awaited, or the descriptor is closed by its
  /// destruction without report.
  close_sender close() noexcept;

 private:
  friend class detail::open_state;
  friend detail::file_state* detail::state_of(const file& which) noexcept;
  explicit file(detail::file_state& state) noexcept;
  request on_this(request what) const noexcept;
  request on_this(request what, const io_options& options) const noexcept;
  // Here, so that the compiler writes a request once, where the operation will be.
  io_sender transfer(opcode op, void* memory, std::size_t length,
                     std::uint64_t offset) const noexcept {
    return {open_.context,
            {.op = op,
             .hints = open_.hints,
             .fd = open_.fd,
             .address = memory,
             .offset = offset,
             .length = length},
            open_.state};
  }

  detail::open_file open_;
};

/// A description like `io_sender`, of a file's close; yields `result<void>`. Owns what it closes.
class [[nodiscard("await it to close in order and hear of errors")]] close_sender
    : public detail::sender_interface<close_sender> {
 public:
  using value_type = result<void>;
  using state_type = detail::close_state;

  explicit close_sender(io_context* context, detail::file_state* file) noexcept
      : context_(context), file_(file) {}
  close_sender(const close_sender&) = delete;
  close_sender& operator=(const close_sender&) = delete;
  close_sender(close_sender&& other) noexcept
      : context_(other.context_), file_(std::exchange(other.file_, nullptr)) {}
  close_sender& operator=(close_sender&&) = delete;
  ~close_sender();
  io_context* context() const noexcept { return context_; }
  state_type prepare() && noexcept { return state_type{std::exchange(file_, nullptr)}; }

 private:
  io_context* context_;
  detail::file_state* file_;
};

/// A description like `io_sender`, of openat(2); yields `result<file>`. Holds a copy of the path.
class [[nodiscard("a sender does nothing until it is awaited or started")]] open_sender
    : public detail::sender_interface<open_sender> {
 public:
  using value_type = result<file>;
  using state_type = detail::open_state;

  open_sender(io_context& context, std::string_view path, const open_options& options)
      : context_(&context), path_(path), options_(options) {}
  io_context* context() const noexcept { return context_; }
  state_type prepare() && noexcept { return {*context_, std::move(path_), options_}; }

 private:
  io_context* context_;
  std::string path_;
  open_options options_;
};

/// Opens a file: yields `result<file>`. Errors are those of openat(2); EINVAL also where neither
/// read nor write is asked for, or the path holds a NUL. A relative path is resolved when the
/// operation is carried out. An open that was cancelled too late yields the file; nobody takes it,
/// and its descriptor is closed.
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
