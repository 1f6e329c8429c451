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
  cancel,     ///< withdraws the operation at `address`; see `cancel_request`
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

/// One file operation as plain data: copied, compared and sent by value.
///
/// Memory that `address` (and, for statx, `offset`) points to is borrowed: it stays valid and
/// unmoved until the operation has completed. Offsets and lengths are bytes; an offset from which a
/// transfer could end above 2^63 - 1 is answered with EINVAL. On a descriptor that cannot seek the
/// offset is ignored. A transfer completes when it has been done, also on an O_NONBLOCK descriptor;
/// EAGAIN is the answer only if it asks not to wait (RWF_NOWAIT in `flags`).
struct request {
  opcode op = opcode::nop;
  std::uint8_t hints = 0;      ///< bits of `hint`
  std::uint16_t priority = 0;  ///< ioprio_set(2) value; 0 is the thread's own priority
  std::int32_t fd = -1;
  std::uint32_t flags = 0;  ///< RWF_* of a transfer, O_* of openat, AT_* of statx
  std::uint32_t mode = 0;   ///< permissions of openat, mask of statx, FALLOC_FL_* of fallocate
  void* address = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  friend bool operator==(const request&, const request&) = default;
};

static_assert(sizeof(request) == 40);

}  // namespace weir
