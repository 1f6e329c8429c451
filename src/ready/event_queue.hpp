#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>

#include "weir/ready_file.hpp"

namespace weir::detail {

/// A handle's events that nobody has taken yet: at most one of each kind, so they need no memory.
/// Guarded by the queue.
struct event_source {
  int handle = -1;
  unsigned pending = 0;  // bits of `ready`
  std::error_code opened;
  std::error_code synced;
  std::error_code closed;
  event_source* next = nullptr;
};

/// Who has events, in the order in which they began to have some; and how that is told.
class event_queue {
 public:
  /// Told of each event that has been taken, before its taker is. Without the queue's lock.
  using taken = void (*)(void* owner, const ready_event& event) noexcept;

  /// Throws std::system_error where eventfd(2) refuses.
  event_queue(taken tell, void* owner);
  event_queue(const event_queue&) = delete;
  event_queue& operator=(const event_queue&) = delete;
  ~event_queue();

  int fd() const noexcept { return fd_; }

  /// Only on the context's thread, which calls `deliver` soon.
  void post(event_source& from, unsigned what, std::error_code error = {}) noexcept;
  /// These of its events will not be told.
  void forget(event_source& from, unsigned what) noexcept;

  std::optional<ready_event> next() noexcept;

  void call(ready_files::callback tell, void* user) noexcept;
  /// On the context's thread, without locks: calls the callback for what there is, if there is one.
  void deliver() noexcept;

 private:
  std::optional<ready_event> take() noexcept;
  void append(event_source& from) noexcept;
  void remove(event_source& from) noexcept;
  void show() noexcept;

  const taken tell_taken_;
  void* const owner_;
  const int fd_;
  std::mutex mutex_;
  std::condition_variable called_;
  event_source* head_ = nullptr;
  event_source* tail_ = nullptr;
  bool shown_ = false;  // fd_ is readable
  ready_files::callback callback_ = nullptr;
  void* user_ = nullptr;
  bool calling_ = false;
  std::thread::id caller_;  // the context's thread, once it has called
};

}  // namespace weir::detail
