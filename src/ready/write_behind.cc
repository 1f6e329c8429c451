#include "write_behind.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "weir/io_context.hpp"

namespace weir::detail {
namespace {

constexpr unsigned most_in_flight = 4;
// Blocks that were flushed before they were full; each takes a whole one's memory.
constexpr std::size_t most_not_full = 8;
constexpr std::size_t most_spare = 4;

}  // namespace

write_behind::write_behind(ready_slot& slot, operation::completion written)
    : slot_(&slot), written_(written) {
  spare_.reserve(most_spare);
}

void write_behind::begin(const ready_target& file, std::size_t bound,
                         std::size_t block_size) noexcept {
  file_ = file;
  bound_ = bound;
  block_size_ = block_size;
  position_ = 0;
  error_ = {};
  failed_ = 0;
}

void write_behind::end() noexcept {
  blocks_.clear();
  spare_.clear();
}

void write_behind::seek(std::uint64_t position) noexcept {
  if (position == position_) return;
  if (filling()) flush();
  position_ = position;
}

std::int64_t write_behind::accept(std::span<const std::byte> bytes) noexcept {
  if (!has_room()) {
    flush();  // or a part of the room would wait for a flush that nobody asks for
    return -EAGAIN;
  }
  const std::size_t count = std::min(bytes.size(), bound_ - behind_);
  std::size_t moved = 0;
  while (moved < count) {
    block* const into = room();
    if (into == nullptr) break;
    const std::size_t used = into->head + into->filled;
    // Beyond an unaligned beginning a new block begins aligned.
    const std::size_t limit = into->head != 0 ? direct_page : block_size_;
    const std::size_t part = std::min(count - moved, limit - used);
    std::memcpy(into->memory.data() + used, bytes.data() + moved, part);
    into->filled += part;
    if (used + part == limit) into->now = block::state::sealed;
    moved += part;
    position_ += part;
    behind_ += part;
  }
  start_what_may();
  return moved != 0 ? static_cast<std::int64_t>(moved) : -ENOMEM;
}

bool write_behind::has_room() const noexcept {
  return behind_ < bound_ && blocks_.size() < bound_ / block_size_ + most_not_full;
}

bool write_behind::has_much_room() const noexcept { return has_room() && behind_ <= bound_ / 2; }

write_behind::block* write_behind::room() noexcept {
  if (filling()) return blocks_.back().get();
  try {
    auto made = new_block();
    if (made == nullptr) return nullptr;
    made->now = block::state::filling;
    made->number = next_number_;
    made->offset = position_;
    made->head = file_.direct ? position_ % direct_page : 0;
    made->filled = 0;
    made->written = 0;
    blocks_.push_back(std::move(made));
    ++next_number_;
    return blocks_.back().get();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

std::unique_ptr<write_behind::block> write_behind::new_block() noexcept {
  if (!spare_.empty()) {
    auto reused = std::move(spare_.back());
    spare_.pop_back();
    return reused;
  }
  std::unique_ptr<block> made(new (std::nothrow) block(*slot_, written_));
  auto memory = buffer::allocate(block_size_);
  if (made == nullptr || !memory) return nullptr;
  made->memory = std::move(*memory);
  return made;
}

bool write_behind::filling() const noexcept {
  return !blocks_.empty() && blocks_.back()->now == block::state::filling;
}

void write_behind::flush() noexcept {
  if (filling()) blocks_.back()->now = block::state::sealed;
  start_what_may();
}

// In order, so that one which has to be alone, or behind another, is not overtaken for ever.
void write_behind::start_what_may() noexcept {
  for (const auto& each : blocks_) {
    if (each->now != block::state::sealed) continue;
    if (!may_start(*each)) return;
    start(*each);
  }
}

bool write_behind::may_start(const block& which) const noexcept {
  if (alone_ || in_flight_ >= (file_.appends ? 1 : most_in_flight)) return false;
  if (needs_cache(which) && in_flight_ != 0) return false;
  return std::ranges::none_of(blocks_, [&](const auto& other) {
    return other->now == block::state::in_flight && other->overlaps(which.offset, which.filled);
  });
}

bool write_behind::needs_cache(const block& which) const noexcept {
  if (!file_.direct) return false;
  return (which.offset + which.written) % direct_page != 0 ||
         which.filled - which.written < direct_page;
}

void write_behind::start(block& which) noexcept {
  const std::uint64_t offset = which.offset + which.written;
  std::size_t length = which.filled - which.written;
  which.through_cache = needs_cache(which);
  if (which.through_cache) {
    length = std::min<std::uint64_t>(length, page_start(offset) + direct_page - offset);
    set_direct(false);
    alone_ = true;
  } else if (file_.direct) {
    length = page_start(length);
  }
  which.args = {.op = opcode::write,
                .hints = file_.direct && !which.through_cache ? hint::direct : std::uint8_t{0},
                .fd = file_.fd,
                .address = which.memory.data() + which.head + which.written,
                .offset = offset,
                .length = length};
  which.now = block::state::in_flight;
  ++in_flight_;
  file_.context->start(which);
}

void write_behind::set_direct(bool on) const noexcept {
  const int flags = ::fcntl(file_.fd, F_GETFL);
  // Neither can fail on an open file, but for a file system that takes back what it has allowed:
  // then the write says so.
  (void)::fcntl(file_.fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

void write_behind::finished(block& which) noexcept {
  --in_flight_;
  if (which.through_cache) {
    alone_ = false;
    set_direct(true);
  }
  if (which.answer() > 0) {
    which.written += static_cast<std::size_t>(which.answer());
    // After a short write the rest: in its turn, which is before all that is not in flight.
    which.now = which.written < which.filled ? block::state::sealed : block::state::over;
    if (which.now == block::state::over) behind_ -= which.filled;
    if (which.now == block::state::sealed && error_) drop(which);
  } else {
    drop(which);
    fail_at(which.number,
            which.answer() < 0 ? errno_code(-which.answer()) : make_error_code(errc::no_progress));
  }
  let_go();
  start_what_may();
}

void write_behind::fail(std::error_code why) noexcept {
  if (!error_) fail_at(next_number_, why);
}

void write_behind::fail_at(std::uint64_t number, std::error_code why) noexcept {
  if (!error_ || number < failed_) {
    error_ = why;
    failed_ = number;
  }
  for (const auto& each : blocks_) {
    if (each->now == block::state::sealed || each->now == block::state::filling) drop(*each);
  }
  let_go();
}

void write_behind::drop(block& which) noexcept {
  which.now = block::state::over;
  behind_ -= which.filled;
}

void write_behind::let_go() noexcept {
  while (!blocks_.empty() && blocks_.front()->now == block::state::over) {
    if (spare_.size() < most_spare) spare_.push_back(std::move(blocks_.front()));
    blocks_.pop_front();
  }
}

bool write_behind::over_up_to(std::uint64_t number) const noexcept {
  return blocks_.empty() || blocks_.front()->number > number;
}

bool write_behind::overlaps(std::uint64_t from, std::uint64_t length) const noexcept {
  return std::ranges::any_of(blocks_, [&](const auto& each) {
    return each->now != block::state::over && (file_.appends || each->overlaps(from, length));
  });
}

}  // namespace weir::detail
