#include "perform.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
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

namespace weir::detail {
namespace {

// Repeats `call` while signals interrupt it, and turns its -1 into a negative errno.
template <class Call>
std::int32_t answer_of(Call call) noexcept {
  for (;;) {
    const auto answer = call();
    if (answer >= 0) return static_cast<std::int32_t>(answer);
    if (errno != EINTR) return -errno;
  }
}

// The same for a transfer on a descriptor that may be O_NONBLOCK, which io_uring does not look at:
// an operation is there to wait, unless it asks not to (RWF_NOWAIT).
template <class Call>
std::int32_t answer_when_ready(const request& what, short ready, Call call) noexcept {
  for (;;) {
    const auto answer = answer_of(call);
    if (answer != -EAGAIN || (what.flags & RWF_NOWAIT) != 0) return answer;
    pollfd waiting{.fd = what.fd, .events = ready, .revents = 0};
    static_cast<void>(answer_of([&] { return ::poll(&waiting, 1, -1); }));
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

const char* first_path(const request& what) noexcept {
  return static_cast<const char*>(what.address);
}
const char* second_path(const request& what) noexcept {
  return reinterpret_cast<const char*>(what.offset);
}
int second_fd(const request& what) noexcept { return static_cast<int>(what.mode); }

std::int32_t open_file_how(const request& what) noexcept {
  return answer_of(
      [&] { return ::syscall(SYS_openat2, what.fd, what.address, what.offset, what.length); });
}

std::int32_t rename_file(const request& what) noexcept {
  return answer_of([&] {
    return ::renameat2(what.fd, first_path(what), second_fd(what), second_path(what), what.flags);
  });
}

std::int32_t link_file(const request& what) noexcept {
  return answer_of([&] {
    return ::linkat(what.fd, first_path(what), second_fd(what), second_path(what),
                    static_cast<int>(what.flags));
  });
}

std::int32_t link_symbolically(const request& what) noexcept {
  return answer_of(
      [&] { return ::symlinkat(first_path(what), second_fd(what), second_path(what)); });
}

// posix_fadvise(3) returns its error.
std::int32_t advise_file(const request& what) noexcept {
  return -::posix_fadvise(what.fd, static_cast<off_t>(what.offset), static_cast<off_t>(what.length),
                          static_cast<int>(what.flags));
}

std::int32_t write_back_range(const request& what) noexcept {
  return answer_of([&] {
    return ::sync_file_range(what.fd, static_cast<off_t>(what.offset),
                             static_cast<off_t>(what.length), what.flags);
  });
}

/// The two offsets of `two_files`, as system calls want them: null for none.
struct offsets {
  explicit offsets(const request& what) noexcept
      : in(static_cast<off64_t>(what.offset)),
        out(static_cast<off64_t>(reinterpret_cast<std::uintptr_t>(what.address))) {}
  off64_t* in_or_null() noexcept { return in == -1 ? nullptr : &in; }
  off64_t* out_or_null() noexcept { return out == -1 ? nullptr : &out; }
  off64_t in;
  off64_t out;
};

std::int32_t splice_files(const request& what) noexcept {
  return answer_of([&] {
    offsets at(what);
    return ::splice(what.fd, at.in_or_null(), second_fd(what), at.out_or_null(),
                    std::min(what.length, transfer_max), what.flags);
  });
}

std::int32_t copy_range(const request& what) noexcept {
  return answer_of([&] {
    offsets at(what);
    return ::copy_file_range(what.fd, at.in_or_null(), second_fd(what), at.out_or_null(),
                             std::min(what.length, transfer_max), what.flags);
  });
}

std::int32_t list_directory(const request& what) noexcept {
  return answer_of([&] {
    return ::syscall(SYS_getdents64, what.fd, what.address,
                     static_cast<unsigned>(std::min(what.length, transfer_max)));
  });
}

std::int32_t get_attribute(const request& what) noexcept {
  return answer_of(
      [&] { return ::fgetxattr(what.fd, second_path(what), what.address, what.length); });
}

std::int32_t set_attribute(const request& what) noexcept {
  return answer_of([&] {
    return ::fsetxattr(what.fd, second_path(what), what.address, what.length,
                       static_cast<int>(what.flags));
  });
}

// poll(2) says by POLLNVAL what an errno says elsewhere.
std::int32_t wait_until_ready(const request& what) noexcept {
  pollfd waiting{.fd = what.fd, .events = static_cast<short>(what.flags), .revents = 0};
  const auto count = answer_of([&] { return ::poll(&waiting, 1, -1); });
  if (count < 0) return count;
  return (waiting.revents & POLLNVAL) != 0 ? -EBADF : waiting.revents;
}

std::int32_t sleep_until(const request& what) noexcept {
  const timespec until{.tv_sec = static_cast<time_t>(what.offset / 1'000'000'000),
                       .tv_nsec = static_cast<long>(what.offset % 1'000'000'000)};
  int error = EINTR;
  while (error == EINTR) error = ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
  return -error;
}

std::int32_t allocate(const request& what) noexcept {
  return answer_of([&] {
    return ::fallocate(what.fd, static_cast<int>(what.mode), static_cast<off_t>(what.offset),
                       static_cast<off_t>(what.length));
  });
}

}  // namespace

bool out_of_range(const request& what) noexcept {
  constexpr std::uint64_t most = std::numeric_limits<off_t>::max();
  switch (what.op) {
    case opcode::read:
    case opcode::write:
    case opcode::readv:
    case opcode::writev:
      return what.offset > most - transfer_max;
    case opcode::ftruncate:
      return what.offset > most;
    case opcode::fallocate:
    case opcode::fadvise:
    case opcode::sync_file_range:
      return what.offset > most || what.length > most;
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
      return open_file_how(what);
    case opcode::renameat:
      return rename_file(what);
    case opcode::unlinkat:
      return answer_of(
          [&] { return ::unlinkat(what.fd, first_path(what), static_cast<int>(what.flags)); });
    case opcode::mkdirat:
      return answer_of([&] { return ::mkdirat(what.fd, first_path(what), what.mode); });
    case opcode::linkat:
      return link_file(what);
    case opcode::symlinkat:
      return link_symbolically(what);
    case opcode::fadvise:
      return advise_file(what);
    case opcode::madvise:
      return answer_of(
          [&] { return ::madvise(what.address, what.length, static_cast<int>(what.flags)); });
    case opcode::sync_file_range:
      return write_back_range(what);
    case opcode::splice:
      return splice_files(what);
    case opcode::copy_file_range:
      return copy_range(what);
    case opcode::getdents:
      return list_directory(what);
    case opcode::fgetxattr:
      return get_attribute(what);
    case opcode::fsetxattr:
      return set_attribute(what);
    case opcode::poll:
      return wait_until_ready(what);
    case opcode::timeout:
      return sleep_until(what);
    case opcode::register_memory:
    case opcode::forget_memory:
      return 0;  // only a hint
    case opcode::cancel:
      return -ENOENT;
  }
  return -ENOSYS;
}

}  // namespace weir::detail
