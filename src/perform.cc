#include "perform.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "uninterrupted.hpp"

namespace weir::detail {
namespace {

template <class Call>
std::int32_t answer_of(Call call) noexcept {
  return static_cast<std::int32_t>(uninterrupted(call));
}

void wait_for(int fd, short events) noexcept {
  pollfd waiting{.fd = fd, .events = events, .revents = 0};
  static_cast<void>(answer_of([&] { return ::poll(&waiting, 1, -1); }));
}

// The same for a transfer on a descriptor that may be O_NONBLOCK, which io_uring does not look at:
// an operation is there to wait, unless it asks not to (RWF_NOWAIT).
template <class Call>
std::int32_t answer_when_ready(const request& what, short ready, Call call) noexcept {
  for (;;) {
    const auto answer = answer_of(call);
    if (answer != -EAGAIN || (what.flags & RWF_NOWAIT) != 0) return answer;
    wait_for(what.fd, ready);
  }
}

// A pipe or socket has no offset; io_uring then ignores it, so every driver does.
constexpr off_t current_position = -1;

template <class Positional>
std::int32_t at_offset_or_stream(const request& what, short ready, Positional call) noexcept {
  const auto offset = static_cast<off_t>(what.offset);
  const auto answer = answer_when_ready(what, ready, [&] { return call(offset); });
  if (answer != -ESPIPE) return answer;
  return answer_when_ready(what, ready, [&] { return call(current_position); });
}

// preadv2(2) even for one span: it is the form that takes flags and a stream's "no offset".
std::int32_t read_vector(const request& what, const iovec* vector, int count) noexcept {
  return at_offset_or_stream(what, POLLIN, [&](off_t at) {
    return ::preadv2(what.fd, vector, count, at, static_cast<int>(what.flags));
  });
}

std::int32_t write_vector(const request& what, const iovec* vector, int count) noexcept {
  return at_offset_or_stream(what, POLLOUT, [&](off_t at) {
    return ::pwritev2(what.fd, vector, count, at, static_cast<int>(what.flags));
  });
}

iovec single(const request& what) noexcept {
  return {what.address, std::min(what.length, transfer_max)};
}

// Too many elements stay too many when narrowed, so that the kernel says EINVAL.
int count_of(const request& what) noexcept {
  constexpr std::uint64_t most = std::numeric_limits<int>::max();
  return static_cast<int>(std::min(what.length, most));
}

/// A transfer's own I/O priority, while it lives, on the thread that carries it out.
class thread_priority {
 public:
  explicit thread_priority(std::uint16_t wanted) noexcept : changes_(wanted != 0) {
    if (!changes_) return;
    before_ = ::syscall(SYS_ioprio_get, this_thread, 0);
    if (::syscall(SYS_ioprio_set, this_thread, 0, wanted) < 0) error_ = -errno;
  }
  thread_priority(const thread_priority&) = delete;
  thread_priority& operator=(const thread_priority&) = delete;
  ~thread_priority() {
    if (changes_ && error_ == 0) ::syscall(SYS_ioprio_set, this_thread, 0, before_);
  }
  /// EINVAL or EPERM: refused, as io_uring refuses the operation.
  std::int32_t error() const noexcept { return error_; }

