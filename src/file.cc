#include "weir/file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "file_state.hpp"
#include "kernel_abi.hpp"
#include "weir/io_context.hpp"

namespace weir {
namespace detail {
namespace {

constexpr std::int64_t nanoseconds(const statx_timestamp& t) noexcept {
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

bool acceptable(const std::string& path, const open_options& options) noexcept {
  return (options.read || options.write) && path.find('\0') == std::string::npos;
}

}  // namespace

// --- policy
// ---------------------------------------------------------------------------------------

bool policy_operation::drops_cache() const noexcept { return (asked_.flags & rwf_dontcache) != 0; }

void policy_operation::prepare_transfer() noexcept {
  asked_ = args;
  step_ = step::transfer;
  const file_state* file = state_of_file();
  if (drops_cache() && file != nullptr && file->drops_by_hand.load(std::memory_order_relaxed)) {
    args.flags &= ~rwf_dontcache;
  }
}

void policy_operation::begin(continuation next) noexcept {
  prepare_transfer();
  awaited_operation::begin(next);
}

void policy_operation::go_on() noexcept {
  prepare_transfer();
  repeat();
}

bool policy_operation::settle() noexcept {
  if (step_ == step::transfer) remember_failure();
  if (!drops_cache()) return true;
  switch (step_) {
    case step::transfer:
      return settle_transfer();
    case step::write_back:
      if (answer() == -ESPIPE) return settled_with(moved_);  // a pipe has no page cache
      // The kernel tells of a loss once: here, and then not at the next sync.
      if (answer() < 0) {
        if (state_of_file() != nullptr) state_of_file()->remember_failed_sync(answer());
        return settled_with(answer());
      }
      step_on(step::drop);
      return false;
    case step::drop:
      return settled_with(moved_);  // pages that stay cached are no failure of the transfer
  }
  return true;
}

// A write that syncs as well may have lost what was written before it, and consumed the news.
void policy_operation::remember_failure() noexcept {
  const bool writing = asked_.op == opcode::write || asked_.op == opcode::writev;
  if (answer() >= 0 || !writing || (asked_.flags & (RWF_DSYNC | RWF_SYNC)) == 0) return;
  if (state_of_file() == nullptr) return;
  state_of_file()->remember_failed_sync(answer());
}

bool policy_operation::settle_transfer() noexcept {
  const bool natively = (args.flags & rwf_dontcache) != 0;
  if (natively && answer() == -EOPNOTSUPP) {
    args.flags &= ~rwf_dontcache;
    repeat();
    return false;
  }
  if (!natively && answer() >= 0 && state_of_file() != nullptr) {
    state_of_file()->drops_by_hand.store(true, std::memory_order_relaxed);
  }
  if (natively || answer() <= 0) return settled_with(answer());
  moved_ = answer();
  const bool reading = asked_.op == opcode::read || asked_.op == opcode::readv;
  step_on(reading ? step::drop : step::write_back);
  return false;
}

void policy_operation::step_on(step next) noexcept {
  step_ = next;
  args.op = next == step::drop ? opcode::fadvise : opcode::sync_file_range;
  args.flags = next == step::drop ? POSIX_FADV_DONTNEED
                                  : SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                        SYNC_FILE_RANGE_WAIT_AFTER;
  args.address = nullptr;
  // Where an append went nobody knows; all of the file then.
  const bool anywhere = state_of_file() != nullptr && state_of_file()->appends &&
                        asked_.op != opcode::read && asked_.op != opcode::readv;
  args.offset = anywhere ? 0 : asked_.offset;
  args.length = anywhere ? 0 : static_cast<std::uint32_t>(moved_);
  repeat();
}

bool policy_operation::settled_with(std::int32_t answer) noexcept {
  args = asked_;
  set_answer(answer);
  return true;
}

void policy_state::stepped(operation& op) noexcept {
  auto& self = static_cast<policy_state&>(op);
  if (self.settle()) self.end();
}

std::uint32_t flags_of(const open_options& options) noexcept {
  int flags = O_CLOEXEC;
  if (options.write) flags |= options.read ? O_RDWR : O_WRONLY;
  if (options.create) flags |= O_CREAT;
  if (options.truncate) flags |= O_TRUNC;
  if (options.append) flags |= O_APPEND;
  if (options.exclusive) flags |= O_EXCL;
  if (options.direct) flags |= O_DIRECT;
  if (options.only_directory) flags |= O_DIRECTORY;
  if (options.nonblock) flags |= O_NONBLOCK;
  return static_cast<std::uint32_t>(flags);
}

std::uint32_t flags_of(durability how) noexcept {
  switch (how) {
    case durability::data:
      return RWF_DSYNC;
    case durability::full:
      return RWF_SYNC;
    case durability::none:
      break;
  }
  return 0;
}

// --- whole transfers -----------------------------------------------------------------------------

void whole_state::stepped(operation& op) noexcept {
  auto& self = static_cast<whole_state&>(op);
  if (!self.settle()) return;
  self.advance() ? self.go_on() : self.end();
}

// Accounts for what was moved; false when there is no more to do.
bool whole_state::advance() noexcept {
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
  if (args.length != 0 && stopped()) error_ = errno_code(ECANCELED);
  return args.length != 0 && !error_;
}

bool whole_state::refuse(std::int32_t why) noexcept {
  error_ = errno_code(-why);
  return true;
}

void whole_state::cancellation_means(std::int32_t why) noexcept {
  if (error_ == errno_code(ECANCELED)) error_ = errno_code(-why);
}

transfer_result whole_state::take() const noexcept {
  const auto moved = static_cast<std::size_t>(args.offset - first_offset_);
  if (error_) return {std::unexpected(error_), moved};
  if (ready()) return {std::unexpected(errno_code(-answer())), 0};  // a closed file
  return {moved, moved};
}

// --- syncing -------------------------------------------------------------------------------------

sync_state::sync_state(io_context* context, const request& what, file_state* file) noexcept
    : awaited_operation(context, what, file, &synced), answered_(context == nullptr) {
  if (answered_) return;
  const std::int32_t failed = file->failed_sync.load(std::memory_order_relaxed);
  if (failed == 0) return;
  set_answer(failed);
  answered_ = true;
}

void sync_state::synced(operation& op) noexcept {
  auto& self = static_cast<sync_state&>(op);
  file_state& file = *self.state_of_file();
  // One that began before another failed may have been told nothing of the loss.
  const std::int32_t before = file.failed_sync.load(std::memory_order_relaxed);
  if (before != 0) self.set_answer(before);
  file.remember_failed_sync(self.answer());
  self.end();
}

// --- status --------------------------------------------------------------------------------------

stat_state::stat_state(io_context* context, const request& what, file_state* file) noexcept
    : awaited_operation(context, what, file) {
  static_assert(sizeof(struct statx) <= sizeof(raw_) && alignof(struct statx) <= 8);
  args.mode = STATX_BASIC_STATS | STATX_DIOALIGN;
  args.offset = reinterpret_cast<std::uintptr_t>(raw_.data());
}

result<file_status> stat_state::take() const noexcept {
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

// --- capabilities
// ---------------------------------------------------------------------------------

namespace {

// `struct statx` of Linux 6.11, whose end Debian 12's header does not have yet.
constexpr std::uint32_t statx_write_atomic = 0x10000;
constexpr std::size_t atomic_write_min_at = 0xa8;
constexpr std::size_t atomic_write_max_at = 0xac;

// Beyond the end of any file: read there, flags are checked and no byte is touched.
constexpr std::uint64_t beyond_any_end = std::uint64_t{1} << 50;

enum question : unsigned { status_asked, drop_cache_asked, nowait_asked, nothing_more };

}  // namespace

capabilities_state::capabilities_state(io_context* context, const request& what,
                                       file_state* file) noexcept
    : awaited_operation(context, what, file, &answered) {
  static_assert(sizeof(struct statx) <= sizeof(raw_) && alignof(struct statx) <= 8);
  args.mode = statx_write_atomic;
  args.offset = reinterpret_cast<std::uintptr_t>(raw_.data());
  found_.sync = support::native;      // Linux 4.7, every file system
  found_.priority = support::native;  // handed on with the operation, or set around the call
}

void capabilities_state::answered(operation& op) noexcept {
  auto& self = static_cast<capabilities_state&>(op);
  self.ask_next() ? self.repeat() : self.end();
}

support capabilities_state::heard() const noexcept {
  if (answer() == -EOPNOTSUPP) return support::refused;
  return answer() == -EBADF ? support::unknown : support::native;
}

// False when everything has been asked, or the file cannot be asked anything.
bool capabilities_state::ask_next() noexcept {
  if (question_ == status_asked) {
    if (answer() < 0) return false;
    std::uint32_t mask = 0;
    std::memcpy(&mask, raw_.data(), sizeof mask);  // stx_mask comes first
    std::memcpy(&found_.atomic_write_min, &raw_[atomic_write_min_at], sizeof(std::uint32_t));
    std::memcpy(&found_.atomic_write_max, &raw_[atomic_write_max_at], sizeof(std::uint32_t));
    const bool offered = (mask & statx_write_atomic) != 0 && found_.atomic_write_max != 0;
    if (!offered) found_.atomic_write_min = found_.atomic_write_max = 0;
    found_.atomic = offered ? support::native : support::refused;
  } else if (question_ == drop_cache_asked) {
    found_.drop_cache = heard();
    // By hand, then; and past the page cache there is nothing to drop.
    if (found_.drop_cache == support::refused) found_.drop_cache = support::degraded;
    if (state_of_file()->direct) found_.drop_cache = support::native;
  } else {
    found_.nowait = heard();
  }
  ++question_;
  args.op = opcode::read;
  args.flags = question_ == drop_cache_asked ? rwf_dontcache : RWF_NOWAIT;
  args.address = &probe_;
  args.offset = beyond_any_end;
  args.length = 1;
  return question_ != nothing_more;
}

result<file_capabilities> capabilities_state::take() const noexcept {
  if (question_ == status_asked && answer() < 0) {
    return std::unexpected(errno_code(-answer()));
  }
  return found_;
}

// --- opening and closing -------------------------------------------------------------------------

open_state::open_state(io_context& context, std::string path, const open_options& options) noexcept
    : awaited_operation(&context,
                        {.op = opcode::openat,
                         .fd = options.directory,
                         .flags = flags_of(options),
                         .mode = options.mode},
                        nullptr),
      path_(std::move(path)),
      direct_(options.direct),
      appends_(options.append),
      refused_(!acceptable(path_, options)) {
  // With O_CREAT only: openat2(2), and so some kernels' io_uring, refuses a mode without it.
  if (!options.create) args.mode = 0;
  args.address = path_.data();
  if (options.resolve != 0) {
    static_assert(sizeof(struct open_how) == sizeof(how_));
    how_ = {args.flags, args.mode, options.resolve};
    args.op = opcode::openat2;
    args.offset = reinterpret_cast<std::uintptr_t>(how_.data());
    args.length = sizeof(how_);
  }
  set_answer(refused_ ? -EINVAL : -ECANCELED);  // no descriptor yet
}

open_state::~open_state() {
  if (answer() >= 0) ::close(answer());
}

result<file> open_state::take() noexcept {
  if (answer() < 0) return std::unexpected(errno_code(-answer()));
  const int fd = answer();
  set_answer(-EBADF);  // taken
  auto* opened = new (std::nothrow) file_state{*context(), fd, direct_, appends_};
  if (opened == nullptr) {
    ::close(fd);
    return std::unexpected(errno_code(ENOMEM));
  }
  return file{*opened};
}

close_state::close_state(file_state* file) noexcept
    : awaited_operation(file != nullptr ? file->context : nullptr,
                        {.op = opcode::close, .fd = file != nullptr ? file->fd : -1}, file,
                        &closed) {}

void close_state::begin(continuation next) noexcept {
  continue_with(next);
  if (context()->on_own_thread()) return state_of_file()->close_when_idle(*this);
  // What is in flight is counted on the context's thread; so that is where closing begins.
  on_its_way_ = true;
  args.op = opcode::nop;
  start(*context(), *this, nullptr);
}

void close_state::closed(operation& op) noexcept {
  auto& self = static_cast<close_state&>(op);
  if (std::exchange(self.on_its_way_, false)) {
    self.args.op = opcode::close;
    return self.state_of_file()->close_when_idle(self);
  }
  // Cancelled before it began, by a context that shuts down: the descriptor must not leak.
  if (self.answer() == -ECANCELED) self.set_answer(::close(self.args.fd) == 0 ? 0 : -errno);
  delete self.state_of_file();
  self.end_uncounted();
}

}  // namespace detail

close_sender::~close_sender() {
  if (file_ != nullptr) file_->abandon();
}

detail::file_state* detail::state_of(const file& which) noexcept { return which.open_.state; }

// --- file ----------------------------------------------------------------------------------------

file::file(detail::file_state& state) noexcept
    : open_{.context = state.context,
            .state = &state,
            .fd = state.fd,
            .hints = state.direct ? hint::direct : std::uint8_t{0}} {}

file::file(io_context& context, int fd) {
  const int answer = ::fcntl(fd, F_GETFL);
  const int flags = answer < 0 ? 0 : answer;  // its operations will tell what is wrong with it
  *this =
      file(*new detail::file_state{context, fd, (flags & O_DIRECT) != 0, (flags & O_APPEND) != 0});
}

file::file(file&& other) noexcept : open_(std::exchange(other.open_, {})) {}

file& file::operator=(file&& other) noexcept {
  if (this != &other) {
    if (is_open()) open_.state->abandon();
    open_ = std::exchange(other.open_, {});
  }
  return *this;
}

file::~file() {
  if (is_open()) open_.state->abandon();
}

request file::on_this(request what) const noexcept {
  what.fd = open_.fd;
  what.hints |= open_.hints;
  return what;
}

request file::on_this(request what, const io_options& options) const noexcept {
  what = on_this(what);
  what.flags |= detail::flags_of(options.sync);
  if (options.nowait) what.flags |= RWF_NOWAIT;
  if (options.atomic) what.flags |= detail::rwf_atomic;
  // Past the page cache there is nothing to drop.
  const bool cached = (what.hints & hint::direct) == 0;
  if (options.drop_cache && cached) what.flags |= detail::rwf_dontcache;
  what.priority = options.priority;
  return what;
}

namespace {

// Writes, too, carry a plain pointer: the kernel reads through it, and the callers' types say so.
request transfer_of(opcode op, const void* memory, std::size_t length,
                    std::uint64_t offset) noexcept {
  return {.op = op, .address = const_cast<void*>(memory), .offset = offset, .length = length};
}

}  // namespace

policy_sender file::read_at(std::span<std::byte> memory, std::uint64_t offset,
                            const io_options& options) noexcept {
  const request what = transfer_of(opcode::read, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what, options), open_.state};
}

policy_sender file::write_at(std::span<const std::byte> memory, std::uint64_t offset,
                             const io_options& options) noexcept {
  const request what = transfer_of(opcode::write, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what, options), open_.state};
}

io_sender file::readv_at(std::span<const iovec> memory, std::uint64_t offset) noexcept {
  const request what = transfer_of(opcode::readv, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what), open_.state};
}

