#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/buffer.hpp"
#include "weir/file.hpp"
#include "weir/sender.hpp"

namespace weir {

/// The path that a function below is given: anything that converts to std::string_view, or has a
/// native() that does (std::filesystem::path, without including <filesystem>). Only for the call:
/// what the functions make holds a copy.
class path_view {
 public:
  template <class Path>
    requires std::convertible_to<const Path&, std::string_view>
  path_view(const Path& path) : text_(path) {}
  template <class Path>
    requires(!std::convertible_to<const Path&, std::string_view>) && requires(const Path& path) {
      { path.native() } -> std::convertible_to<std::string_view>;
    }
  path_view(const Path& path) : text_(path.native()) {}

  std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// Where relative paths begin when no directory's descriptor is given: AT_FDCWD.
inline constexpr int working_directory = -100;

/// What `rename` does where there is something at the new path already.
enum class rename_mode : std::uint8_t {
  replace,     ///< takes its place, atomically; rename(2) says what may replace what
  no_replace,  ///< EEXIST: RENAME_NOREPLACE
  exchange,    ///< the two change places, atomically; ENOENT where there is none: RENAME_EXCHANGE
};

struct rename_options {
  rename_mode mode = rename_mode::replace;
  int from_directory = working_directory;  ///< where the old path begins, if relative
  int to_directory = working_directory;    ///< where the new path begins, if relative
};

struct link_options {
  bool follow = false;  ///< links what a symbolic link leads to, not itself: AT_SYMLINK_FOLLOW
  int from_directory = working_directory;  ///< where the existing path begins, if relative
  int to_directory = working_directory;    ///< where the new path begins, if relative
};

/// What a directory says an entry is, without looking at the file. `unknown` where the file system
/// does not say: ask `symlink_status`.
enum class entry_type : std::uint8_t {
  unknown,
  regular,
  directory,
  symlink,
  block_device,
  character_device,
  fifo,
  socket,
};

/// One name in a directory.
struct directory_entry {
  std::string name;
  entry_type type = entry_type::unknown;
  std::uint64_t inode = 0;
};

class directory_reader;

namespace detail {

/// What is asked, with the paths that it is asked about. The second is used by those opcodes that
/// have two.
struct request_on_paths {
  request what;
  std::string first;
  std::string second;
};

/// Holds the paths at the addresses that `args` names.
class path_state : public awaited_operation {
 public:
  path_state(io_context& context, request_on_paths asked) noexcept;
  path_state(const path_state&) = delete;
  path_state& operator=(const path_state&) = delete;
  ~path_state() = default;
  bool ready() const noexcept { return refused_; }
  result<void> take() const noexcept { return to_result<void>(answer()); }

 private:
  std::string first_;
  std::string second_;
  bool refused_;  // a path that holds a NUL would name another file
};

class path_status_state : public stat_state {
 public:
  path_status_state(io_context& context, request_on_paths asked) noexcept;
  path_status_state(const path_status_state&) = delete;
  path_status_state& operator=(const path_status_state&) = delete;
  ~path_status_state() = default;
  bool ready() const noexcept { return refused_; }

 private:
  std::string path_;
  bool refused_;
};

class open_directory_state : public open_state {
 public:
  open_directory_state(io_context& context, request_on_paths asked) noexcept
      : open_state(context, std::move(asked.first), options(asked.what.fd)) {}
  result<directory_reader> take() noexcept;

 private:
  static open_options options(int directory) noexcept {
    return {.only_directory = true, .directory = directory};
  }
};

/// One getdents64(2), or more until there is an entry besides "." and "..".
class next_entries_state : public awaited_operation {
 public:
  next_entries_state(io_context* context, const request& what, file_state* file);
  operation* stop() noexcept {
    stopped_ = true;
    return this;
  }
  result<std::vector<directory_entry>> take() noexcept;

 private:
  static void heard(operation& op) noexcept;

