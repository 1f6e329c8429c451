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

  openat2,    ///< openat2(2): `fd` directory, `address` path, `offset` &open_how, `length` its size
  renameat,   ///< renameat2(2): `fd` and `address` the old path, second place the new; RENAME_*
  unlinkat,   ///< unlinkat(2): `fd` directory, `address` path, `flags` AT_REMOVEDIR
  mkdirat,    ///< mkdirat(2): `fd` directory, `address` path, `mode`
  linkat,     ///< linkat(2): `fd` and `address` the old path, second place the new; `flags` AT_*
  symlinkat,  ///< symlinkat(2): `address` the target's text, second place the link's path

  fadvise,          ///< posix_fadvise(2): `offset`, `length`, `flags` POSIX_FADV_*
  madvise,          ///< madvise(2): `address`, `length`, `flags` MADV_*
  sync_file_range,  ///< sync_file_range(2): `offset`, `length`, `flags` SYNC_FILE_RANGE_*
  splice,           ///< splice(2), between two files: see `request`; `flags` SPLICE_F_*
  copy_file_range,  ///< copy_file_range(2), between two files; `flags` 0
  clone_range,      ///< ioctl_ficlonerange(2), between two files; `length` 0 is to the end
  getdents,         ///< getdents64(2) into `address`, `length` bytes; answers bytes, 0 at the end
  fgetxattr,  ///< fgetxattr(2): `offset` the name's address; the value into `address`, `length`
  fsetxattr,  ///< fsetxattr(2): `offset` the name's address; the value; `flags` XATTR_*

  poll,     ///< poll(2) of `fd` for `flags` POLL*; answers the ready events, see `request`
  timeout,  ///< clock_nanosleep(2): answers 0 once CLOCK_MONOTONIC has reached `offset` nanoseconds

  register_memory,  ///< a hint: transfers within `address`, `length` may be set up once for all
  forget_memory,    ///< takes back `register_memory`, given the same; nothing is in flight there

  cancel,  ///< withdraws the operation at `address`; see `cancel_request`
};

/// How many opcodes there are, for tables with a row for each.
inline constexpr unsigned opcode_count = static_cast<unsigned>(opcode::cancel) + 1;

/// Whether an operation counts against the queue depth. What waits for the outside world, and what
/// withdraws others, does not: it would hold up file I/O.
constexpr bool takes_room(opcode op) noexcept {
  return op != opcode::poll && op != opcode::timeout && op != opcode::cancel;
}

/// Hints: what the starter knows about the descriptor and a driver cannot see cheaply.
/// A missing hint costs speed, never correctness.
namespace hint {
/// The descriptor was opened O_DIRECT, so Linux AIO carries transfers on it truly asynchronously.
inline constexpr std::uint8_t direct = 1;
/// The file's content is memory, as on tmpfs: to read it takes no waiting for a disk.
inline constexpr std::uint8_t memory = 2;
}  // namespace hint

/// The most bytes that one transfer moves, `splice` and `copy_file_range` included: Linux stops
/// there (MAX_RW_COUNT, read(2)), so a longer request is answered with a short transfer, the same
/// one on every driver.
inline constexpr std::uint64_t transfer_max = 0x7ffff000;

/// One file operation as plain data: copied, compared and sent by value.
///
/// Memory that `address`, or an address in `offset`, points to is borrowed: it stays valid and
/// unmoved until the operation has completed. Offsets and lengths are bytes; an offset from which a
/// transfer could end above 2^63 - 1 is answered with EINVAL. On a descriptor that cannot seek the
/// offset is ignored. A transfer completes when it has been done, also on an O_NONBLOCK descriptor;
/// EAGAIN is the answer only if it asks not to wait (RWF_NOWAIT in `flags`, SPLICE_F_NONBLOCK).
///
/// Operations on two places. Of paths, the second is `mode`, a directory's descriptor (AT_FDCWD),
/// and `offset`, the address of the path. Of files, `fd` and `offset` are read from, `mode`, a
/// descriptor, and `address`, a number, written to; an offset of all ones is none: the file's own
/// position, or what has none (a pipe).
///
/// `poll` waits for the events in `flags`, the 16 bits of poll(2), for an error (POLLERR) and for
/// the other side's end (POLLHUP), and answers those that hold, more than 0. It does not consume
/// them. What can never become ready, as a file on a disk for POLLPRI, is EINVAL; no descriptor is
/// EBADF. The descriptor may be closed meanwhile: the poll keeps the file.
///
/// `poll` and `timeout` wait for the outside world, and use up nothing that the others need: they
/// are not counted against the queue depth, and occupy no thread. While in flight their `length` is
/// the driver's own.
///
/// `register_memory` never changes what a transfer does. 0 says that transfers that lie within that
/// memory are cheaper from now on, or that this driver has nothing to do for it; an error that they
/// stay as they were: ENOMEM (RLIMIT_MEMLOCK), E2BIG (more than 1 GiB), EEXIST (it overlaps a
/// region), ENOSPC (there are 64), EFAULT (it cannot be written to), EINVAL (before Linux 5.13).
/// Until it is forgotten, the memory stays mapped where it is. Both are done on the context's own
/// thread, in a time that grows with the memory: at the start of a program, rather than within it.
struct request {
  opcode op = opcode::nop;
  std::uint8_t hints = 0;      ///< bits of `hint`
  std::uint16_t priority = 0;  ///< ioprio_set(2) value; 0 is the thread's own priority
  std::int32_t fd = -1;
  std::uint32_t flags = 0;  ///< RWF_* of a transfer, O_* of openat, AT_* of statx; see `opcode`
  std::uint32_t mode = 0;   ///< permissions, mask of statx, FALLOC_FL_*, or a second descriptor
  void* address = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  friend bool operator==(const request&, const request&) = default;
};

static_assert(sizeof(request) == 40);

}  // namespace weir
