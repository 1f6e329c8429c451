#include "weir/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "file_state.hpp"

namespace weir {
namespace detail {
namespace {

constexpr std::int64_t nanoseconds(const statx_timestamp& t) noexcept {
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

std::uint32_t flags_of(const open_options& options) noexcept {
  int flags = O_CLOEXEC;
  if (options.write) flags |= options.read ? O_RDWR : O_WRONLY;
  if (options.create) flags |= O_CREAT;
  if (options.truncate) flags |= O_TRUNC;
  if (options.append) flags |= O_APPEND;
  if (options.exclusive) flags |= O_EXCL;
  if (options.direct) flags |= O_DIRECT;
  return static_cast<std::uint32_t>(flags);
}

bool acceptable(const std::string& path, const open_options& options) noexcept {
  return (options.read || options.write) && path.find('\0') == std::string::npos;
}

}  // namespace

// --- whole transfers -----------------------------------------------------------------------------

void whole_awaiter::step(operation& op) noexcept {
  auto& self = static_cast<whole_awaiter&>(op);
  if (self.advance()) {
    // Counted as started before it counts as finished: a close that waits goes on waiting.
    file_state* file = self.state_of_file();
    self.start_again();
    finish(file);
    return;
  }
  finish(self.state_of_file());
  self.resume_waiter();
}

// Accounts for what was moved; false when there is no more to do.
bool whole_awaiter::advance() noexcept {
  const bool reading = args.op == opcode::read;
  const std::uint64_t moved = args.offset - first_offset_;
  if (answer() < 0) {
    // A direct read that ended at a file's unaligned end cannot go on from there.
    const bool past_the_end = reading && moved != 0 && answer() == -EINVAL &&
                              (args.hints & hint::direct) != 0 && args.offset % 512 != 0;
    error_ = past_the_end ? make_error_code(errc::short_read) : errno_code(-answer());
    return false;
  }
  if (answer() == 0 && args.length != 0) {
    error_ = make_error_code(reading ? errc::short_read : errc::no_progress);
    return false;
  }
  const auto count = static_cast<std::uint32_t>(answer());
  args.address = static_cast<std::byte*>(args.address) + count;
  args.offset += count;
  args.length -= count;
  return args.length != 0;
}

transfer_result whole_awaiter::await_resume() const noexcept {
  const auto moved = static_cast<std::size_t>(args.offset - first_offset_);
  if (error_) return {std::unexpected(error_), moved};
  if (await_ready()) return {std::unexpected(errno_code(-answer())), 0};  // a closed file
  return {moved, moved};
}

// --- status --------------------------------------------------------------------------------------

stat_awaiter::stat_awaiter(io_context* context, const request& what, file_state* file) noexcept
    : awaiting_operation(context, what, file) {
  static_assert(sizeof(struct statx) <= sizeof(raw_) && alignof(struct statx) <= 8);
  args.offset = reinterpret_cast<std::uintptr_t>(raw_.data());
}

result<file_status> stat_awaiter::await_resume() const noexcept {
  if (answer() < 0) return std::unexpected(errno_code(-answer()));
  const auto& raw = *reinterpret_cast<const struct statx*>(raw_.data());
  file_status status{
      .size = raw.stx_size,
      .allocated = raw.stx_blocks * 512,
      .mode = raw.stx_mode,
      .user = raw.stx_uid,
      .group = raw.stx_gid,
      .links = raw.stx_nlink,
      .device = makedev(raw.stx_dev_major, raw.stx_dev_minor),
      .inode = raw.stx_ino,
      .block_size = raw.stx_blksize,
      .accessed_ns = nanoseconds(raw.stx_atime),
      .modified_ns = nanoseconds(raw.stx_mtime),
      .changed_ns = nanoseconds(raw.stx_ctime),
  };
  if ((raw.stx_mask & STATX_DIOALIGN) != 0) {
    status.direct_memory_alignment = raw.stx_dio_mem_align;
    status.direct_offset_alignment = raw.stx_dio_offset_align;
  }
  return status;
}

// --- opening and closing -------------------------------------------------------------------------

open_awaiter::open_awaiter(io_context& context, std::string path,
                           const open_options& options) noexcept
    : awaiting_operation(
          &context,
          {.op = opcode::openat, .fd = AT_FDCWD, .flags = flags_of(options), .mode = options.mode},
          nullptr),
      path_(std::move(path)),
      refused_(!acceptable(path_, options)) {
  // With O_CREAT only: openat2(2), and so some kernels' io_uring, refuses a mode without it.
  if (!options.create) args.mode = 0;
  args.address = path_.data();
  if (refused_) set_answer(-EINVAL);
}

result<file> open_awaiter::await_resume() noexcept {
  if (answer() < 0) return std::unexpected(errno_code(-answer()));
  const bool direct = (args.flags & O_DIRECT) != 0;
  auto* opened = new (std::nothrow) file_state{*context(), answer(), direct};
  if (opened == nullptr) {
    ::close(answer());
    return std::unexpected(errno_code(ENOMEM));
  }
  return file{opened};
}

close_awaiter::close_awaiter(file_state* file) noexcept
    : awaiting_operation(file != nullptr ? file->context : nullptr,
                         {.op = opcode::close, .fd = file != nullptr ? file->fd : -1}, file,
                         &closed) {}

void close_awaiter::await_suspend(std::coroutine_handle<> waiter) noexcept {
  set_waiter(waiter);
  state_of_file()->close_when_idle(*this);
}

void close_awaiter::closed(operation& op) noexcept {
  auto& self = static_cast<close_awaiter&>(op);
  // Cancelled before it began, by a context that shuts down: the descriptor must not leak.
  if (self.answer() == -ECANCELED) self.set_answer(::close(self.args.fd) == 0 ? 0 : -errno);
  delete self.state_of_file();
  self.resume_waiter();
}

result<void> close_awaiter::await_resume() const noexcept { return to_result<void>(answer()); }

}  // namespace detail

close_sender::~close_sender() {
  if (file_ != nullptr) file_->abandon();
}

// --- file ----------------------------------------------------------------------------------------

file::file(io_context& context, int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  state_ = new detail::file_state{context, fd, flags >= 0 && (flags & O_DIRECT) != 0};
}

file::file(file&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

file& file::operator=(file&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) state_->abandon();
    state_ = std::exchange(other.state_, nullptr);
  }
  return *this;
}

file::~file() {
  if (state_ != nullptr) state_->abandon();
}

int file::native_handle() const noexcept { return state_ != nullptr ? state_->fd : -1; }

io_context& file::context() const noexcept { return *state_->context; }

io_context* file::context_or_null() const noexcept {
  return state_ != nullptr ? state_->context : nullptr;
}

request file::on_this(request what) const noexcept {
  what.fd = native_handle();
  if (state_ != nullptr && state_->direct) what.hints |= hint::direct;
  return what;
}

namespace {

// Writes, too, carry a plain pointer: the kernel reads through it, and the callers' types say so.
request transfer(opcode op, const void* memory, std::size_t length, std::uint64_t offset) noexcept {
  return {.op = op, .address = const_cast<void*>(memory), .offset = offset, .length = length};
}

}  // namespace

io_sender file::read_at(std::span<std::byte> memory, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::read, memory.data(), memory.size(), offset);
  return {context_or_null(), on_this(what), state_};
}

