// Writing behind: which blocks are full and on their way, how far the file has come, what failed.

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "file_state.hpp"
#include "misuse.hpp"
#include "stream/blocks.hpp"
#include "weir/io_context.hpp"

namespace weir {
namespace detail {
namespace {

class writer_core;

/// With drop_cache, how much is written before the disk is waited for; four times as much is in the
/// page cache at most.
constexpr std::uint64_t write_back_step = std::uint64_t{8} << 20;

/// A part of the file that is being filled, or is sealed: to be written, or on its way.
struct write_block {
  writer_core* owner = nullptr;
  std::byte* memory = nullptr;
  write_block* next = nullptr;  // in the sequence, or among the free ones
  std::uint64_t start = 0;
  std::uint64_t counted = 0;  // the first byte that no earlier block has written
  std::size_t used = 0;
  bool over = false;           // written, failed, or given up
  bool through_cache = false;  // not aligned, in an O_DIRECT file
  std::size_t moved = 0;
  std::error_code error;
  std::optional<whole_state> transfer;

  void ended() noexcept;
};

/// Stands behind a writer, and outlives it until everything is written. Sealed blocks are a
/// sequence in the stream's order; their errors are told in that order, whichever ends first.
class writer_core : public write_window {
 public:
  writer_core(file target, const writer_options& options);

  progress make_room() noexcept;
  progress go_on(flush_step& step) noexcept;
  std::uint64_t position() const noexcept;
  std::uint64_t written() const noexcept { return written_; }
  const std::error_code& error() const noexcept { return error_; }
  file& target() noexcept { return file_; }
  void ended(write_block& block) noexcept;
  void abandon() noexcept;

 private:
  bool open_block() noexcept;
  bool seal_rest() noexcept;
  void seal(std::size_t used) noexcept;
  void leave_current() noexcept;
  void put_back(write_block& block) noexcept;
  void start_more() noexcept;
  bool may_start(const write_block& block) const noexcept;
  void begin(write_block& block) noexcept;
  void settle(write_block& block) noexcept;
  void pass_finished() noexcept;
  void account(const write_block& block) noexcept;
  void fail(std::error_code why) noexcept;
  std::uint64_t finished() const noexcept;
  void write_back() noexcept;
  void written_back() noexcept;
  bool set_direct(bool on) noexcept;
  progress sync(durability how) noexcept;
  progress close() noexcept;
  void called() noexcept;
  bool delete_if_over() noexcept;