 private:
  static constexpr int this_thread = 1;  // IOPRIO_WHO_PROCESS, which with 0 is the calling thread
  bool changes_;
  long before_ = 0;
  std::int32_t error_ = 0;
};

std::int32_t read_one(const request& what) noexcept {
  const iovec vector = single(what);
  return read_vector(what, &vector, 1);
}

std::int32_t write_one(const request& what) noexcept {
  const iovec vector = single(what);
  return write_vector(what, &vector, 1);
}

std::int32_t open_file(const request& what) noexcept {
  const auto* path = static_cast<const char*>(what.address);
  return answer_of(
      [&] { return ::openat(what.fd, path, static_cast<int>(what.flags), what.mode); });
}

// Linux has released the descriptor when close(2) is interrupted; again would close another's.
std::int32_t close_file(const request& what) noexcept {
  if (::close(what.fd) == 0 || errno == EINTR) return 0;
  return -errno;
}

std::int32_t status(const request& what) noexcept {
  const auto* path = static_cast<const char*>(what.address);
  auto* into = reinterpret_cast<struct statx*>(what.offset);
  return answer_of(
      [&] { return ::statx(what.fd, path, static_cast<int>(what.flags), what.mode, into); });
}

std::int32_t allocate(const request& what) noexcept {
  return answer_of([&] {
    return ::fallocate(what.fd, static_cast<int>(what.mode), static_cast<off_t>(what.offset),
                       static_cast<off_t>(what.length));
  });
}

// --- paths ---------------------------------------------------------------------------------------

const char* path_of(const request& what) noexcept { return static_cast<const char*>(what.address); }
int flags_of(const request& what) noexcept { return static_cast<int>(what.flags); }

// The second place of an operation on two.
int second_fd(const request& what) noexcept { return static_cast<int>(what.mode); }
const char* second_path(const request& what) noexcept {
  return reinterpret_cast<const char*>(what.offset);
}

// glibc has no function for it. A size beyond 32 bits stays too big when narrowed: E2BIG.
std::int32_t open_in_directory(const request& what) noexcept {
  const auto size = std::min<std::uint64_t>(what.length, UINT32_MAX);
  return answer_of(
      [&] { return ::syscall(SYS_openat2, what.fd, path_of(what), what.offset, size); });
}

std::int32_t rename_file(const request& what) noexcept {
  return answer_of([&] {
    return ::renameat2(what.fd, path_of(what), second_fd(what), second_path(what), what.flags);
  });
}

std::int32_t link_file(const request& what) noexcept {
  return answer_of([&] {
    return ::linkat(what.fd, path_of(what), second_fd(what), second_path(what), flags_of(what));
  });
}

std::int32_t link_symbolically(const request& what) noexcept {
  return answer_of([&] { return ::symlinkat(path_of(what), second_fd(what), second_path(what)); });
}

// --- what a file holds ---------------------------------------------------------------------------

// It returns the error instead of setting errno.
std::int32_t advise_file(const request& what) noexcept {
  return -::posix_fadvise(what.fd, static_cast<off_t>(what.offset), static_cast<off_t>(what.length),
                          flags_of(what));
}

std::int32_t sync_range(const request& what) noexcept {
  return answer_of([&] {
    return ::sync_file_range(what.fd, static_cast<off_t>(what.offset),
                             static_cast<off_t>(what.length), what.flags);
  });
}

std::int32_t directory_entries(const request& what) noexcept {
  const std::uint64_t length = std::min(what.length, transfer_max);
  return answer_of([&] { return ::syscall(SYS_getdents64, what.fd, what.address, length); });
}

std::int32_t get_attribute(const request& what) noexcept {
  return answer_of(
      [&] { return ::fgetxattr(what.fd, second_path(what), what.address, what.length); });
}

std::int32_t set_attribute(const request& what) noexcept {
  return answer_of([&] {
    return ::fsetxattr(what.fd, second_path(what), what.address, what.length, flags_of(what));
  });
}

// --- from file to file ---------------------------------------------------------------------------

std::uint64_t second_offset(const request& what) noexcept {
  return reinterpret_cast<std::uintptr_t>(what.address);
}

/// An offset as the kernel takes it: by address, and none at all as null.
class optional_offset {
 public:
  explicit optional_offset(std::uint64_t offset) noexcept
      : value_(static_cast<off64_t>(offset)), none_(offset == UINT64_MAX) {}
  off64_t* get() noexcept { return none_ ? nullptr : &value_; }

 private:
  off64_t value_;
  bool none_;
};

// Waits where a descriptor is O_NONBLOCK, as a transfer does.
std::int32_t splice_files(const request& what) noexcept {
  const std::uint64_t length = std::min(what.length, transfer_max);
  for (;;) {
    optional_offset from(what.offset);
    optional_offset to(second_offset(what));
    const auto answer = answer_of([&] {
      return ::splice(what.fd, from.get(), second_fd(what), to.get(), length, what.flags);
    });
    if (answer != -EAGAIN || (what.flags & SPLICE_F_NONBLOCK) != 0) return answer;
    wait_for(what.fd, POLLIN);
    wait_for(second_fd(what), POLLOUT);
  }
}

std::int32_t copy_range(const request& what) noexcept {
  const std::uint64_t length = std::min(what.length, transfer_max);
  return answer_of([&] {
    optional_offset from(what.offset);
    optional_offset to(second_offset(what));
    return ::copy_file_range(what.fd, from.get(), second_fd(what), to.get(), length, what.flags);
  });
}

std::int32_t share_blocks(const request& what) noexcept {
  file_clone_range range{.src_fd = what.fd,
                         .src_offset = what.offset,
                         .src_length = what.length,
                         .dest_offset = second_offset(what)};
  return answer_of([&] { return ::ioctl(second_fd(what), FICLONERANGE, &range); });
}

// --- readiness and time --------------------------------------------------------------------------

// 0 if it may become ready. epoll(7) refuses the files that know no waiting, as those on a disk.
std::int32_t why_never_ready(int fd) noexcept {
  const int poller = ::epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) return -errno;
  epoll_event none{};
  const bool refused = ::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &none) < 0 && errno == EPERM;
  ::close(poller);
  return refused ? -EINVAL : 0;
}

