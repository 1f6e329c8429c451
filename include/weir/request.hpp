#pragma once

#include <cstdint>

namespace weir {

/// What a request asks for. Each opcode names the system call whose result it reports; a driver
/// carries it out natively or through `perform` (src/perform.cc), with the same answer either way.
enum class opcode : std::uint8_t {
  nop,        ///< nothing; completes with 0
  read,       ///< pread(2) into `address`, `length` bytes at `offset`
  write,      ///< pwrite(2) from `address`, `length` bytes at `offset`
  readv,      ///< preadv2(2): `address` is an array of `length` iovec
  writev,     ///< pwritev2(2): `address` is an array of `length` iovec
  fsync,      ///< fsync(2)
  fdatasync,  ///< fdatasync(2)
  openat,  ///< openat(2): `fd` directory, `address` path, `flags` O_*, `mode`; answers a descriptor
  close,   ///< close(2)
  statx,   ///< statx(2): `fd` directory, `address` path, `flags` AT_*, `mode` mask, `offset` &statx
  ftruncate,  ///< ftruncate(2) to `offset` bytes
  fallocate,  ///< fallocate(2): `mode` FALLOC_FL_*, `offset`, `length`
  openat2,    ///< openat2(2): `fd` directory, `address` path, `offset` &open_how of `length` bytes
  renameat,   ///< renameat2(2): `fd`, `address` the old path; `mode`, `offset` the new; `flags`
  unlinkat,   ///< unlinkat(2): `fd` directory, `address` path, `flags` AT_REMOVEDIR
  mkdirat,    ///< mkdirat(2): `fd` directory, `address` path, `mode`
  linkat,     ///< linkat(2): `fd`, `address` the old path; `mode`, `offset` the new; `flags` AT_*
  symlinkat,  ///< symlinkat(2): `address` the target; `mode`, `offset` the link's path
  fadvise,    ///< posix_fadvise(2): `offset`, `length`, `flags` POSIX_FADV_*
  madvise,    ///< madvise(2): `address`, `length`, `flags` MADV_*
  sync_file_range,  ///< sync_file_range(2): `offset`, `length`, `flags` SYNC_FILE_RANGE_*
  splice,           ///< splice(2): see `two_files`; `flags` SPLICE_F_*
  copy_file_range,  ///< copy_file_range(2): see `two_files`
  getdents,         ///< getdents64(2) into `address`, `length` bytes; answers bytes
  fgetxattr,        ///< fgetxattr(2): `offset` &name, `address` value, `length`; answers its size
  fsetxattr,        ///< fsetxattr(2): the same, `flags` XATTR_*
  /// poll(2) for `flags`; answers what is so. Takes no room in the queue; `length` is the driver's
  /// own while in flight.
  poll,
  /// Nothing, until CLOCK_MONOTONIC is at `offset` nanoseconds; completes with 0. Takes no room in
  /// the queue; `length` is the driver's own while in flight.
  timeout,
  /// A hint: transfers within the `length` bytes at `address` will come again and again. io_uring
  /// then keeps the pages pinned (IORING_REGISTER_BUFFERS); its errno where it will not.
  register_memory,
  forget_memory,  ///< the end of that hint; no transfer within is in flight
  cancel,         ///< withdraws the operation at `address`; see `cancel_request`
};

/// How many opcodes there are, for tables with a row for each.
inline constexpr unsigned opcode_count = static_cast<unsigned>(opcode::cancel) + 1;

/// Hints: what the starter knows about the descriptor and a driver cannot see cheaply.
/// A missing hint costs speed, never correctness.
namespace hint {
/// The descriptor was opened O_DIRECT, so Linux AIO carries transfers on it truly asynchronously.
inline constexpr std::uint8_t direct = 1;
}  // namespace hint

/// The most bytes that one read or write moves: Linux stops there (MAX_RW_COUNT, read(2)), so a
/// longer request is answered with a short transfer, the same one on every driver.
inline constexpr std::uint64_t transfer_max = 0x7ffff000;

/// How `splice` and `copy_file_range` name two files: from `fd` at `offset` to the descriptor in
/// `mode` at the offset in `address`, at most `length` bytes. `no_offset` is for a pipe, which has
/// none.
inline constexpr std::uint64_t no_offset = UINT64_MAX;

/// One file operation as plain data: copied, compared and sent by value.
///
/// Memory that `address` (and, where it says so, `offset`) points to is borrowed: it stays valid
/// and unmoved until the operation has completed. Offsets and lengths are bytes; an offset from
/// which a transfer could end above 2^63 - 1 is answered with EINVAL. On a descriptor that cannot
/// seek the offset is ignored. A transfer completes when it has been done, also on an O_NONBLOCK
/// descriptor; EAGAIN is the answer only if it asks not to wait (RWF_NOWAIT in `flags`).
struct request {
  opcode op = opcode::nop;
  std::uint8_t hints = 0;      ///< bits of `hint`
  std::uint16_t priority = 0;  ///< ioprio_set(2) value; 0 is the thread's own priority
  std::int32_t fd = -1;
  std::uint32_t flags = 0;  ///< RWF_* of a transfer, O_* of openat, otherwise as `opcode` says
  std::uint32_t mode = 0;   ///< as `opcode` says; a second descriptor, cast, where there is one
  void* address = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  friend bool operator==(const request&, const request&) = default;
};

static_assert(sizeof(request) == 40);

}  // namespace weir
