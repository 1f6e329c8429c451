#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "event_queue.hpp"
#include "slot.hpp"
#include "weir/io_thread.hpp"

namespace weir {

/// The slots, the thread, the events, and the clock after which is flushed.
class ready_files::table final : public detail::slot_owner {
 public:
  table(const ready_options& wanted, std::unique_ptr<driver> with);
  table(const table&) = delete;
  table& operator=(const table&) = delete;
  virtual ~table();

  result<int> open(std::string_view path, const detail::how_to_open& how) noexcept;
  /// Null where there is none.
  detail::ready_slot* at(int handle) const noexcept;

  detail::event_queue& queue() noexcept { return queue_; }
  void call(callback tell, void* user) noexcept;

  void flush_later(detail::ready_slot& slot) noexcept override;
  void is_free(detail::ready_slot& slot) noexcept override;
  void has_closed() noexcept override;

 private:
  static void event_taken(void* self, const ready_event& event) noexcept;

  detail::ready_slot* free_slot();
  void flush_what_is_due() noexcept;
  void arm() noexcept;

  /// An operation of the table's own.
  struct own_operation : operation {
    own_operation(table& whose, completion when_done) noexcept
        : operation({}, when_done), owner(&whose) {}
    table* const owner;
  };

  const ready_options options_;
  detail::event_queue queue_;
  std::vector<std::atomic<detail::ready_slot*>> slots_;
  std::mutex mutex_;
  std::condition_variable closed_;
  std::size_t made_ = 0;
  std::size_t open_ = 0;  // not closed
  detail::ready_slot* first_free_ = nullptr;
  detail::ready_slot* last_free_ = nullptr;
  detail::ready_slot* first_to_flush_ = nullptr;  // all wait as long, so these are in order
  detail::ready_slot* last_to_flush_ = nullptr;
  bool ending_ = false;
  bool armed_ = false;
  bool nudged_ = false;
  own_operation timer_;
  own_operation nudge_;  // to deliver what was there before the callback
  std::unique_ptr<io_thread> thread_;
};

}  // namespace weir
