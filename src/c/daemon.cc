// The C interface to the daemon: requests, and the pipes that their answers come on. What is asked
// is in daemon/client_socket; the daemon's process in daemon_process.cc.

#include "weir/daemon.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "conversions.hpp"
#include "daemon/client/client_socket.hpp"

using weir::detail::errno_kept;
using weir::detail::daemon::answer;
using weir::detail::daemon::file_request;
using weir::detail::daemon::message;
using weir::detail::daemon::send_request;

namespace flag = weir::detail::daemon::transfer_flag;

namespace {

static_assert(WEIR_LOCK == flag::lock && WEIR_CREATE == flag::create &&
              WEIR_EXCLUSIVE == flag::exclusive && WEIR_TRUNCATE == flag::truncate &&
              WEIR_DURABLE == flag::durable && WEIR_DATA_ONLY == flag::data_only &&
              WEIR_NONBLOCK > flag::all);
static_assert(WEIR_TO_THE_END == weir::detail::daemon::to_the_end);

/// The pipe of a request: the daemon gets one end, the caller keeps the other.
class channel {
 public:
  explicit channel(unsigned flags = 0) noexcept
      : error_(::pipe2(ends_.data(), flags_of(flags)) != 0 ? -errno : 0) {}
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;
  ~channel() {
    for (const int end : ends_) {
      if (end >= 0) ::close(end);
    }
  }

  int error() const noexcept { return error_; }
  int reader() const noexcept { return ends_[0]; }
  int writer() const noexcept { return ends_[1]; }