std::int32_t wait_until_ready(const request& what) noexcept {
  if (what.fd < 0) return -EBADF;  // which poll(2) would pass over
  pollfd waiting{.fd = what.fd, .events = static_cast<short>(what.flags), .revents = 0};
  auto answer = answer_of([&] { return ::poll(&waiting, 1, 0); });
  if (answer == 0) answer = why_never_ready(what.fd);
  if (answer == 0) answer = answer_of([&] { return ::poll(&waiting, 1, -1); });
  if (answer < 0) return answer;
  return (waiting.revents & POLLNVAL) != 0 ? -EBADF : waiting.revents;
}

std::int32_t wait_until_time(const request& what) noexcept {
  const timespec until{.tv_sec = static_cast<time_t>(what.offset / 1'000'000'000),
                       .tv_nsec = static_cast<long>(what.offset % 1'000'000'000)};
  for (;;) {
    const int error = ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    if (error != EINTR) return -error;
  }
}

}  // namespace

bool out_of_range(const request& what) noexcept {
  constexpr std::uint64_t most = std::numeric_limits<off_t>::max();
  switch (what.op) {
    case opcode::read:
    case opcode::write:
    case opcode::readv:
    case opcode::writev:
      return transfer_out_of_range(what);
    case opcode::ftruncate:
      return what.offset > most;
    case opcode::fallocate:
    case opcode::fadvise:
    case opcode::sync_file_range:
      return what.offset > most || what.length > most;
    case opcode::splice:
    case opcode::copy_file_range:
      return (what.offset > most && what.offset != UINT64_MAX) ||
             (second_offset(what) > most && second_offset(what) != UINT64_MAX);
    case opcode::poll:
      return what.flags > UINT16_MAX;
    case opcode::timeout:
      return what.offset > most;
    default:
      return false;
  }
}

std::int32_t perform(const request& what) noexcept {
  if (out_of_range(what)) return -EINVAL;
  const thread_priority during(what.priority);
  if (during.error() != 0) return during.error();
  switch (what.op) {
    case opcode::nop:
      return 0;
    case opcode::read:
      return read_one(what);
    case opcode::write:
      return write_one(what);
    case opcode::readv:
      return read_vector(what, static_cast<const iovec*>(what.address), count_of(what));
    case opcode::writev:
      return write_vector(what, static_cast<const iovec*>(what.address), count_of(what));
    case opcode::fsync:
      return answer_of([&] { return ::fsync(what.fd); });
    case opcode::fdatasync:
      return answer_of([&] { return ::fdatasync(what.fd); });
    case opcode::openat:
      return open_file(what);
    case opcode::close:
      return close_file(what);
    case opcode::statx:
      return status(what);
    case opcode::ftruncate:
      return answer_of([&] { return ::ftruncate(what.fd, static_cast<off_t>(what.offset)); });
    case opcode::fallocate:
      return allocate(what);
    case opcode::openat2:
      return open_in_directory(what);
    case opcode::renameat:
      return rename_file(what);
    case opcode::unlinkat:
      return answer_of([&] { return ::unlinkat(what.fd, path_of(what), flags_of(what)); });
    case opcode::mkdirat:
      return answer_of([&] { return ::mkdirat(what.fd, path_of(what), what.mode); });
    case opcode::linkat:
      return link_file(what);
    case opcode::symlinkat:
      return link_symbolically(what);
    case opcode::fadvise:
      return advise_file(what);
    case opcode::madvise:
      return answer_of([&] { return ::madvise(what.address, what.length, flags_of(what)); });
    case opcode::sync_file_range:
      return sync_range(what);
    case opcode::splice:
      return splice_files(what);
    case opcode::copy_file_range:
      return copy_range(what);
    case opcode::clone_range:
      return share_blocks(what);
    case opcode::getdents:
      return directory_entries(what);
    case opcode::fgetxattr:
      return get_attribute(what);
    case opcode::fsetxattr:
      return set_attribute(what);
    case opcode::poll:
      return wait_until_ready(what);
    case opcode::timeout:
      return wait_until_time(what);
    case opcode::register_memory:
    case opcode::forget_memory:
      return 0;
    case opcode::cancel:
      return -ENOENT;
  }
  return -ENOSYS;
}

}  // namespace weir::detail
