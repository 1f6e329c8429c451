#include "slot.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "../resident_read.hpp"
#include "weir/io_context.hpp"

namespace weir::detail {
namespace {

std::unexpected<std::error_code> failed_with(int error) noexcept {
  return std::unexpected(errno_code(error));
}

template <class T>
result<T> answer_of(std::int64_t answer) noexcept {
  if (answer < 0) return failed_with(static_cast<int>(-answer));
  return static_cast<T>(answer);
}

bool means_lost_writes(std::int32_t answer) noexcept {
  return answer == -EIO || answer == -ENOSPC || answer == -EDQUOT;
}

}  // namespace

template <void (ready_slot::*member)(slot_operation&) noexcept>
void ready_slot::completes(operation& op) noexcept {
  auto& own = static_cast<slot_operation&>(op);
  ready_slot& slot = *own.slot;
  {
    const std::lock_guard lock(slot.lock_);
    (slot.*member)(own);
    slot.go_on();
  }
  slot.owner_.events.deliver();
}

ready_slot::ready_slot(slot_owner& owner, int handle)
    : owner_(owner),
      reading_(*this, &completes<&ready_slot::filled>),
      writing_(*this, &completes<&ready_slot::wrote>),
      opening_(*this, &completes<&ready_slot::opened>),
      sync_(*this, &completes<&ready_slot::synced>),
      closing_(*this, &completes<&ready_slot::closed>) {
  events_.handle = handle;
}

// --- opening -------------------------------------------------------------------------------------

void ready_slot::open(std::string path, const how_to_open& how) noexcept {
  const std::lock_guard lock(lock_);
  now_ = life::opening;
  failure_ = {};
  wants_to_read_ = wants_to_write_ = false;
  syncing_ = syncing::no;
  path_ = std::move(path);
  directory_ = how.directory;
  const std::uint32_t access = how.flags & O_ACCMODE;
  readable_ = access == O_RDONLY || access == O_RDWR;
  writable_ = access == O_WRONLY || access == O_RDWR;
  // Where a write ends nobody knows who appends, so what is aligned is not known, either. A pipe
  // must not keep a worker until somebody writes to it.
  const std::uint32_t direct = (how.flags & O_APPEND) != 0 ? O_DIRECT : 0;
  how_ = {(how.flags & ~direct) | O_CLOEXEC | O_NONBLOCK, how.mode, how.resolve};
  begin_to_open();
}

void ready_slot::begin_to_open() noexcept {
  if (how_.resolve != 0) {
    opening_.args = {.op = opcode::openat2,
                     .fd = directory_,
                     .address = path_.data(),
                     .offset = reinterpret_cast<std::uintptr_t>(&how_),
                     .length = sizeof(how_)};
  } else {
    opening_.args = {.op = opcode::openat,
                     .fd = directory_,
                     .flags = static_cast<std::uint32_t>(how_.flags),
                     .mode = static_cast<std::uint32_t>(how_.mode),
                     .address = path_.data()};
  }
  owner_.context->start(opening_);
}

void ready_slot::opened(slot_operation& op) noexcept {
  const std::int32_t answer = op.answer();
  // Some file systems have no O_DIRECT. And whoever holds a lease is to be waited for.
  std::uint64_t hopeless = 0;
  if (answer == -EINVAL) hopeless = O_DIRECT;
  if (answer == -EAGAIN) hopeless = O_NONBLOCK;
  if ((how_.flags & hopeless) != 0) {
    how_.flags &= ~hopeless;
    return begin_to_open();
  }
  if (directory_ >= 0) ::close(std::exchange(directory_, -1));
  failure_ = answer < 0 ? errno_code(-answer) : settle_opened(answer);
  if (now_ != life::opening) return;  // it is being closed
  now_ = failure_ ? life::failed : life::open;
  if (failure_) wants_to_read_ = wants_to_write_ = false;
  post(ready::opened, failure_);
}

// 0, or why a file cannot be ready: it has no offsets.
int ready_slot::why_not_ready(int fd) const noexcept {
  struct statx status{};
  const request what{.op = opcode::statx,
                     .fd = fd,
                     .flags = AT_EMPTY_PATH,
                     .mode = STATX_TYPE,
                     .address = const_cast<char*>(""),
                     .offset = reinterpret_cast<std::uintptr_t>(&status)};
  if (const auto answer = perform_now(*owner_.context, what); answer < 0) return -answer;
  if (S_ISDIR(status.stx_mode)) return EISDIR;
  return S_ISREG(status.stx_mode) || S_ISBLK(status.stx_mode) ? 0 : ESPIPE;
}

std::error_code ready_slot::settle_opened(int fd) noexcept {
  const auto flags = static_cast<int>(how_.flags);
  if (const int error = why_not_ready(fd); error != 0) {
    perform_now(*owner_.context, {.op = opcode::close, .fd = fd});
    return errno_code(error);
  }
  // A simulated disk's descriptor has no such flag, and is none for fcntl(2), either.
  ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  file_ = {.context = owner_.context,
           .fd = fd,
           .direct = (flags & O_DIRECT) != 0,
           .appends = (flags & O_APPEND) != 0,
           .memory = is_memory(fd)};
  reading_.begin(file_, owner_.options.read_ahead);
  writing_.begin(file_, owner_.options.write_behind, owner_.options.block_size);
  return {};
}

result<ready_status> ready_slot::status() noexcept {
  const std::lock_guard lock(lock_);
  switch (now_) {
    case life::free:
      return failed_with(EBADF);
    case life::opening:
      return ready_status::opening;
    case life::failed:
      return std::unexpected(failure_);
    case life::open:
      return ready_status::open;
    case life::closing:
      return ready_status::closing;
    case life::closed:
      break;
  }
  return ready_status::closed;
}

std::error_code ready_slot::unusable() const noexcept {
  if (now_ == life::open) return {};
  if (now_ == life::opening) return errno_code(EAGAIN);
  return now_ == life::failed ? failure_ : errno_code(EBADF);
}

// --- reading -------------------------------------------------------------------------------------

result<std::size_t> ready_slot::try_read(std::span<std::byte> into) noexcept {
  const std::lock_guard lock(lock_);
  if (!readable_) return failed_with(EBADF);
  wanted_ = std::min(into.size(), ready_files::most_at_once);
  if (now_ == life::opening) return wait_to_read();
  if (const auto why = unusable()) return std::unexpected(why);
  if (into.empty()) return 0;
  if (writable_ && writing_.overlaps(reading_.position(), wanted_)) {
    writing_.flush();
    return wait_to_read();
  }
  const auto answer = reading_.try_read(into.first(wanted_));
  if (answer == -EAGAIN) return wait_to_read();
  return answer_of<std::size_t>(answer);
}

std::unexpected<std::error_code> ready_slot::wait_to_read() noexcept {
  wants_to_read_ = true;
  return failed_with(EAGAIN);
}

void ready_slot::filled(slot_operation& op) noexcept {
  reading_.filled(static_cast<read_window::chunk&>(op));
}

result<void> ready_slot::seek_read(std::uint64_t position) noexcept {
  const std::lock_guard lock(lock_);
  if (const auto why = unusable()) return std::unexpected(why);
  if (position > INT64_MAX) return failed_with(EINVAL);
  reading_.seek(position);
  return {};
}

// --- writing -------------------------------------------------------------------------------------

// In pieces: whoever completes this handle's operations must not have to wait for long.
result<std::size_t> ready_slot::try_write(std::span<const std::byte> bytes) noexcept {
  std::size_t moved = 0;
  do {
    const auto piece = bytes.subspan(moved, std::min(bytes.size() - moved, piece_size));
    const auto accepted = accept(piece);
    if (!accepted) {
      if (moved == 0) return accepted;
      break;
    }
    moved += *accepted;
    if (*accepted < piece.size()) break;
  } while (moved < bytes.size());
  return moved;
}

result<std::size_t> ready_slot::accept(std::span<const std::byte> bytes) noexcept {
  const std::lock_guard lock(lock_);
  if (!writable_) return failed_with(EBADF);
  if (now_ == life::opening) return wait_to_write();
  if (const auto why = unusable()) return std::unexpected(why);
  if (writing_.error()) return std::unexpected(writing_.error());
  if (bytes.empty()) return 0;
  const auto answer = writing_.accept(bytes);
  if (answer == -EAGAIN) return wait_to_write();
  if (writing_.filling() && !std::exchange(waits_for_flush_, true)) owner_.flush_later(*this);
  return answer_of<std::size_t>(answer);
}

std::unexpected<std::error_code> ready_slot::wait_to_write() noexcept {
  wants_to_write_ = true;
  return failed_with(EAGAIN);
}

void ready_slot::wrote(slot_operation& op) noexcept {
  // What was read there before is out of date. Who appends knows no place.
  const std::uint64_t from = file_.appends ? 0 : op.args.offset;
  const std::uint64_t length = file_.appends ? INT64_MAX : op.args.length;
  writing_.finished(static_cast<write_behind::block&>(op));
  reading_.forget(from, length);
}

result<void> ready_slot::seek_write(std::uint64_t position) noexcept {
  const std::lock_guard lock(lock_);
  if (const auto why = unusable()) return std::unexpected(why);
  if (position > INT64_MAX) return failed_with(EINVAL);
  writing_.seek(position);
  return {};
}

void ready_slot::flush() noexcept {
  const std::lock_guard lock(lock_);
  waits_for_flush_ = false;
  if (now_ == life::open) writing_.flush();
}

result<unsigned> ready_slot::poll() noexcept {
  const std::lock_guard lock(lock_);
  if (now_ == life::opening) return 0;
  if (const auto why = unusable()) return std::unexpected(why);
  unsigned found = 0;
  if (readable_ && may_read()) found |= ready::readable;
  if (writable_ && (writing_.error() || writing_.has_room())) found |= ready::writable;
  return found;
}

bool ready_slot::may_read() const noexcept {
  return !reading_.waits() &&
         !writing_.overlaps(reading_.position(), std::max<std::uint64_t>(wanted_, 1));
}

// --- syncing -------------------------------------------------------------------------------------

result<void> ready_slot::sync(durability how) noexcept {
  const std::lock_guard lock(lock_);
  if (const auto why = unusable()) return std::unexpected(why);
  if (writing_.error()) return std::unexpected(writing_.error());
  if (syncing_ != syncing::no) return failed_with(EALREADY);
  writing_.flush();
  sync_how_ = how;
  sync_up_to_ = writing_.last_number();
  syncing_ = syncing::writing;
  go_on_syncing();
  return {};
}

void ready_slot::go_on_syncing() noexcept {
  if (syncing_ != syncing::writing) return;
  if (writing_.error()) return end_sync(writing_.error());
  if (!writing_.over_up_to(sync_up_to_)) return;
  sync_.args = {.op = opcode::nop, .fd = file_.fd};
  if (sync_how_ == durability::data) sync_.args.op = opcode::fdatasync;
  if (sync_how_ == durability::full) sync_.args.op = opcode::fsync;
  syncing_ = syncing::in_flight;
  owner_.context->start(sync_);
}

void ready_slot::synced(slot_operation& op) noexcept {
  const std::int32_t answer = op.answer();
  const auto error = answer < 0 ? errno_code(-answer) : std::error_code{};
  if (means_lost_writes(answer)) writing_.fail(error);
  if (answer < 0 && now_ == life::closing && !failure_) failure_ = error;
  end_sync(error);
}

void ready_slot::end_sync(std::error_code error) noexcept {
  syncing_ = now_ == life::open ? syncing::told : syncing::no;
  post(ready::synced, error);
}

void ready_slot::synced_was_told() noexcept {
  const std::lock_guard lock(lock_);
  if (syncing_ == syncing::told) syncing_ = syncing::no;
}

// --- closing -------------------------------------------------------------------------------------

result<void> ready_slot::close() noexcept {
  if (!abandon()) return failed_with(EBADF);
  return {};
}

bool ready_slot::abandon() noexcept {
  const std::lock_guard lock(lock_);
  if (now_ == life::free || now_ == life::closing || now_ == life::closed) return false;
  begin_to_close();
  return true;
}

result<void> ready_slot::close_and_wait() noexcept {
  if (owner_.context->on_own_thread()) return failed_with(EDEADLK);
  std::unique_lock lock(lock_);
  if (now_ == life::free || waited_for_) return failed_with(EBADF);
  waited_for_ = true;
  if (now_ != life::closing && now_ != life::closed) begin_to_close();
  owner_.events.forget(events_, ready::closed);
  done_.wait(lock, [this] { return now_ == life::closed; });
  waited_for_ = false;
  now_ = life::free;
  const auto error = failure_;
  lock.unlock();
  owner_.is_free(*this);
  if (error) return std::unexpected(error);
  return {};
}

void ready_slot::begin_to_close() noexcept {
  if (now_ == life::failed) failure_ = {};  // that was told
  now_ = life::closing;
  wants_to_read_ = wants_to_write_ = false;
  owner_.events.forget(events_, ~0U);
  if (syncing_ == syncing::told) syncing_ = syncing::no;
  writing_.flush();
  go_on_closing();
}

void ready_slot::go_on_closing() noexcept {
  if (now_ != life::closing || opening_.in_flight() || closing_.in_flight()) return;
  if (!writing_.over() || reading_.in_flight() || syncing_ != syncing::no) return;
  closing_.args = {.op = file_.fd < 0 ? opcode::nop : opcode::close, .fd = file_.fd};
  owner_.context->start(closing_);
}

void ready_slot::closed(slot_operation& op) noexcept {
  std::int32_t answer = op.answer();
  // Cancelled before it began: the descriptor must not leak.
  if (answer == -ECANCELED && file_.fd >= 0) answer = perform_now(*owner_.context, closing_.args);
  if (writing_.error()) failure_ = writing_.error();
  if (!failure_ && answer < 0) failure_ = errno_code(-answer);
  reading_.end();
  writing_.end();
  file_ = {};
  path_.clear();
  now_ = life::closed;
  if (waited_for_) {
    done_.notify_all();
  } else {
    post(ready::closed, failure_);
  }
  owner_.has_closed();
}

void ready_slot::closed_was_told() noexcept {
  {
    const std::lock_guard lock(lock_);
    if (now_ != life::closed || waited_for_) return;
    now_ = life::free;
  }
  owner_.is_free(*this);
}

// --- going on ------------------------------------------------------------------------------------

void ready_slot::go_on() noexcept {
  if (now_ == life::open && wants_to_read_ && may_read()) {
    wants_to_read_ = false;
    post(ready::readable);
  }
  if (now_ == life::open && wants_to_write_ && (writing_.error() || writing_.has_much_room())) {
    wants_to_write_ = false;
    post(ready::writable);
  }
  go_on_syncing();
  go_on_closing();
}

/// Of what is being closed nothing is heard but that.
void ready_slot::post(unsigned what, std::error_code error) noexcept {
  if (now_ == life::closing) return;
  owner_.events.post(events_, what, error);
}

}  // namespace weir::detail
