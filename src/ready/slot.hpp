#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "event_queue.hpp"
#include "read_window.hpp"
#include "write_behind.hpp"

namespace weir::detail {

/// How a file is to be opened.
struct how_to_open {
  std::uint32_t flags = 0;  // O_*
  std::uint32_t mode = 0;
  std::uint64_t resolve = 0;
  int directory = -1;  // AT_FDCWD, or a descriptor that is the slot's from `open` on
};

/// What a slot needs of its table.
class slot_owner {
 public:
  slot_owner(event_queue& told, const ready_options& with) noexcept : events(told), options(with) {}
  slot_owner(const slot_owner&) = delete;
  slot_owner& operator=(const slot_owner&) = delete;

  io_context* context = nullptr;
  event_queue& events;
  const ready_options& options;

  /// The slot has something that is to be flushed some time later.
  virtual void flush_later(ready_slot& slot) noexcept = 0;
  /// A handle is closed, and nobody will ask for its outcome any more.
  virtual void is_free(ready_slot& slot) noexcept = 0;
  /// Nothing of the slot is in flight any more.
  virtual void has_closed() noexcept = 0;

 protected:
  ~slot_owner() = default;
};

/// A place in the table: what stands behind one handle at a time. Stays where it is as long as the
/// table. Locks: the slot's, then the table's or the queue's, never the other way round.
class ready_slot {
 public:
  /// Throws std::bad_alloc.
  ready_slot(slot_owner& owner, int handle);
  ready_slot(const ready_slot&) = delete;
  ready_slot& operator=(const ready_slot&) = delete;
  ~ready_slot() = default;

  int handle() const noexcept { return events_.handle; }

  void open(std::string path, const how_to_open& how) noexcept;

  result<ready_status> status() noexcept;
  result<std::size_t> try_read(std::span<std::byte> into) noexcept;
  result<std::size_t> try_write(std::span<const std::byte> bytes) noexcept;
  result<unsigned> poll() noexcept;
  result<void> seek_read(std::uint64_t position) noexcept;
  result<void> seek_write(std::uint64_t position) noexcept;
  result<void> sync(durability how) noexcept;
  result<void> close() noexcept;
  result<void> close_and_wait() noexcept;
  /// Closes it if it is one; nobody wants to hear whether.
  bool abandon() noexcept;

  /// Time has come to write what lies there.
  void flush() noexcept;
  /// The `synced` or the `closed` event has been taken.
  void synced_was_told() noexcept;
  void closed_was_told() noexcept;

  // The table's, under its lock.
  ready_slot* next_free = nullptr;
  ready_slot* next_to_flush = nullptr;
  std::int64_t flush_at = 0;  // 0: not in that list

 private:
  enum class life : std::uint8_t { free, opening, failed, open, closing, closed };
  enum class syncing : std::uint8_t { no, writing, in_flight, told };
  struct kernel_open_how {  // openat2(2)
    std::uint64_t flags = 0;
    std::uint64_t mode = 0;
    std::uint64_t resolve = 0;
  };
  static constexpr std::size_t piece_size = std::size_t{256} << 10;

  template <void (ready_slot::*member)(slot_operation&) noexcept>
  static void completes(operation& op) noexcept;

  // What an operation's completion calls, under the lock.
  void opened(slot_operation& op) noexcept;
  void filled(slot_operation& op) noexcept;
  void wrote(slot_operation& op) noexcept;
  void synced(slot_operation& op) noexcept;
  void closed(slot_operation& op) noexcept;

  std::error_code unusable() const noexcept;
  void begin_to_open() noexcept;
  int why_not_ready(int fd) const noexcept;
  std::error_code settle_opened(int fd) noexcept;
  bool may_read() const noexcept;
  std::unexpected<std::error_code> wait_to_read() noexcept;
  result<std::size_t> accept(std::span<const std::byte> bytes) noexcept;
  std::unexpected<std::error_code> wait_to_write() noexcept;
  void end_sync(std::error_code error) noexcept;
  void begin_to_close() noexcept;
  void go_on() noexcept;
  void go_on_syncing() noexcept;
  void go_on_closing() noexcept;
  void post(unsigned what, std::error_code error = {}) noexcept;

  slot_owner& owner_;
  std::mutex lock_;
  std::condition_variable done_;
  event_source events_;

  life now_ = life::free;
  bool readable_ = false;  // opened so
  bool writable_ = false;
  bool wants_to_read_ = false;  // was told EAGAIN, and is owed an event
  bool wants_to_write_ = false;
  std::uint64_t wanted_ = 0;  // how many bytes the reader asked for
  bool waits_for_flush_ = false;
  bool waited_for_ = false;  // somebody is in close_and_wait
  std::error_code failure_;  // of opening; of closing
  std::string path_;
  int directory_ = -1;  // owned
  kernel_open_how how_;
  ready_target file_;

  read_window reading_;
  write_behind writing_;
  syncing syncing_ = syncing::no;
  durability sync_how_{};
  std::uint64_t sync_up_to_ = 0;
  slot_operation opening_;
  slot_operation sync_;
  slot_operation closing_;
};

}  // namespace weir::detail
