#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "weir/file_system.hpp"
#include "weir/task.hpp"

/// What a storage engine needs: writes that are durable when they are answered, and files that are
/// created or replaced so that a crash at any moment leaves the old or the new.
///
/// All are tasks (one allocation for the frame, and more as said). They may be awaited on any
/// thread, and go on and end on the context's. Memory and descriptors that they are given are
/// borrowed until they have ended; paths are copied. A task in flight must not be destroyed, as
/// ever; it is cancelled by `file::cancel`, `io_context::cancel_all` or the context's end.
namespace weir {

/// Bytes, and where in the file they go.
struct pending_write {
  std::span<const std::byte> bytes;
  std::uint64_t offset = 0;
};

/// Writes all of `writes`, in no order, so they must not overlap; each is resumed after a short
/// write. When all are done, a barrier makes them durable: with `durability::data` fdatasync(2),
/// with `full` fsync(2), with `none` nothing. Yields the number of bytes written.
///
/// Commits on one file that are under way together share barriers: while one is in flight, those
/// whose writes are done wait for the next, and that one serves them all. A barrier serves only
/// writes that were done before it began. One write, when no other commit is under way on the file,
/// carries its own barrier (RWF_DSYNC, RWF_SYNC), also when it has to be resumed: one system call.
/// Without writes only the barrier is left: for what has been written, and awaited, before.
///
/// On failure `transferred` says how many bytes had been written, of all writes together; whether
/// they are durable is not known. Errors: those of the write, whereupon there is no barrier for
/// this commit (others are not affected); those of the barrier, for each commit that it served;
/// EBADF for a closed file; EINVAL for one opened O_APPEND, where offsets say nothing.
///
/// A barrier that fails with EIO, ENOSPC or EDQUOT poisons the file, as a failed `file::sync` does,
/// and as that poisons commits: the kernel tells of lost writes once, so from then on every commit
/// yields the same error, and writes nothing. A write that carries its own barrier cannot tell
/// which of the two has failed, so it poisons as well, also where the disk is merely full. Open the
/// file anew and read back what is there.
///
/// The file may be closed or destroyed as soon as this has begun; its descriptor is closed when the
/// commit has ended. Allocates in addition: once for each file what its commits share, and a few
/// vectors where there are several writes. Throws std::bad_alloc; whether anything was written is
/// not known then.
task<transfer_result> commit(file& target, std::vector<pending_write> writes,
                             durability how = durability::data);
/// The same for one.
task<transfer_result> commit(file& target, std::span<const std::byte> bytes, std::uint64_t offset,
                             durability how = durability::data);

/// fsync(2) of a directory: what was created, renamed and removed in it before is durable. Errors:
/// those of openat(2), ENOTDIR among them, and of fsync(2); EINVAL where the file system cannot.
task<result<void>> sync_directory(io_context& context, path_view path,
                                  int directory = working_directory);

/// Creates a file, syncs it, and syncs its directory, so that it is there after a crash. O_CREAT
/// and O_EXCL are always set: EEXIST where there is something, also a symbolic link. On failure
/// what was created is removed again. Errors: those of openat(2) for the directory and the file,
/// and of fsync(2). The directory must be readable.
task<result<file>> create_durably(io_context& context, path_view path,
                                  open_options options = {.write = true});

/// Whether a file was replaced; if not, or not for good, why.
struct replace_result : result<void> {
  replace_result(const result<void>& outcome, bool is_replaced) noexcept
      : result<void>(outcome), replaced(is_replaced) {}

  /// The name leads to the new file. With an error: but a crash may bring the old one back.
  bool replaced;
};

struct replace_options {
  std::uint32_t mode = 0644;          ///< permission bits of the new file, less the umask
  int directory = working_directory;  ///< where the path begins, if relative
};

/// Makes `bytes` the whole contents of the file at `path`, atomically and durably, whether there
/// was one before or not. Whoever opens the path finds the old file or the new one, whole; after
/// success the new one, also after a crash.
///
/// Writes a temporary file in the same directory (".weir-" and 16 hexadecimal digits, O_EXCL),
/// syncs and closes it, renames it over `path`, and syncs the directory. So the file is a new one,
/// owned by this process: hard links and open descriptors keep the old one; a symbolic link at
/// `path` is itself replaced, and what it led to is left alone.
///
/// Errors, `replaced` false: those of openat(2), write(2), fsync(2), close(2) and rename(2), EINVAL
/// for a path that ends in a slash or holds a NUL, EISDIR for a directory. The old file is as it
/// was, and the temporary one has been removed (unless that failed, too: a crash also leaves it
/// behind). The directory must be readable and writable.
///
/// Errors, `replaced` true: the directory's fsync(2) failed or was cancelled. The new contents are
/// complete and visible to all, but a crash may bring the old back, whole. After ECANCELED
/// `sync_directory` settles that; after EIO a second fsync(2) proves nothing: replace again.
task<replace_result> replace_file(io_context& context, path_view path,
                                  std::span<const std::byte> bytes, replace_options options = {});

}  // namespace weir
