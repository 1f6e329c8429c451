#include "perform.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
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
      return what.offset > most || what.length > most;
    default:
      return false;
  }
}

std::int32_t perform(const request& what) noexcept {
  if (out_of_range(what)) return -EINVAL;
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
    case opcode::cancel:
      return -ENOENT;
  }
  return -ENOSYS;
}

}  // namespace weir::detail