io_sender file::write_at(std::span<const std::byte> memory, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::write, memory.data(), memory.size(), offset);
  return {context_or_null(), on_this(what), state_};
}

buffer_sender file::read_at(buffer data, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::read, data.data(), data.size(), offset);
  return {context_or_null(), on_this(what), state_, std::move(data)};
}

buffer_sender file::write_at(buffer data, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::write, data.data(), data.size(), offset);
  return {context_or_null(), on_this(what), state_, std::move(data)};
}

io_sender file::readv_at(std::span<const iovec> memory, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::readv, memory.data(), memory.size(), offset);
  return {context_or_null(), on_this(what), state_};
}

io_sender file::writev_at(std::span<const iovec> memory, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::writev, memory.data(), memory.size(), offset);
  return {context_or_null(), on_this(what), state_};
}

whole_sender file::read_exactly_at(std::span<std::byte> memory, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::read, memory.data(), memory.size(), offset);
  return {context_or_null(), on_this(what), state_};
}

whole_sender file::write_all_at(std::span<const std::byte> memory, std::uint64_t offset) noexcept {
  const request what = transfer(opcode::write, memory.data(), memory.size(), offset);
  return {context_or_null(), on_this(what), state_};
}

io_void_sender file::sync() noexcept {
  return {context_or_null(), on_this({.op = opcode::fsync}), state_};
}

io_void_sender file::datasync() noexcept {
  return {context_or_null(), on_this({.op = opcode::fdatasync}), state_};
}

stat_sender file::stat() noexcept {
  static char this_file = '\0';  // an empty path, with AT_EMPTY_PATH: the descriptor itself
  const request what{.op = opcode::statx,
                     .flags = AT_EMPTY_PATH,
                     .mode = STATX_BASIC_STATS | STATX_DIOALIGN,
                     .address = &this_file};
  return {context_or_null(), on_this(what), state_};
}

io_void_sender file::truncate(std::uint64_t size) noexcept {
  return {context_or_null(), on_this({.op = opcode::ftruncate, .offset = size}), state_};
}

io_void_sender file::allocate(std::uint64_t offset, std::uint64_t length) noexcept {
  const request what{.op = opcode::fallocate, .offset = offset, .length = length};
  return {context_or_null(), on_this(what), state_};
}

close_sender file::close() noexcept { return close_sender{std::exchange(state_, nullptr)}; }

}  // namespace weir
