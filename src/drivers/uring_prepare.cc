#include "drivers/uring_prepare.hpp"

#include <liburing.h>

#include <algorithm>
#include <utility>

namespace weir::detail {
namespace {

// Linux 6.9; Debian 12's headers end before it.
constexpr std::uint8_t ioring_op_ftruncate = 55;

unsigned transfer_length(const request& what) noexcept {
  return static_cast<unsigned>(std::min(what.length, transfer_max));
}

// What is too many or too long stays so when narrowed, and the kernel says what it always says.
unsigned vector_count(const request& what) noexcept {
  return static_cast<unsigned>(std::min<std::uint64_t>(what.length, INT32_MAX));
}
unsigned narrow_length(const request& what) noexcept {
  return static_cast<unsigned>(std::min<std::uint64_t>(what.length, UINT32_MAX));
}

const char* path_of(const request& what) noexcept { return static_cast<const char*>(what.address); }
int flags_of(const request& what) noexcept { return static_cast<int>(what.flags); }

int second_fd(const request& what) noexcept { return static_cast<int>(what.mode); }
const char* second_path(const request& what) noexcept {
  return reinterpret_cast<const char*>(what.offset);
}

void prepare_transfer(io_uring_sqe* sqe, const request& what, std::uint8_t op, unsigned length) {
  io_uring_prep_rw(op, sqe, what.fd, what.address, length, what.offset);
  sqe->rw_flags = static_cast<__kernel_rwf_t>(what.flags);
  sqe->ioprio = what.priority;
}

void prepare_attribute(io_uring_sqe* sqe, const request& what, std::uint8_t op) {
  io_uring_prep_rw(op, sqe, what.fd, second_path(what), narrow_length(what),
                   reinterpret_cast<std::uintptr_t>(what.address));
  sqe->xattr_flags = what.flags;
}

// liburing's function has no place for a size of its caller's.
void prepare_openat2(io_uring_sqe* sqe, const request& what) {
  io_uring_prep_rw(IORING_OP_OPENAT2, sqe, what.fd, what.address, narrow_length(what), what.offset);
}

void prepare_splice(io_uring_sqe* sqe, const request& what) {
  const auto to = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(what.address));
  io_uring_prep_splice(sqe, what.fd, static_cast<std::int64_t>(what.offset), second_fd(what), to,
                       transfer_length(what), what.flags);
}

// Of many, where it names no operation; since Linux 5.19.
void prepare_cancel(io_uring_sqe* sqe, const request& what) {
  if (what.address != nullptr) return io_uring_prep_cancel(sqe, what.address, 0);
  if (what.fd >= 0) return io_uring_prep_cancel_fd(sqe, what.fd, IORING_ASYNC_CANCEL_ALL);
  io_uring_prep_cancel(sqe, nullptr, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
}

}  // namespace

std::array<bool, opcode_count> native_among(const io_uring_probe& probe,
                                            std::uint64_t missing) noexcept {
  std::array<bool, opcode_count> found{};
  for (unsigned op = 0; op < opcode_count; ++op) {
    const auto wanted = native_opcode(static_cast<opcode>(op));
    found[op] =
        wanted && (missing >> op & 1) == 0 && io_uring_opcode_supported(&probe, *wanted) != 0;
  }
  return found;
}

std::optional<std::uint8_t> native_opcode(opcode op) noexcept {
  switch (op) {
    case opcode::nop:
      return IORING_OP_NOP;
    case opcode::read:
      return IORING_OP_READ;
    case opcode::write:
      return IORING_OP_WRITE;
    case opcode::readv:
      return IORING_OP_READV;
    case opcode::writev:
      return IORING_OP_WRITEV;
    case opcode::fsync:
    case opcode::fdatasync:
      return IORING_OP_FSYNC;
    case opcode::openat:
      return IORING_OP_OPENAT;
    case opcode::close:
      return IORING_OP_CLOSE;
    case opcode::statx:
      return IORING_OP_STATX;
    case opcode::ftruncate:
      return ioring_op_ftruncate;
    case opcode::fallocate:
      return IORING_OP_FALLOCATE;
    case opcode::openat2:
      return IORING_OP_OPENAT2;
    case opcode::renameat:
      return IORING_OP_RENAMEAT;
    case opcode::unlinkat:
      return IORING_OP_UNLINKAT;
    case opcode::mkdirat:
      return IORING_OP_MKDIRAT;
    case opcode::linkat:
      return IORING_OP_LINKAT;
    case opcode::symlinkat:
      return IORING_OP_SYMLINKAT;
    case opcode::fadvise:
      return IORING_OP_FADVISE;
    case opcode::madvise:
      return IORING_OP_MADVISE;
    case opcode::sync_file_range:
      return IORING_OP_SYNC_FILE_RANGE;
    case opcode::splice:
      return IORING_OP_SPLICE;
    case opcode::fgetxattr:
      return IORING_OP_FGETXATTR;
    case opcode::fsetxattr:
      return IORING_OP_FSETXATTR;
    case opcode::poll:
      return IORING_OP_POLL_ADD;
    case opcode::cancel:
      return IORING_OP_ASYNC_CANCEL;
    case opcode::copy_file_range:
    case opcode::clone_range:
    case opcode::getdents:
    case opcode::timeout:
    case opcode::register_memory:
    case opcode::forget_memory:
      return std::nullopt;
  }
  return std::nullopt;
}

// None of these waits inside the submission: what the kernel cannot do at once it leaves to its
// workers, and names, attributes, advice that reads, and splicing it leaves to them always.
void prepare(io_uring_sqe& entry, const request& what) noexcept {
  io_uring_sqe* const sqe = &entry;
  switch (what.op) {
    case opcode::nop:
      return io_uring_prep_nop(sqe);
    case opcode::read:
      return prepare_transfer(sqe, what, IORING_OP_READ, transfer_length(what));
    case opcode::write:
      return prepare_transfer(sqe, what, IORING_OP_WRITE, transfer_length(what));
    case opcode::readv:
      return prepare_transfer(sqe, what, IORING_OP_READV, vector_count(what));
    case opcode::writev:
      return prepare_transfer(sqe, what, IORING_OP_WRITEV, vector_count(what));
    case opcode::fsync:
      return io_uring_prep_fsync(sqe, what.fd, 0);
    case opcode::fdatasync:
      return io_uring_prep_fsync(sqe, what.fd, IORING_FSYNC_DATASYNC);
    case opcode::openat:
      return io_uring_prep_openat(sqe, what.fd, path_of(what), flags_of(what), what.mode);
    case opcode::close:
      return io_uring_prep_close(sqe, what.fd);
    case opcode::statx:
      return io_uring_prep_statx(sqe, what.fd, path_of(what), flags_of(what), what.mode,
                                 reinterpret_cast<struct statx*>(what.offset));
    case opcode::ftruncate:
      return io_uring_prep_rw(ioring_op_ftruncate, sqe, what.fd, nullptr, 0, what.offset);
    case opcode::fallocate:
      return io_uring_prep_fallocate(sqe, what.fd, static_cast<int>(what.mode),
                                     static_cast<off_t>(what.offset),
                                     static_cast<off_t>(what.length));
    case opcode::openat2:
      return prepare_openat2(sqe, what);
    case opcode::renameat:
      return io_uring_prep_renameat(sqe, what.fd, path_of(what), second_fd(what), second_path(what),
                                    what.flags);
    case opcode::unlinkat:
      return io_uring_prep_unlinkat(sqe, what.fd, path_of(what), flags_of(what));
    case opcode::mkdirat:
      return io_uring_prep_mkdirat(sqe, what.fd, path_of(what), what.mode);
    case opcode::linkat:
      return io_uring_prep_linkat(sqe, what.fd, path_of(what), second_fd(what), second_path(what),
                                  flags_of(what));
    case opcode::symlinkat:
      return io_uring_prep_symlinkat(sqe, path_of(what), second_fd(what), second_path(what));
    case opcode::fadvise:
      return io_uring_prep_fadvise(sqe, what.fd, what.offset, static_cast<off_t>(what.length),
                                   flags_of(what));
    case opcode::madvise:
      return io_uring_prep_madvise(sqe, what.address, static_cast<off_t>(what.length),
                                   flags_of(what));
    case opcode::sync_file_range:
      return io_uring_prep_sync_file_range(sqe, what.fd, narrow_length(what), what.offset,
                                           flags_of(what));
    case opcode::splice:
      return prepare_splice(sqe, what);
    case opcode::fgetxattr:
      return prepare_attribute(sqe, what, IORING_OP_FGETXATTR);
    case opcode::fsetxattr:
      return prepare_attribute(sqe, what, IORING_OP_FSETXATTR);
    case opcode::poll:
      return io_uring_prep_poll_add(sqe, what.fd, what.flags);
    case opcode::cancel:
      return prepare_cancel(sqe, what);
    case opcode::copy_file_range:
    case opcode::clone_range:
    case opcode::getdents:
    case opcode::timeout:
    case opcode::register_memory:
    case opcode::forget_memory:
      std::unreachable();
  }
}

}  // namespace weir::detail