  buffer raw_;
  std::vector<directory_entry> entries_;
  bool stopped_ = false;
};

/// Opens, reads to the end, closes.
class list_state : public awaited_operation {
 public:
  list_state(io_context& context, request_on_paths asked);
  list_state(const list_state&) = delete;
  list_state& operator=(const list_state&) = delete;
  ~list_state() = default;
  bool ready() const noexcept { return refused_; }
  operation* stop() noexcept {
    stopped_ = true;
    return this;
  }
  bool refuse(std::int32_t why) noexcept {
    error_ = why;
    return true;
  }
  void cancellation_means(std::int32_t why) noexcept {
    if (error_ == was_cancelled) error_ = why;
  }
  result<std::vector<directory_entry>> take() noexcept;

 private:
  static void stepped(operation& op) noexcept;
  bool go_on() noexcept;
  void read_on() noexcept;
  bool close_after(std::int32_t outcome) noexcept;

  std::string path_;
  buffer raw_;
  std::vector<directory_entry> entries_;
  std::int32_t error_ = 0;
  bool stopped_ = false;
  bool refused_;
};

/// A sender that holds paths.
template <class State>
class [[nodiscard("a sender does nothing until it is awaited or started")]] path_sender
    : public sender_interface<path_sender<State>> {
 public:
  using state_type = State;
  using value_type = decltype(std::declval<State&>().take());

  path_sender(io_context& context, const request& what, path_view first, path_view second = "")
      : context_(&context), asked_{what, std::string(first.text()), std::string(second.text())} {}
  io_context* context() const noexcept { return context_; }
  state_type prepare() && { return State{*context_, std::move(asked_)}; }

 private:
  io_context* context_;
  request_on_paths asked_;
};

}  // namespace detail

/// Descriptions like `io_sender`, holding copies of their paths: of what yields `result<void>`;
using path_sender = detail::path_sender<detail::path_state>;
/// of statx(2), yielding `result<file_status>`;
using path_status_sender = detail::path_sender<detail::path_status_state>;
/// of opening a directory, yielding `result<directory_reader>`;
using open_directory_sender = detail::path_sender<detail::open_directory_state>;
/// of reading a piece of it, yielding `result<std::vector<directory_entry>>`;
using next_entries_sender = detail::file_sender<detail::next_entries_state>;
/// of reading all of it, yielding the same.
using list_sender = detail::path_sender<detail::list_state>;

// For all functions on paths: a relative path begins at the directory whose descriptor is given
// (borrowed until the operation has completed), or at the working directory as it is when the
// operation is carried out. A path with a NUL in it yields EINVAL, and nothing is started. Any
// thread may call them. Nothing here is durable by itself: <weir/commit.hpp> syncs directories.

/// renameat2(2). Errors: EXDEV across file systems, ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR,
/// EINVAL where the file system cannot do `mode` or a directory would move into itself.
path_sender rename(io_context& context, path_view from, path_view to,
                   const rename_options& options = {});
/// unlinkat(2): removes a name, and with the last one, once it is closed everywhere, the file. Of a
/// symbolic link, the link. Errors: ENOENT, EISDIR for a directory, EACCES, EPERM, EBUSY.
path_sender remove_file(io_context& context, path_view path, int directory = working_directory);
/// unlinkat(2) with AT_REMOVEDIR. Errors: ENOTEMPTY, ENOTDIR, ENOENT, EBUSY, EINVAL for ".".
path_sender remove_directory(io_context& context, path_view path,
                             int directory = working_directory);
/// mkdirat(2) with permission bits `mode`, less the umask. Errors: EEXIST, ENOENT, ENOTDIR.
path_sender make_directory(io_context& context, path_view path, std::uint32_t mode = 0755,
                           int directory = working_directory);
/// linkat(2): a further name, `path`, for the file at `existing`. Errors: EEXIST, ENOENT, EXDEV,
/// EMLINK, EPERM for a directory.
path_sender link(io_context& context, path_view existing, path_view path,
                 const link_options& options = {});
/// symlinkat(2): a symbolic link at `path`, which leads to `target`, whether that exists or not. A
/// relative target begins where the link is. Errors: EEXIST, ENOENT, EPERM where there are none.
path_sender symlink(io_context& context, path_view target, path_view path,
                    int directory = working_directory);

/// statx(2) of what `path` leads to. Errors: ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
path_status_sender status(io_context& context, path_view path, int directory = working_directory);
/// The same of a symbolic link itself: AT_SYMLINK_NOFOLLOW.
path_status_sender symlink_status(io_context& context, path_view path,
                                  int directory = working_directory);

/// An open directory, read a piece at a time, so that one of a million entries takes no more memory
/// than one of a thousand.
///
///     result<directory_reader> reader = co_await open_directory(context, path);
///     for (;;) {
///       auto entries = co_await reader->next();
///       if (!entries) co_return entries.error();
///       if (entries->empty()) break;
///       …
///     }
///
/// Each entry that is there throughout is yielded once; of one that is added or removed meanwhile
/// nothing is known. Threads, lifetime and closing are as for `file`. Several `next` at once divide
/// the entries among them.
class directory_reader {
 public:
  /// Closed: `next` yields EBADF.
  directory_reader() noexcept = default;
  /// Reads on from where the descriptor is.
  explicit directory_reader(file opened) noexcept : opened_(std::move(opened)) {}

