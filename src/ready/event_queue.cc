#include "event_queue.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace weir::detail {
namespace {

int open_eventfd() {
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw std::system_error(errno_code(errno), "eventfd");
  return fd;
}

std::error_code error_of(const event_source& from, unsigned what) noexcept {
  switch (what) {
    case ready::opened:
      return from.opened;
    case ready::synced:
      return from.synced;
    case ready::closed:
      return from.closed;
    default:
      return {};
  }
}

/// In which order the events of one handle are told.
constexpr std::array order{ready::opened, ready::readable, ready::writable, ready::synced,
                           ready::closed};

}  // namespace

event_queue::event_queue(taken tell, void* owner)
    : tell_taken_(tell), owner_(owner), fd_(open_eventfd()) {}

event_queue::~event_queue() { ::close(fd_); }

void event_queue::post(event_source& from, unsigned what, std::error_code error) noexcept {
  const std::lock_guard lock(mutex_);
  if (what == ready::opened) from.opened = error;
  if (what == ready::synced) from.synced = error;
  if (what == ready::closed) from.closed = error;
  if (from.pending == 0) append(from);
  from.pending |= what;
  show();
}

void event_queue::forget(event_source& from, unsigned what) noexcept {
  const std::lock_guard lock(mutex_);
  if ((from.pending & what) == 0) return;
  from.pending &= ~what;
  if (from.pending == 0) remove(from);
  show();
}

std::optional<ready_event> event_queue::next() noexcept {
  std::unique_lock lock(mutex_);
  const auto event = take();
  lock.unlock();
  if (event) tell_taken_(owner_, *event);
  return event;
}

std::optional<ready_event> event_queue::take() noexcept {
  if (head_ == nullptr) return std::nullopt;
  event_source& from = *head_;
  for (const unsigned what : order) {
    if ((from.pending & what) == 0) continue;
    const ready_event event{.handle = from.handle, .what = what, .error = error_of(from, what)};
    from.pending &= ~what;
    // Behind the others: one busy handle must not keep them from being heard.
    remove(from);
    if (from.pending != 0) append(from);
    show();
    return event;
  }
  return std::nullopt;  // not reached: who is in the list has something pending
}

void event_queue::call(ready_files::callback tell, void* user) noexcept {
  std::unique_lock lock(mutex_);
  callback_ = tell;
  user_ = user;
  show();
  if (caller_ == std::this_thread::get_id()) return;
  called_.wait(lock, [this] { return !calling_; });
}

void event_queue::deliver() noexcept {
  std::unique_lock lock(mutex_);
  while (callback_ != nullptr && head_ != nullptr) {
    const auto event = take();
    const auto tell = callback_;
    void* const user = user_;
    calling_ = true;
    caller_ = std::this_thread::get_id();
    lock.unlock();
    tell_taken_(owner_, *event);
    tell(user, *event);
    lock.lock();
    calling_ = false;
    called_.notify_all();
  }
}

void event_queue::append(event_source& from) noexcept {
  from.next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = &from;
  tail_ = &from;
}

// Linear, but mostly it is the first.
void event_queue::remove(event_source& from) noexcept {
  event_source* before = nullptr;
  event_source* at = head_;
  while (at != &from) {
    before = at;
    at = at->next;
  }
  (before != nullptr ? before->next : head_) = from.next;
  if (tail_ == &from) tail_ = before;
}

// Neither can fail here: its count is 0 or 1.
void event_queue::show() noexcept {
  const bool wanted = head_ != nullptr && callback_ == nullptr;
  if (wanted == shown_) return;
  eventfd_t count = 1;
  wanted ? ::eventfd_write(fd_, count) : ::eventfd_read(fd_, &count);
  shown_ = wanted;
}

}  // namespace weir::detail
