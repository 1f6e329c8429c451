#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "clock.hpp"
#include "daemon/server/carrying_out.hpp"
#include "daemon/server/client.hpp"

namespace weir::detail::daemon {
namespace {

/// The most that is sent behind the information in one piece: with it, not much more than half of
/// what a pipe holds.
constexpr std::size_t quick_most = 32768;

// RESOLVE_CACHED: nothing but names that the kernel remembers, so that no disk is waited for (Linux
// 5.12; before, EINVAL). The path is followed by a NUL where it lies.
long open_cached(int root, const checked_frame& asked) noexcept {
  open_how how = how_to_open(asked.file);
  how.resolve |= RESOLVE_CACHED;
  const char* const path = asked.path.data();  // NOLINT(bugprone-suspicious-stringview-data-usage)
  const long fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
  return fd < 0 ? -errno : fd;
}

std::expected<file_facts, int> facts_of(int fd) noexcept {
  struct statx raw{};
  if (::statx(fd, "", facts_flags | AT_STATX_DONT_SYNC, facts_mask, &raw) != 0) {
    return std::unexpected(errno);
  }
  return facts_from(raw);
}

/// What is written at once: a file's information and all its bytes.
class message_in_one {
 public:
  message_in_one(const answer& info, std::size_t length) noexcept : size_(sizeof info + length) {
    std::memcpy(bytes_.data(), &info, sizeof info);
  }
  std::span<std::byte> body() noexcept {
    return std::span(bytes_).subspan(sizeof(answer), size_ - sizeof(answer));
  }
  std::span<const std::byte> all() const noexcept { return std::span(bytes_).first(size_); }

 private:
  std::array<std::byte, sizeof(answer) + quick_most> bytes_;  // only what is sent is written
  std::size_t size_;
};

enum class quick : std::uint8_t { done, not_quite };

// Where `info` and all bytes can be had and written at once. `written` is how far that came.
quick send_at_once(client& owner, int file, file_range range, const answer& info,
                   const endpoint& to, std::size_t& written) noexcept {
  const std::int64_t since_ns = monotonic_now_ns();
  message_in_one goods(info, range.length);
  const auto body = goods.body();
  if (!body.empty() && read_cached(file, body, range.offset) != std::ssize(body)) {
    return quick::not_quite;
  }
  const long taken = owner.server().mover.io().write(to, goods.all());
  // EBADF: a pipe's reading end. To ask for that first would be a system call more for each read.
  if (taken == -EAGAIN || taken == -EBADF) return quick::not_quite;
  const int error = taken < 0 ? static_cast<int>(-taken) : 0;
  written = error != 0 ? 0 : static_cast<std::size_t>(taken);
  if (error == 0 && written < goods.all().size()) return quick::not_quite;
  if (error == 0) owner.count_moved(message::read, body.size());
  owner.count_ended(message::read, error, since_ns);
  return quick::done;
}

}  // namespace

bool read_quickly(client& owner, const checked_frame& asked, std::uint64_t id, endpoint& channel,
                  head_start& begun) {
  if (!channel.is_pipe() && channel.kind() != endpoint_kind::stream) return false;
  const long fd = open_cached(owner.server().options.root, asked);
  if (fd == -EAGAIN || fd == -EINVAL) return false;
  if (fd < 0) return begun.error = static_cast<int>(-fd), false;
  descriptor opened(static_cast<int>(fd));

  const auto about = facts_of(opened.get());
  if (!about) return begun.error = about.error(), false;
  begun.opened.about = *about;
  const auto range = range_within(about->size, asked.file);
  if (!range) return begun.error = range.error(), false;
  const bool small = range->length <= quick_most;
  const bool locks = (asked.file.flags & transfer_flag::lock) != 0;
  if (small && !locks) {
    const answer info = file_info(asked.header.tag, id, *about, *range);
    const quick outcome = send_at_once(owner, opened.get(), *range, info, channel, begun.written);
    if (outcome == quick::done) {
      channel.reset();  // first: the client waits for its end
      return true;
    }
  }
  begun.opened.file = locks ? owner.server().files.keep(std::move(opened))
                            : owner.server().files.share(std::move(opened), *about);
  return false;
}

}  // namespace weir::detail::daemon
