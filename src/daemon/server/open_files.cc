#include "daemon/server/open_files.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <system_error>

#include "weir/callback.hpp"
#include "weir/sender.hpp"

namespace weir::detail::daemon {

const int facts_flags = AT_EMPTY_PATH;
const unsigned facts_mask =
    STATX_TYPE | STATX_INO | STATX_SIZE | STATX_ATIME | STATX_MTIME | STATX_CTIME;

namespace {

std::int64_t nanoseconds(const statx_timestamp& time) noexcept {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::expected<file_facts, int> facts_from(const struct statx& raw) noexcept {
  if (!S_ISREG(raw.stx_mode)) return std::unexpected(EINVAL);
  return file_facts{.device = ::makedev(raw.stx_dev_major, raw.stx_dev_minor),
                    .inode = raw.stx_ino,
                    .size = raw.stx_size,
                    .accessed_ns = nanoseconds(raw.stx_atime),
                    .modified_ns = nanoseconds(raw.stx_mtime),
                    .changed_ns = nanoseconds(raw.stx_ctime)};
}

// `check` has seen to it that the sum does not overflow.
std::expected<file_range, int> range_within(std::uint64_t size,
                                            const path_request& asked) noexcept {
  if (asked.offset > size) return std::unexpected(ERANGE);
  const std::uint64_t rest = size - asked.offset;
  if (asked.length == to_the_end) return file_range{asked.offset, rest};
  if (asked.length > rest) return std::unexpected(ERANGE);
  return file_range{asked.offset, asked.length};
}

namespace {

bool writes(message kind) noexcept {
  return kind == message::receive || kind == message::write_memory;
}

std::uint64_t creation_flags(std::uint32_t asked) noexcept {
  std::uint64_t flags = 0;
  if ((asked & transfer_flag::create) != 0) flags |= O_CREAT;
  if ((asked & transfer_flag::exclusive) != 0) flags |= O_EXCL;
  return flags;
}

}  // namespace

// O_TRUNC is not among the flags: what is no regular file would be opened, and a file that is
// locked by another be emptied, before either is known.
open_how how_to_open(const path_request& asked) noexcept {
  open_how how{};
  how.flags = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  if (writes(asked.header.kind)) {
    how.flags |= O_WRONLY | creation_flags(asked.flags);
    if ((how.flags & O_CREAT) != 0) how.mode = asked.mode;
  }
  return how;
}

int lock(int fd, message kind, file_range range) noexcept {
  struct flock wanted{};
  wanted.l_type = writes(kind) ? F_WRLCK : F_RDLCK;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = static_cast<off_t>(range.offset);
  wanted.l_len = range.length == to_the_end ? 0 : static_cast<off_t>(range.length);
  // A length of 0 would mean everything behind the offset. Nothing is nobody's to lock.
  if (range.length == 0) return 0;
  return ::fcntl(fd, F_OFD_SETLK, &wanted) == 0 ? 0 : errno;
}

// --- sharing -------------------------------------------------------------------------------------

struct open_file::shared {
  shared(open_files& among, descriptor opened, open_files::key identity, bool is_listed) noexcept
      : all(among), fd(std::move(opened)), is(identity), listed(is_listed) {}

  open_files& all;
  descriptor fd;
  open_files::key is;
  bool listed;
  std::size_t users = 1;
};

int open_file::fd() const noexcept { return shared_ != nullptr ? shared_->fd.get() : -1; }

void open_file::reset() noexcept {
  shared* one = std::exchange(shared_, nullptr);
  if (one != nullptr && --one->users == 0) one->all.forget(*one);
}

open_file open_files::share(descriptor opened, const file_facts& about) {
  const key is{about.device, about.inode};
  if (const auto found = shared_.find(is); found != shared_.end()) {
    ++found->second->users;
    return open_file(found->second);
  }
  auto made = std::make_unique<open_file::shared>(*this, std::move(opened), is, true);
  shared_.emplace(is, made.get());
  return open_file(made.release());
}

open_file open_files::keep(descriptor opened) {
  return open_file(new open_file::shared(*this, std::move(opened), {}, false));
}

namespace {

// Closing would do so, but only when its turn has come.
void unlock(int fd) noexcept {
  struct flock whole{};
  whole.l_type = F_UNLCK;
  whole.l_whence = SEEK_SET;
  ::fcntl(fd, F_OFD_SETLK, &whole);
}

}  // namespace

void open_files::forget(open_file::shared& one) noexcept {
  const std::unique_ptr<open_file::shared> last(&one);
  if (one.listed) {
    shared_.erase(one.is);
  } else {
    unlock(one.fd.get());
  }
  close(std::move(one.fd));
}

void open_files::close(descriptor opened) noexcept {
  const int fd = opened.release();
  io_void_sender closing(&context_, request{.op = opcode::close, .fd = fd});
  // Cancelled before it began, by a context that shuts down: the descriptor must not leak.
  start(closing, [fd](const result<void>& closed) {
    if (!closed && closed.error() == std::errc::operation_canceled) ::close(fd);
  });
}

}  // namespace weir::detail::daemon
