// Reading ahead: which blocks of the file are wanted, which are in flight, and what has come.

#include <algorithm>
#include <optional>
#include <vector>

#include "file_state.hpp"
#include "misuse.hpp"
#include "stream/blocks.hpp"
#include "stream/drop_behind.hpp"
#include "weir/io_context.hpp"

namespace weir {
namespace detail {
namespace {

class reader_core;

/// A part of the file, in memory or on its way there.
struct read_block {
  reader_core* owner = nullptr;
  std::byte* memory = nullptr;
  read_block* next = nullptr;  // in the sequence, or among the free ones
  std::uint64_t start = 0;
  std::size_t length = 0;  // asked for
  std::size_t filled = 0;  // come
  bool in_flight = false;
  bool wanted = false;  // in the sequence; or else free as soon as it has come
  bool ended = false;   // the file did
  bool behind = false;  // to be dropped from the page cache behind the reader, not by its transfer
  std::error_code error;
  std::optional<whole_state> transfer;

  std::uint64_t end() const noexcept { return start + length; }
  bool complete() const noexcept { return !ended && !error; }
  std::uint64_t reach() const noexcept { return complete() ? end() : start + filled; }
  void over() noexcept;
};

/// Stands behind a reader, and outlives it while blocks are in flight. The wanted blocks are a
/// sequence without gaps, in the file's order; the first holds the reader's position.
class reader_core : public read_window {
 public:
  reader_core(file source, const reader_options& options);

  progress fill(std::size_t wanted) noexcept;
  void seek(std::uint64_t offset) noexcept;
  std::uint64_t position() const noexcept { return end_offset_ - at_hand(); }
  void completed(read_block& block) noexcept;
  close_sender close() noexcept;
  void abandon() noexcept;
  file& target() noexcept { return file_; }

 private:
  bool show(const read_block& block) noexcept;
  void hide(std::uint64_t position) noexcept;
  bool start_front(std::size_t wanted) noexcept;
  void read_ahead() noexcept;
  read_block& append(std::uint64_t start, std::size_t length) noexcept;
  void begin(read_block& block) noexcept;
  void settle(read_block& block) noexcept;
  void retire_front() noexcept;
  void forget_all() noexcept;
  void let_go(read_block& block) noexcept;
  bool is_dropped_behind(std::uint64_t start) const noexcept;
  void dropped() noexcept;
  bool delete_if_over() noexcept;
  void put_back(read_block& block) noexcept;