io_sender file::writev_at(std::span<const iovec> memory, std::uint64_t offset) noexcept {
  const request what = transfer_of(opcode::writev, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what), open_.state};
}

policy_sender file::readv_at(std::span<const iovec> memory, std::uint64_t offset,
                             const io_options& options) noexcept {
  const request what = transfer_of(opcode::readv, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what, options), open_.state};
}

policy_sender file::writev_at(std::span<const iovec> memory, std::uint64_t offset,
                              const io_options& options) noexcept {
  const request what = transfer_of(opcode::writev, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what, options), open_.state};
}

whole_sender file::read_exactly_at(std::span<std::byte> memory, std::uint64_t offset,
                                   const io_options& options) noexcept {
  const request what = transfer_of(opcode::read, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what, options), open_.state};
}

whole_sender file::write_all_at(std::span<const std::byte> memory, std::uint64_t offset,
                                const io_options& options) noexcept {
  const request what = transfer_of(opcode::write, memory.data(), memory.size(), offset);
  return {open_.context, on_this(what, options), open_.state};
}

sync_sender file::sync() noexcept {
  return {open_.context, on_this({.op = opcode::fsync}), open_.state};
}

sync_sender file::datasync() noexcept {
  return {open_.context, on_this({.op = opcode::fdatasync}), open_.state};
}

