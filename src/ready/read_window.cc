#include "read_window.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "../resident_read.hpp"
#include "weir/io_context.hpp"

namespace weir::detail {
namespace {

// What the first transfer asks for; and what is copied from the page cache at a time: that much
// stays in the processor's caches until it is read.
constexpr std::size_t first_ahead = std::size_t{32} << 10;
constexpr std::size_t most_from_cache = std::size_t{64} << 10;

constexpr std::int64_t nothing = -EAGAIN;

}  // namespace

bool read_window::chunk::covers(std::uint64_t position) const noexcept {
  switch (now) {
    case state::filling:
      return !stale && position >= from && position < until;
    case state::held:
      return position >= from && position < from + bytes.size();
    case state::ended:
      return position == from;
    case state::empty:
      break;
  }
  return false;
}

void read_window::begin(const ready_target& file, std::size_t most) noexcept {
  file_ = file;
  most_ = most;
  position_ = 0;
  ahead_ = std::min(first_ahead, most);
  asks_cache_ = !file.direct;
  misses_ = false;
}

void read_window::end() noexcept {
  for (chunk& each : chunks_) {
    each.now = chunk::state::empty;
    each.memory = {};
  }
}

void read_window::seek(std::uint64_t position) noexcept {
  if (held_at(position) == nullptr && position != position_) {
    ahead_ = std::max<std::size_t>(direct_page, ahead_ / 4);
    misses_ = false;
  }
  position_ = position;
}

std::int64_t read_window::try_read(std::span<std::byte> into) noexcept {
  if (const auto found = from_chunks(into); found != nothing) return found;
  if (waits()) return nothing;
  if (asks_cache_) {
    if (const auto found = from_cache(into); found != nothing) return found;
  }
  chunk* const room = reusable();
  if (room == nullptr) return nothing;  // both are on their way from where nobody reads any more
  misses_ = true;
  return fill(*room, position_) ? nothing : -ENOMEM;
}

std::int64_t read_window::from_chunks(std::span<std::byte> into) noexcept {
  chunk* const found = held_at(position_);
  if (found == nullptr) return nothing;
  if (found->now == chunk::state::held) return take(*found, into);
  found->now = chunk::state::empty;  // told once; the next one asks again
  return found->told;
}

std::int64_t read_window::take(chunk& from, std::span<std::byte> into) noexcept {
  const auto rest = from.bytes.subspan(position_ - from.from);
  const std::size_t count = std::min(rest.size(), into.size());
  std::memcpy(into.data(), rest.data(), count);
  position_ += count;
  if (misses_ && rest.size() - count <= from.bytes.size() / 2) read_ahead_of(from);
  if (count == rest.size()) {
    from.now = chunk::state::empty;
    ahead_ = std::min(most_, ahead_ * 2);
  }
  return static_cast<std::int64_t>(count);
}

/// A small read brings in what the next ones will ask for: a system call each would cost more.
std::int64_t read_window::from_cache(std::span<std::byte> into) noexcept {
  const std::size_t ahead = std::min(ahead_, most_from_cache);
  chunk* const room = into.size() < ahead ? reusable() : nullptr;
  if (room == nullptr) {
    const auto count = ask_cache(into);
    if (count > 0) position_ += static_cast<std::uint64_t>(count);
    return count;
  }
  if (room->memory.size() < ahead) {
    auto memory = buffer::allocate(ahead);
    if (!memory) return -ENOMEM;
    room->memory = std::move(*memory);
  }
  const auto count = ask_cache(room->memory.first(ahead));
  if (count <= 0) return count;
  room->now = chunk::state::held;
  room->from = position_;
  room->bytes = room->memory.first(static_cast<std::size_t>(count));
  room->last = static_cast<std::size_t>(count) < ahead;
  return take(*room, into);
}

std::int64_t read_window::ask_cache(std::span<std::byte> into) noexcept {
  const iovec to{.iov_base = into.data(), .iov_len = into.size()};
  const int how = file_.memory ? 0 : RWF_NOWAIT;
  long count = 0;
  do {
    count = preadv2_directly(file_.fd, to, position_, how);
  } while (count == -EINTR);
  // This file system cannot tell; or it is a simulated disk's, and no descriptor of the kernel's.
  if (count == -EOPNOTSUPP || count == -ENOSYS || count == -EBADF) {
    asks_cache_ = false;
    return nothing;
  }
  return count;
}

/// For `position`: one that has nothing which a reader there would come to.
read_window::chunk* read_window::reusable() noexcept {
  for (chunk& each : chunks_) {
    if (each.now == chunk::state::empty) return &each;
  }
  for (chunk& each : chunks_) {
    if (each.now != chunk::state::filling && !each.covers(position_)) return &each;
  }
  return nullptr;
}

bool read_window::fill(chunk& into, std::uint64_t from) noexcept {
  const std::uint64_t start = file_.direct ? page_start(from) : from;
  const std::size_t length = std::max<std::size_t>(direct_page, page_start(ahead_));
  if (into.memory.size() < length) {
    auto memory = buffer::allocate(length);
    if (!memory) return false;
    into.memory = std::move(*memory);
  }
  into.now = chunk::state::filling;
  into.stale = false;
  into.from = from;
  into.until = start + length;
  into.args = {.op = opcode::read,
               .hints = file_.direct ? hint::direct : std::uint8_t{0},
               .fd = file_.fd,
               .address = into.memory.data(),
               .offset = start,
               .length = length};
  file_.context->start(into);
  return true;
}

void read_window::filled(chunk& which) noexcept {
  which.now = chunk::state::empty;
  if (which.stale) return;
  const std::uint64_t before = which.from - which.args.offset;  // with O_DIRECT
  const std::int32_t answer = which.answer();
  if (answer < 0 || static_cast<std::uint64_t>(answer) <= before) {
    which.now = chunk::state::ended;
    which.told = std::min(answer, 0);
    return;
  }
  which.now = chunk::state::held;
  which.last = static_cast<std::uint64_t>(answer) < which.args.length;
  which.bytes = which.memory.first(static_cast<std::size_t>(answer)).subspan(before);
}

void read_window::read_ahead_of(const chunk& current) noexcept {
  if (current.last) return;
  chunk& other = &current == chunks_.data() ? chunks_[1] : chunks_[0];
  const std::uint64_t next = current.from + current.bytes.size();
  if (other.now == chunk::state::filling || other.covers(next)) return;
  (void)fill(other, next);  // without memory for it, the reader will ask by itself
}

read_window::chunk* read_window::held_at(std::uint64_t position) noexcept {
  for (chunk& each : chunks_) {
    if (each.now != chunk::state::filling && each.covers(position)) return &each;
  }
  return nullptr;
}

bool read_window::waits() const noexcept {
  const auto comes = [this](const chunk& each) {
    return each.now == chunk::state::filling && each.covers(position_);
  };
  const auto busy = [](const chunk& each) { return each.now == chunk::state::filling; };
  return std::ranges::any_of(chunks_, comes) || std::ranges::all_of(chunks_, busy);
}

bool read_window::in_flight() const noexcept {
  return std::ranges::any_of(chunks_,
                             [](const chunk& each) { return each.now == chunk::state::filling; });
}

void read_window::forget(std::uint64_t from, std::uint64_t length) noexcept {
  for (chunk& each : chunks_) {
    switch (each.now) {
      case chunk::state::filling:
        if (from < each.until && from + length > each.args.offset) each.stale = true;
        break;
      case chunk::state::held:
        if (from < each.from + each.bytes.size() && from + length > each.from)
          each.now = chunk::state::empty;
        break;
      case chunk::state::ended:
        each.now = chunk::state::empty;
        break;
      case chunk::state::empty:
        break;
    }
  }
}

}  // namespace weir::detail
