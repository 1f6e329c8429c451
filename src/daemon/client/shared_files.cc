#include "daemon/client/shared_files.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/disk_file.hpp"

namespace weir::detail::daemon {
namespace {

constexpr int query_duplicate = 1024 + 3;  // F_DUPFD_QUERY, which Debian 12's headers do not have
constexpr int compare_files = 0;           // KCMP_FILE

// 1 where both are the same open file, 0 where not or where the kernel does not tell.
bool same_open_file(int one, int other) noexcept {
  const int told = ::fcntl(one, query_duplicate, other);
  if (told >= 0) return told == 1;
  const pid_t self = ::getpid();
  return ::syscall(SYS_kcmp, self, self, compare_files, one, other) == 0;
}

}  // namespace

shared_files::found shared_files::use(int fd, std::int64_t now_ns) noexcept {
  for (std::size_t at = 0; at < end_; ++at) {
    entry& each = entries_[at];
    if (each.fd != fd || each.stale) continue;
    if (is_same(each)) return use_entry(at, now_ns);
    drop(each);
  }
  const int slot = is_disk_file(fd) ? add(fd) : -1;
  return slot < 0 ? found{} : use_entry(index_of(slot), now_ns);
}

shared_files::found shared_files::use_entry(std::size_t at, std::int64_t now_ns) noexcept {
  entry& which = entries_[at];
  if (which.refused) return {};
  ++which.in_use;
  which.used_ns = now_ns;
  return {.slot = static_cast<int>(at), .direct = which.direct, .appends = which.appends};
}

bool shared_files::is_same(entry& which) const noexcept {
  if (which.seen_in == turn_) return true;
  if (!same_open_file(which.fd, which.kept)) return false;
  which.seen_in = turn_;
  return true;
}

// A slot that the daemon still holds is as good as an empty one: what is put there replaces it.
int shared_files::add(int fd) noexcept {
  const auto vacant = std::ranges::find_if(
      entries_, [](const entry& each) { return each.fd < 0 && each.in_use == 0; });
  if (vacant == entries_.end()) return -1;
  const int kept = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (kept < 0) return -1;
  const int flags = ::fcntl(fd, F_GETFL);
  news_ = true;
  ++kept_;
  *vacant = {.fd = fd,
             .kept = kept,
             .seen_in = turn_,
             .direct = (flags & O_DIRECT) != 0,
             .appends = (flags & O_APPEND) != 0};
  const auto at = static_cast<std::size_t>(vacant - entries_.begin());
  end_ = std::max(end_, at + 1);
  return static_cast<int>(at);
}

// What is in use is left to those who use it, and not found again.
void shared_files::drop(entry& which) noexcept {
  which.stale = true;
  if (which.in_use != 0) return;
  ::close(which.kept);
  --kept_;
  news_ = news_ || which.told;
  which = {.forgotten = which.told};
}

void shared_files::closing(int fd) noexcept {
  for (entry& each : entries_) {
    if (each.fd == fd) drop(each);
  }
}

void shared_files::forget_idle(std::int64_t now_ns) noexcept {
  for (entry& each : entries_) {
    if (each.fd >= 0 && each.in_use == 0 && (each.stale || now_ns - each.used_ns >= idle_max_ns))
      drop(each);
  }
}

void shared_files::forget_all() noexcept {
  for (entry& each : entries_) {
    if (each.fd >= 0) ::close(each.kept);
    each = {};
  }
  news_ = false;
  kept_ = 0;
  end_ = 0;
}

shared_files::news shared_files::to_tell() const {
  news all;
  const auto append = [&](auto wanted) {
    std::size_t room = descriptors_max;
    for (std::size_t at = 0; at < entries_.size() && room != 0; ++at) {
      if (!wanted(entries_[at])) continue;
      all.slots.push_back(static_cast<std::uint32_t>(at));
      --room;
    }
  };
  append([](const entry& each) { return each.fd >= 0 && !each.told; });
  for (const std::uint32_t slot : all.slots) all.descriptors.push_back(entries_[slot].kept);
  append([](const entry& each) { return each.forgotten; });
  return all;
}

void shared_files::told(const news& sent) noexcept {
  for (const std::uint32_t slot : sent.slots) {
    entry& each = entries_[slot];
    each.told = each.fd >= 0;
    each.forgotten = false;
  }
  news_ = std::ranges::any_of(
      entries_, [](const entry& each) { return each.forgotten || (each.fd >= 0 && !each.told); });
}

}  // namespace weir::detail::daemon