  file file_;
  const std::size_t block_size_;
  const std::size_t window_max_;
  const io_options policy_;
  pages memory_;
  std::vector<read_block> blocks_;
  read_block* free_ = nullptr;
  read_block* front_ = nullptr;  // the sequence
  read_block* back_ = nullptr;
  std::uint64_t end_offset_;  // of what is at hand
  std::size_t window_;        // how far beyond the position to read
  std::size_t in_flight_ = 0;
  bool abandoned_ = false;
  bool drops_behind_ = false;
  drop_behind behind_;
};

void read_block::over() noexcept { owner->completed(*this); }

reader_core& core_of(read_window& window) noexcept { return static_cast<reader_core&>(window); }

reader_core::reader_core(file source, const reader_options& options)
    : block_size_(page_end(std::max<std::size_t>(options.block_size, 1))),
      window_max_(block_size_ * std::max<std::size_t>(options.blocks, 1)),
      policy_{.drop_cache = options.drop_cache},
      memory_(allocate_pages(window_max_)),
      blocks_(window_max_ / block_size_),
      end_offset_(options.offset),
      window_(block_size_),
      behind_(file_, continuation::calling<&reader_core::dropped>(*this)) {
  for (std::size_t i = window_max_ / block_size_; i-- != 0;) {
    blocks_[i].owner = this;
    blocks_[i].memory = memory_.get() + i * block_size_;
    put_back(blocks_[i]);
  }
  file_ = std::move(source);
  drops_behind_ = options.drop_cache && file_.is_open() && !state_of(file_)->direct;
}

// --- what is at hand -----------------------------------------------------------------------------

bool reader_core::show(const read_block& block) noexcept {
  const std::uint64_t from = position();
  const std::uint64_t to = block.start + block.filled;
  if (from >= to) return false;
  next = block.memory + (from - block.start);
  end = block.memory + block.filled;
  end_offset_ = to;
  return true;
}

void reader_core::hide(std::uint64_t position) noexcept {
  next = end = nullptr;
  end_offset_ = position;
}

progress reader_core::fill(std::size_t wanted) noexcept {
  for (;;) {
    if (front_ == nullptr && !start_front(wanted)) return progress::waiting;
    read_block& block = *front_;
    if (block.in_flight) return progress::waiting;
    if (show(block)) return progress::ready;
    if (!block.complete()) {
      const bool failed = static_cast<bool>(block.error);
      error = block.error;
      forget_all();  // so that the next attempt asks the file again
      return failed ? progress::failed : progress::ended;
    }
    retire_front();
  }
}

// The block has been read to its end, so whoever reads does so in order.
void reader_core::retire_front() noexcept {
  hide(position());
  read_block& block = *front_;
  front_ = block.next;
  if (front_ == nullptr) back_ = nullptr;
  put_back(block);
  behind_.pass(position());
  window_ = std::min(window_ * 2, window_max_);
  if (front_ != nullptr) read_ahead();
}

void reader_core::seek(std::uint64_t offset) noexcept {
  const bool known = front_ != nullptr && offset >= front_->start && offset < back_->reach();
  hide(offset);
  if (!known) {
    forget_all();
    window_ = std::max<std::size_t>(page_start(window_ / 4), page);
    return;
  }
  while (offset >= front_->end()) {
    let_go(*std::exchange(front_, front_->next));
  }
}

void reader_core::forget_all() noexcept {
  hide(position());
  while (front_ != nullptr) let_go(*std::exchange(front_, front_->next));
  back_ = nullptr;
  behind_.end_run();
}

// A block in flight is free when it has come.
void reader_core::let_go(read_block& block) noexcept {
  block.wanted = false;
  if (!block.in_flight) return put_back(block);
  if (block.behind) behind_.add_stray();
}

void reader_core::put_back(read_block& block) noexcept {
  block.wanted = false;
  block.next = free_;
  free_ = &block;
}

// --- what is on its way --------------------------------------------------------------------------

// False where every block is still in flight for a place that was left.
bool reader_core::start_front(std::size_t wanted) noexcept {
  if (free_ == nullptr) return false;
  const std::uint64_t start = page_start(position());
  const std::uint64_t before = position() - start;
  const std::uint64_t needed = page_end(before + std::min(wanted, block_size_));
  read_block& block = append(start, std::min(std::max<std::size_t>(needed, window_), block_size_));
  // What is in the page cache comes at once, and is as good as read ahead.
  if (!block.transfer->ready() && block.transfer->try_at_once()) {
    settle(block);
  } else {
    begin(block);
  }
  read_ahead();
  return true;
}

void reader_core::read_ahead() noexcept {
  const std::uint64_t wanted = page_start(position()) + window_;
  while (free_ != nullptr && back_->complete() && back_->end() < wanted) {
    const std::size_t length = std::clamp<std::size_t>(page_start(window_ / 2), page, block_size_);
    begin(append(back_->end(), length));
  }
}

read_block& reader_core::append(std::uint64_t start, std::size_t length) noexcept {
  read_block& block = *free_;
  free_ = block.next;
  block.next = nullptr;
  (front_ == nullptr ? front_ : back_->next) = &block;
  back_ = &block;
  block.start = start;
  block.length = length;
  block.filled = 0;
  block.wanted = true;
  block.ended = false;
  block.error.clear();
  block.behind = is_dropped_behind(start);
  if (block.behind) behind_.add(start, length);
  block.transfer.emplace(state_of_sender(
      file_.read_exactly_at({block.memory, length}, start, block.behind ? io_options{} : policy_)));
  return block;
}

// Whoever has read so much in order that the window is open wants speed: the transfer's own policy
// takes a third of it. Reads here and there have that policy, which leaves what others have cached.
bool reader_core::is_dropped_behind(std::uint64_t start) const noexcept {
  return drops_behind_ && window_ == window_max_ && behind_.takes(start);
}

void reader_core::begin(read_block& block) noexcept {
  if (block.transfer->ready()) return settle(block);  // closed
  block.in_flight = true;
  ++in_flight_;
  block.transfer->begin(continuation::calling<&read_block::over>(block));
}

void reader_core::settle(read_block& block) noexcept {
  const transfer_result came = block.transfer->take();
  block.filled = came.transferred;
  block.ended = !came && came.error() == errc::short_read;
  if (!came && !block.ended) block.error = came.error();
}

void reader_core::completed(read_block& block) noexcept {
  settle(block);
  block.in_flight = false;
  --in_flight_;
  if (!block.wanted) {
    put_back(block);
    if (block.behind) behind_.stray_came();
  }
  if (delete_if_over()) return;
  const bool of_use = front_ == nullptr || front_ == &block;
  if (of_use && waiter.run != nullptr) wake(*this);
}

// --- the end -------------------------------------------------------------------------------------

close_sender reader_core::close() noexcept {
  forget_all();
  behind_.finish();
  return file_.close();
}

void reader_core::abandon() noexcept {
  if (waiter.run != nullptr) misuse("a reader was destroyed while a coroutine waits for it");
  abandoned_ = true;
  forget_all();
  delete_if_over();
}

void reader_core::dropped() noexcept { delete_if_over(); }

// True where nobody is left to be told anything.
bool reader_core::delete_if_over() noexcept {
  const bool nobody_asks = abandoned_;
  if (abandoned_ && in_flight_ == 0 && !behind_.busy()) delete this;
  return nobody_asks;
}

}  // namespace

progress more(read_window& from, std::size_t wanted) noexcept { return core_of(from).fill(wanted); }

void wait_for(stream_window& stream, continuation who) noexcept {
  if (stream.waiter.run != nullptr) misuse("two coroutines wait for one stream");
  stream.waiter = who;
}

void abandon_stream::operator()(read_window* reader) const noexcept { core_of(*reader).abandon(); }

// --- steps ---------------------------------------------------------------------------------------

bool read_exactly_step::advance_by_blocks() noexcept {
  for (;;) {
    copy(std::min(memory.size() - moved, stream.at_hand()));
    if (moved == memory.size()) return true;
    came = more(stream, memory.size() - moved);
    if (came != progress::ready) return came != progress::waiting;
  }
}

bool read_until_step::advance() noexcept {
  try {
    for (;;) {
      if (stream.at_hand() == 0) {
        const progress came = more(stream, 1);
        if (came != progress::ready) return settle(came);
      }
      if (take_from_block()) return true;
    }
  } catch (const std::exception&) {  // bad_alloc or length_error: the string's
    error = std::make_error_code(std::errc::not_enough_memory);
    return true;
  }
}

bool read_until_step::settle(progress came) noexcept {
  if (came == progress::failed) error = stream.error;
  return came != progress::waiting;
}

// True when the delimiter, or one byte too many, has been seen.
bool read_until_step::take_from_block() {
  const std::size_t room = limit - into.size();
  const std::size_t looked_at = room < stream.at_hand() ? room + 1 : stream.at_hand();
  const auto* first = reinterpret_cast<const char*>(stream.next);
  const auto* last = static_cast<const char*>(std::memchr(first, delimiter, looked_at));
  found = last != nullptr;
  const std::size_t count =
      found ? static_cast<std::size_t>(last - first) + 1 : std::min(room, stream.at_hand());
  into.append(first, count);
  stream.next += count;
  if (!found && stream.at_hand() != 0) error = make_error_code(errc::too_long);
  return found || error;
}

}  // namespace detail

// --- reader --------------------------------------------------------------------------------------

using detail::core_of;

reader::reader(file source, const reader_options& options)
    : core_(new detail::reader_core(std::move(source), options)) {}

void reader::consume(std::size_t count) noexcept {
  if (count > core_->at_hand()) detail::misuse("more was consumed of a reader than was at hand");
  core_->next += count;
}

std::uint64_t reader::position() const noexcept { return core_of(*core_).position(); }
void reader::seek(std::uint64_t offset) noexcept { core_of(*core_).seek(offset); }
file& reader::target() noexcept { return core_of(*core_).target(); }
close_sender reader::close() noexcept { return core_of(*core_).close(); }

}  // namespace weir