  file file_;
  const std::size_t block_size_;
  const io_options policy_;
  bool appends_ = false;
  bool direct_ = false;
  pages memory_;
  std::vector<write_block> blocks_;
  write_block* free_ = nullptr;
  write_block* current_ = nullptr;  // being filled
  write_block* front_ = nullptr;    // the sequence
  write_block* back_ = nullptr;
  write_block* unstarted_ = nullptr;  // the first in it that is not on its way
  std::uint64_t sealed_;              // where the last sealed block ended
  std::uint64_t written_ = 0;
  std::size_t in_flight_ = 0;
  bool alone_ = false;   // what is in flight suffers no other
  bool halted_ = false;  // a block failed: start no more
  bool abandoned_ = false;
  std::error_code error_;  // the first in the stream's order
  // Of an O_DIRECT file: what lies in its last page, written through the cache, or to be.
  std::array<std::byte, page> tail_{};
  std::size_t tail_size_ = 0;
  std::size_t tail_pending_ = 0;  // so much of it is in no block
  // With drop_cache: before the one, everything is on the disk; up to the other, on its way there.
  std::uint64_t on_disk_;
  std::uint64_t to_disk_;
  std::optional<sync_state> write_back_;
  std::optional<sync_state> sync_;
  std::optional<close_state> close_;
  bool calling_ = false;  // one of the two is in flight
};

void write_block::ended() noexcept { owner->ended(*this); }

writer_core& core_of(write_window& window) noexcept { return static_cast<writer_core&>(window); }

writer_core::writer_core(file target, const writer_options& options)
    : block_size_(page_end(std::max<std::size_t>(options.block_size, 1))),
      policy_{.drop_cache = options.drop_cache},
      memory_(allocate_pages(block_size_ * std::max<std::size_t>(options.blocks, 1))),
      blocks_(std::max<std::size_t>(options.blocks, 1)),
      sealed_(options.offset),
      on_disk_(options.offset),
      to_disk_(options.offset) {
  for (std::size_t i = std::max<std::size_t>(options.blocks, 1); i-- != 0;) {
    blocks_[i].owner = this;
    blocks_[i].memory = memory_.get() + i * block_size_;
    put_back(blocks_[i]);
  }
  file_ = std::move(target);
  if (!file_.is_open()) return;
  const file_state& state = *state_of(file_);
  appends_ = state.appends;
  direct_ = state.direct && !appends_;
  if (state.direct && appends_ && !set_direct(false)) error_ = errno_code(errno);
}

// --- filling -------------------------------------------------------------------------------------

std::uint64_t writer_core::position() const noexcept {
  if (current_ == nullptr) return sealed_ + tail_pending_;
  return current_->start + static_cast<std::size_t>(next - current_->memory);
}

progress writer_core::make_room() noexcept {
  if (current_ != nullptr) seal(current_->used);
  if (error_) return progress::failed;
  return open_block() ? progress::ready : progress::waiting;
}

// Blocks end at the end of a page. One that begins within a page of an O_DIRECT file takes what it
// can of the page along; where that is not known, it is the rest of the page only.
bool writer_core::open_block() noexcept {
  if (free_ == nullptr) return false;
  const std::uint64_t from = position();
  const std::size_t within = from % page;
  const std::size_t carried = direct_ && within == tail_size_ ? tail_size_ : 0;
  const bool only_rest = direct_ && within != carried;
  current_ = std::exchange(free_, free_->next);
  current_->start = from - carried;
  current_->counted = sealed_;
  current_->used = only_rest ? page - within : block_size_ - (within - carried);
  std::memcpy(current_->memory, tail_.data(), carried);
  tail_pending_ = 0;
  next = current_->memory + carried;
  end = current_->memory + current_->used;
  return true;
}

void writer_core::leave_current() noexcept {
  current_ = nullptr;
  next = end = nullptr;
}

// The block being filled is to be written, as far as that.
void writer_core::seal(std::size_t used) noexcept {
  write_block& block = *current_;
  leave_current();
  block.used = used;
  block.over = false;
  block.error.clear();
  block.through_cache = direct_ && ((block.start | used) % page) != 0;
  block.next = nullptr;
  (front_ == nullptr ? front_ : back_->next) = &block;
  back_ = &block;
  if (unstarted_ == nullptr) unstarted_ = &block;
  sealed_ = block.start + used;
  start_more();
}

// Seals what is not full, too. False where the rest of an O_DIRECT file waits for a free block.
bool writer_core::seal_rest() noexcept {
  if (tail_pending_ != 0 && !open_block()) return false;
  if (current_ == nullptr) return true;
  write_block& block = *current_;
  if (position() == sealed_) {  // nothing new
    leave_current();
    put_back(block);
    return true;
  }
  const auto used = static_cast<std::size_t>(next - block.memory);
  const std::size_t tail = direct_ && block.start % page == 0 ? used % page : 0;
  if (tail != 0) {
    tail_size_ = tail;
    std::memcpy(tail_.data(), block.memory + used - tail, tail);
  }
  if (tail == 0 || tail == used) {
    seal(used);
    return true;
  }
  seal(used - tail);
  if (error_) return true;
  tail_pending_ = tail;
  return seal_rest();
}

void writer_core::put_back(write_block& block) noexcept {
  block.next = free_;
  free_ = &block;
}

// --- on its way ----------------------------------------------------------------------------------

bool writer_core::may_start(const write_block& block) const noexcept {
  if (write_back_ && finished() - on_disk_ >= 4 * write_back_step) return false;
  return in_flight_ == 0 || !(alone_ || block.through_cache || appends_);
}

void writer_core::start_more() noexcept {
  while (unstarted_ != nullptr && !halted_ && may_start(*unstarted_)) {
    write_block& block = *unstarted_;
    unstarted_ = block.next;
    begin(block);
  }
  if (halted_ && in_flight_ == 0) pass_finished();
}

void writer_core::begin(write_block& block) noexcept {
  if (block.through_cache && !set_direct(false)) {
    block.over = halted_ = true;
    block.moved = 0;
    block.error = errno_code(errno);
    return;
  }
  block.transfer.emplace(
      state_of_sender(file_.write_all_at({block.memory, block.used}, block.start, policy_)));
  if (block.transfer->ready()) return settle(block);  // closed
  alone_ = block.through_cache;
  ++in_flight_;
  block.transfer->begin(continuation::calling<&write_block::ended>(block));
}

void writer_core::settle(write_block& block) noexcept {
  const transfer_result outcome = block.transfer->take();
  block.moved = outcome.transferred;
  block.over = true;
  if (!outcome) block.error = outcome.error();
  if (block.through_cache && file_.is_open() && !set_direct(true) && outcome) {
    block.error = errno_code(errno);
  }
  if (block.error) halted_ = true;
}

void writer_core::ended(write_block& block) noexcept {
  --in_flight_;
  alone_ = false;
  settle(block);
  pass_finished();
  write_back();
  start_more();
  if (delete_if_over()) return;
  if (waiter.run != nullptr) wake(*this);
}

// What is over comes out of the sequence, in its order.
void writer_core::pass_finished() noexcept {
  while (front_ != nullptr && front_->over) {
    write_block& block = *std::exchange(front_, front_->next);
    if (!error_) account(block);
    put_back(block);
  }
}

void writer_core::account(const write_block& block) noexcept {
  const std::uint64_t reached = block.start + block.moved;
  if (reached > block.counted) written_ += reached - block.counted;
  if (block.error) fail(block.error);
}

// What was accepted and not started is not written any more.
void writer_core::fail(std::error_code why) noexcept {
  error_ = why;
  halted_ = true;
  sealed_ = position();
  tail_pending_ = 0;
  if (current_ != nullptr) put_back(*current_);
  leave_current();
  for (; unstarted_ != nullptr; unstarted_ = unstarted_->next) unstarted_->over = true;
}

// --- out of the page cache -----------------------------------------------------------------------

// Before that, everything is in the file.
std::uint64_t writer_core::finished() const noexcept {
  return front_ != nullptr ? front_->start : sealed_;
}

// The kernel lets go of a page when it is on the disk, and does not make whoever writes wait for
// that: pages gather where the disk is slower.
void writer_core::write_back() noexcept {
  if (!policy_.drop_cache || direct_ || write_back_ || error_ || !file_.is_open()) return;
  if (finished() - to_disk_ < write_back_step) return;
  // Where appended blocks are, nobody knows; all of the file then.
  const std::uint64_t from = appends_ ? 0 : to_disk_;
  to_disk_ = finished();
  const std::uint64_t length = appends_ ? 0 : to_disk_ - from;
  constexpr unsigned and_wait =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  write_back_.emplace(state_of_sender(file_.sync_range(from, length, and_wait)));
  if (write_back_->ready()) return write_back_.reset();  // a sync has failed, which was told
  write_back_->begin(continuation::calling<&writer_core::written_back>(*this));
}

void writer_core::written_back() noexcept {
  const result<void> outcome = write_back_->take();
  write_back_.reset();
  on_disk_ = to_disk_;
  if (!outcome && !error_) {
    fail(outcome.error());
    pass_finished();
  }
  write_back();
  start_more();
  if (delete_if_over()) return;
  if (waiter.run != nullptr) wake(*this);
}

// --- O_DIRECT ------------------------------------------------------------------------------------

bool writer_core::set_direct(bool on) noexcept {
  const int fd = file_.native_handle();
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

// --- flushing, syncing, closing ------------------------------------------------------------------

progress writer_core::go_on(flush_step& step) noexcept {
  using stage = flush_step::stage;
  if (calling_) return progress::waiting;
  if (step.at == stage::writing) {
    if (!seal_rest() || front_ != nullptr) return progress::waiting;
    if (step.closes && write_back_) return progress::waiting;  // its error is told now or never
    step.error = error_;
    const bool syncs = step.how != durability::none && !error_;
    step.at = syncs ? stage::syncing : stage::closing;
    if (syncs && sync(step.how) == progress::waiting) return progress::waiting;
  }
  if (step.at == stage::syncing) {
    const result<void> synced = sync_->take();
    if (!synced) step.error = synced.error();
    step.at = stage::closing;
  }
  if (step.at == stage::closing) {
    step.at = stage::over;
    if (step.closes && close() == progress::waiting) return progress::waiting;
  }
  if (step.closes) {
    const result<void> closed = close_->take();
    if (!closed && !step.error) step.error = closed.error();
  }
  return progress::ready;
}

progress writer_core::sync(durability how) noexcept {
  sync_.emplace(state_of_sender(how == durability::full ? file_.sync() : file_.datasync()));
  if (sync_->ready()) return progress::ready;
  calling_ = true;
  sync_->begin(continuation::calling<&writer_core::called>(*this));
  return progress::waiting;
}

progress writer_core::close() noexcept {
  close_.emplace(state_of_sender(file_.close()));
  if (!error_) error_ = errno_code(EBADF);  // for whoever writes after this
  if (close_->ready()) return progress::ready;
  calling_ = true;
  close_->begin(continuation::calling<&writer_core::called>(*this));
  return progress::waiting;
}

void writer_core::called() noexcept {
  calling_ = false;
  if (delete_if_over()) return;
  if (waiter.run != nullptr) wake(*this);
}

void writer_core::abandon() noexcept {
  if (waiter.run != nullptr) misuse("a writer was destroyed while a coroutine waits for it");
  abandoned_ = true;
  delete_if_over();
}

bool writer_core::delete_if_over() noexcept {
  if (!abandoned_) return false;
  if (seal_rest() && front_ == nullptr && !write_back_ && !calling_) delete this;
  return true;
}

}  // namespace

progress more_room(write_window& in) noexcept { return core_of(in).make_room(); }

void abandon_stream::operator()(write_window* writer) const noexcept { core_of(*writer).abandon(); }

// --- steps ---------------------------------------------------------------------------------------

bool write_step::advance_by_blocks() noexcept {
  if (core_of(stream).error()) {  // also where nothing is to be written
    came = progress::failed;
    return true;
  }
  for (;;) {
    copy(std::min(bytes.size() - moved, stream.at_hand()));
    if (moved == bytes.size()) return true;
    came = more_room(stream);
    if (came != progress::ready) return came != progress::waiting;
  }
}

transfer_result write_step::take() const noexcept {
  if (came == progress::failed) return {std::unexpected(core_of(stream).error()), moved};
  return {moved, moved};
}

result<std::span<std::byte>> room_step::take() const noexcept {
  if (came == progress::failed) return std::unexpected(core_of(stream).error());
  return std::span(stream.next, stream.at_hand());
}

bool flush_step::advance() noexcept { return core_of(stream).go_on(*this) == progress::ready; }

transfer_result flush_step::take() const noexcept {
  const writer_core& core = core_of(stream);
  const std::size_t written = core.written();
  if (error) return {std::unexpected(error), written};
  return {written, written};
}

}  // namespace detail

// --- writer --------------------------------------------------------------------------------------

using detail::core_of;

writer::writer(file target, const writer_options& options)
    : core_(new detail::writer_core(std::move(target), options)) {}

void writer::produce(std::size_t count) noexcept {
  if (count > core_->at_hand()) detail::misuse("more was put into a writer than it had room for");
  core_->next += count;
}

std::uint64_t writer::position() const noexcept { return core_of(*core_).position(); }
std::uint64_t writer::written() const noexcept { return core_of(*core_).written(); }
file& writer::target() noexcept { return core_of(*core_).target(); }

}  // namespace weir