sync_sender file::sync_range(std::uint64_t offset, std::uint64_t length, unsigned flags) noexcept {
  const request what{
      .op = opcode::sync_file_range, .flags = flags, .offset = offset, .length = length};
  return {open_.context, on_this(what), open_.state};
}

namespace {

request status_of_descriptor() noexcept {
  static char this_file = '\0';  // an empty path, with AT_EMPTY_PATH: the descriptor itself
  return {.op = opcode::statx, .flags = AT_EMPTY_PATH, .address = &this_file};
}

}  // namespace

stat_sender file::stat() noexcept {
  return {open_.context, on_this(status_of_descriptor()), open_.state};
}

capabilities_sender file::capabilities() noexcept {
  return {open_.context, on_this(status_of_descriptor()), open_.state};
}

io_void_sender file::truncate(std::uint64_t size) noexcept {
  return {open_.context, on_this({.op = opcode::ftruncate, .offset = size}), open_.state};
}

io_void_sender file::allocate(std::uint64_t offset, std::uint64_t length) noexcept {
  return allocate(offset, length, 0);
}

io_void_sender file::allocate(std::uint64_t offset, std::uint64_t length, unsigned mode) noexcept {
  const request what{.op = opcode::fallocate, .mode = mode, .offset = offset, .length = length};
  return {open_.context, on_this(what), open_.state};
}

io_void_sender file::advise(std::uint64_t offset, std::uint64_t length, int advice) noexcept {
  const request what{.op = opcode::fadvise,
                     .flags = static_cast<std::uint32_t>(advice),
                     .offset = offset,
                     .length = length};
  return {open_.context, on_this(what), open_.state};
}

io_sender file::get_attribute(const char* name, std::span<std::byte> value) noexcept {
  const request what = transfer_of(opcode::fgetxattr, value.data(), value.size(),
                                   reinterpret_cast<std::uintptr_t>(name));
  return {open_.context, on_this(what), open_.state};
}

io_void_sender file::set_attribute(const char* name, std::span<const std::byte> value,
                                   unsigned flags) noexcept {
  request what = transfer_of(opcode::fsetxattr, value.data(), value.size(),
                             reinterpret_cast<std::uintptr_t>(name));
  what.flags = flags;
  return {open_.context, on_this(what), open_.state};
}

io_void_sender file::cancel() const noexcept {
  return {open_.context, cancel_request_for(native_handle()), open_.state};
}

close_sender file::close() noexcept {
  const detail::open_file closed = std::exchange(open_, {});
  return close_sender{closed.context, closed.state};
}

}  // namespace weir