  /// Some entries, at least one, without "." and ".."; none at the end. getdents64(2) with 64 KiB,
  /// which are allocated for the call. Errors: ENOTDIR, ENOENT for a directory that was removed,
  /// ENOMEM.
  next_entries_sender next() noexcept;
  /// `file::close`.
  close_sender close() noexcept { return opened_.close(); }

  bool is_open() const noexcept { return opened_.is_open(); }
  /// For the functions above that begin at a directory; still owned by the reader.
  int native_handle() const noexcept { return opened_.native_handle(); }

 private:
  file opened_;
};

/// openat(2) with O_DIRECTORY; yields `result<directory_reader>`. Errors: ENOTDIR, ENOENT, EACCES.
open_directory_sender open_directory(io_context& context, path_view path,
                                     int directory = working_directory);

/// Everything in a directory, in no order, without "." and "..": openat(2), getdents64(2),
/// close(2); yields `result<std::vector<directory_entry>>`. All in memory, some 100 bytes an entry;
/// where there may be too many, a `directory_reader`. Errors as there.
list_sender list_directory(io_context& context, path_view path, int directory = working_directory);

// Between two descriptors, which are borrowed until the operation has completed, and on memory.

/// Of what has no offset, as a pipe: the descriptor's own position is used, and moved.
inline constexpr std::uint64_t no_offset = UINT64_MAX;

/// copy_file_range(2): at most `length` bytes between files, by the file system, without a detour
/// through the program; yields the number copied, maybe fewer than asked, 0 at the end of `from`.
/// Errors: EXDEV or EOPNOTSUPP where
/// these two file systems cannot; EINVAL where ranges of one file overlap, or for what is no file.
io_sender copy_range(io_context& context, int from, std::uint64_t from_offset, int to,
                     std::uint64_t to_offset, std::size_t length) noexcept;
/// splice(2) with SPLICE_F_* `flags`: moves at most `length` bytes, where one of the descriptors at
/// least is a pipe's, whose offset is `no_offset`; yields the number moved, 0 at the end of `from`.
/// Errors: EINVAL for no pipe or an O_APPEND file, ESPIPE for a pipe with an offset.
io_sender splice(io_context& context, int from, std::uint64_t from_offset, int to,
                 std::uint64_t to_offset, std::size_t length, unsigned flags = 0) noexcept;
/// madvise(2) with MADV_*: what to expect of, or do with, the whole pages at `memory`, which begins
/// at a page and stays mapped until the operation has completed. Errors: EINVAL, ENOMEM where
/// nothing is mapped, EBADF for advice on files about other memory.
io_void_sender advise_memory(io_context& context, std::span<std::byte> memory, int advice) noexcept;

}  // namespace weir