  /// What the caller keeps when `sent` is 0; or `sent`, an error.
  int kept_if(int sent) noexcept {
    if (sent != 0) return sent;
    const int kept = ends_[0];
    ends_[0] = -1;
    return kept;
  }
  void close_writer() noexcept {
    ::close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  static int flags_of(unsigned flags) noexcept {
    return O_CLOEXEC | ((flags & WEIR_NONBLOCK) != 0 ? O_NONBLOCK : 0);
  }

  std::array<int, 2> ends_{-1, -1};
  int error_;
};

constexpr int none = -1;

/// Sends a request with a new channel, and the descriptor `other` if there is one. `send` does it
/// with the descriptors that it is given.
template <class Send>
int asked(unsigned flags, int other, Send send) noexcept {
  const errno_kept kept;
  channel made(flags);
  if (made.error() != 0) return made.error();
  const std::array<int, 2> both{made.writer(), other};
  return made.kept_if(send(std::span(both).first(other == none ? 1 : 2)));
}

int asked_of_file(int daemon, message kind, file_request wanted, unsigned flags,
                  int other = none) noexcept {
  if (wanted.path.data() == nullptr) return -EINVAL;
  if (other < none) return -EBADF;
  wanted.flags = flags & ~static_cast<unsigned>(WEIR_NONBLOCK);
  return asked(flags, other, [&](std::span<const int> descriptors) {
    return send_request(daemon, kind, wanted, descriptors);
  });
}

int asked_plainly(int daemon, message kind, unsigned flags) noexcept {
  if ((flags & ~static_cast<unsigned>(WEIR_NONBLOCK)) != 0) return -EINVAL;
  return asked(flags, none, [&](std::span<const int> descriptors) {
    return send_request(daemon, kind, descriptors);
  });
}

std::string_view text(const char* path) noexcept {
  return path == nullptr ? std::string_view() : std::string_view(path);
}

// The predecessor's callers say 0 for all of a file.
std::uint64_t length_of(std::uint64_t length) noexcept {
  return length == 0 ? weir::detail::daemon::to_the_end : length;
}

file_request range_of(const char* path, std::uint64_t offset, std::uint64_t length) noexcept {
  return {.path = text(path), .offset = offset, .length = length_of(length)};
}

/// Reads one answer of a channel that blocks: false when it ends, or fails, before that.
bool read_answer(int reader, answer& into) noexcept {
  auto* const bytes = reinterpret_cast<char*>(&into);
  std::size_t filled = 0;
  while (filled < sizeof into) {
    const ssize_t got = ::read(reader, bytes + filled, sizeof into - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    filled += static_cast<std::size_t>(got);
  }
  return true;
}

bool is_answer(const answer& came) noexcept {
  return weir::detail::daemon::is_sound(came) && came.kind <= message::daemon_info;
}

template <class... Kinds>
bool is_one_of(message kind, Kinds... kinds) noexcept {
  return ((kind == kinds) || ...);
}

/// Copies an answer of one of these kinds into one of the structures of C, which are `answer` with
/// other names.
template <class Structure, class... Kinds>
int parse(const void* bytes, ssize_t size, Structure* into, Kinds... kinds) noexcept {
  static_assert(sizeof(Structure) == sizeof(answer) && std::is_trivially_copyable_v<Structure>);
  static_assert(offsetof(Structure, status) == offsetof(answer, status) &&
                offsetof(Structure, id) == offsetof(answer, id));
  if (bytes == nullptr || into == nullptr) return -EINVAL;
  if (size < static_cast<ssize_t>(sizeof(answer))) return 0;
  answer came;
  std::memcpy(&came, bytes, sizeof came);
  if (!is_answer(came)) return -EBADMSG;
  const bool wanted = is_one_of(came.kind, kinds...);
  const bool refused = came.status < 0 && (!wanted || came.kind != message::ended);
  if (refused) return came.status;
  if (!wanted) return -EBADMSG;
  std::memcpy(into, &came, sizeof came);
  return 1;
}

}  // namespace

extern "C" {

int weir_connect(const char* socket_path) {
  const errno_kept kept;
  return socket_path == nullptr ? -EINVAL : weir::detail::daemon::connect_to_daemon(socket_path);
}

int weir_daemon_read(int daemon, const char* path, uint64_t offset, uint64_t length,
                     unsigned flags) {
  return asked_of_file(daemon, message::read, range_of(path, offset, length), flags);
}

int weir_daemon_send(int daemon, const char* path, int destination, uint64_t offset,
                     uint64_t length, unsigned flags) {
  if (destination < 0) return -EBADF;
  return asked_of_file(daemon, message::send, range_of(path, offset, length), flags, destination);
}

int weir_daemon_open(int daemon, const char* path, uint64_t offset, uint64_t length,
                     unsigned flags) {
  return asked_of_file(daemon, message::open, range_of(path, offset, length), flags);
}

int weir_daemon_send_open(int daemon, uint64_t id, int destination) {
  const errno_kept kept;
  if (destination < 0) return -EBADF;
  return send_request(daemon, message::send_open, id, {&destination, 1});
}

int weir_daemon_cancel(int daemon, uint64_t id) {
  const errno_kept kept;
  channel made;
  if (made.error() != 0) return made.error();
  const int writer = made.writer();
  const int sent = send_request(daemon, message::cancel, id, {&writer, 1});
  if (sent != 0) return sent;
  made.close_writer();  // or it would never end
  answer acknowledged;
  if (!read_answer(made.reader(), acknowledged)) return -ECONNRESET;
  if (!is_answer(acknowledged) || acknowledged.kind != message::ended) return -EBADMSG;
  return acknowledged.status;
}

int weir_daemon_receive(int daemon, const char* path, int source, uint64_t offset, uint64_t length,
                        unsigned flags, mode_t mode) {
  if (source < 0) return -EBADF;
  file_request wanted = range_of(path, offset, length);
  wanted.mode = mode;
  return asked_of_file(daemon, message::receive, wanted, flags, source);
}

int weir_daemon_read_memory(int daemon, const char* path, int memory, uint64_t memory_offset,
                            uint64_t offset, uint64_t length, unsigned flags) {
  if (memory < 0) return -EBADF;
  const file_request wanted{
      .path = text(path), .offset = offset, .length = length, .memory_offset = memory_offset};
  return asked_of_file(daemon, message::read_memory, wanted, flags, memory);
}

int weir_daemon_write_memory(int daemon, const char* path, int memory, uint64_t memory_offset,
                             uint64_t offset, uint64_t length, unsigned flags, mode_t mode) {
  if (memory < 0) return -EBADF;
  const file_request wanted{.path = text(path),
                            .offset = offset,
                            .length = length,
                            .mode = mode,
                            .memory_offset = memory_offset};
  return asked_of_file(daemon, message::write_memory, wanted, flags, memory);
}

int weir_daemon_stat(int daemon, const char* path, unsigned flags) {
  return asked_of_file(daemon, message::stat, {.path = text(path)}, flags);
}

int weir_daemon_sync(int daemon, const char* path, unsigned flags) {
  return asked_of_file(daemon, message::sync, {.path = text(path)}, flags);
}

int weir_daemon_info(int daemon, unsigned flags) {
  return asked_plainly(daemon, message::info, flags);
}

int weir_daemon_metrics(int daemon, unsigned flags) {
  return asked_plainly(daemon, message::metrics, flags);
}

int weir_parse_answer(const void* bytes, ssize_t size, struct weir_answer* answer) {
  return parse(bytes, size, answer, message::file_info, message::progress, message::ended,
               message::daemon_info);
}

int weir_parse_file_info(const void* bytes, ssize_t size, struct weir_file_info* info) {
  return parse(bytes, size, info, message::file_info);
}

int weir_parse_transfer_status(const void* bytes, ssize_t size,
                               struct weir_transfer_status* status) {
  return parse(bytes, size, status, message::progress, message::ended);
}

int weir_parse_daemon_info(const void* bytes, ssize_t size, struct weir_daemon_state* state) {
  return parse(bytes, size, state, message::daemon_info);
}

}  // extern "C"
