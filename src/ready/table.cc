#include "table.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <string>
#include <utility>

namespace weir {
namespace {

std::size_t in_pages(std::size_t size) noexcept {
  const std::size_t most = ready_options::unbounded / 2;
  return detail::page_end(size < most ? size : most);
}

ready_options checked(ready_options options) {
  const std::size_t handles = std::numeric_limits<int>::max();
  if (options.files == 0 || options.files > handles || options.read_ahead == 0 ||
      options.write_behind == 0 || options.block_size == 0 || options.flush_after.count() < 0) {
    throw std::system_error(detail::errno_code(EINVAL), "ready_options");
  }
  options.read_ahead = in_pages(options.read_ahead);
  options.block_size = in_pages(options.block_size);
  return options;
}

/// From where a path is to be resolved, later and by another thread: AT_FDCWD where that does not
/// matter, else a descriptor, or a negative errno.
int keep_directory(std::string_view path, int directory) noexcept {
  if (path.starts_with('/')) return AT_FDCWD;
  const int kept = directory == AT_FDCWD ? ::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)
                                         : ::fcntl(directory, F_DUPFD_CLOEXEC, 0);
  return kept < 0 ? -errno : kept;
}

}  // namespace

ready_files::table::table(const ready_options& wanted, std::unique_ptr<driver> with)
    : slot_owner(queue_, options_),
      options_(checked(wanted)),
      queue_(&event_taken, this),
      slots_(options_.files),
      timer_(*this,
             [](operation& op) noexcept {
               static_cast<own_operation&>(op).owner->flush_what_is_due();
             }),
      nudge_(*this,
             [](operation& op) noexcept {
               auto& owner = *static_cast<own_operation&>(op).owner;
               {
                 const std::lock_guard lock(owner.mutex_);
                 owner.nudged_ = false;
               }
               owner.queue_.deliver();
             }),
      thread_(std::make_unique<io_thread>(std::move(with))) {
  context = &thread_->context();
}

ready_files::table::~table() {
  for (std::size_t i = 0; i < made_; ++i) slots_[i].load()->abandon();
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    closed_.wait(lock, [this] { return open_ == 0; });
  }
  thread_.reset();  // before what its operations belong to
  for (std::size_t i = 0; i < made_; ++i) delete slots_[i].load();
}

detail::ready_slot* ready_files::table::at(int handle) const noexcept {
  const auto index = static_cast<std::size_t>(handle);
  return handle >= 0 && index < options_.files ? slots_[index].load(std::memory_order_acquire)
                                               : nullptr;
}

result<int> ready_files::table::open(std::string_view path,
                                     const detail::how_to_open& how) noexcept {
  const auto refused = [](int error) { return std::unexpected(detail::errno_code(error)); };
  if (path.find('\0') != std::string_view::npos) return refused(EINVAL);
  detail::how_to_open kept = how;
  try {
    std::string copy(path);
    detail::ready_slot* const slot = free_slot();
    if (slot == nullptr) return refused(EMFILE);
    kept.directory = keep_directory(path, how.directory);
    if (kept.directory < 0 && kept.directory != AT_FDCWD) {
      has_closed();
      is_free(*slot);
      return refused(-kept.directory);
    }
    slot->open(std::move(copy), kept);
    return slot->handle();
  } catch (const std::bad_alloc&) {
    return refused(ENOMEM);
  }
}

detail::ready_slot* ready_files::table::free_slot() {
  const std::lock_guard lock(mutex_);
  detail::ready_slot* slot = first_free_;
  if (made_ < options_.files) {
    slot = new detail::ready_slot(*this, static_cast<int>(made_));
    slots_[made_++].store(slot, std::memory_order_release);
  } else if (slot != nullptr) {
    first_free_ = slot->next_free;
  }
  if (slot != nullptr) ++open_;
  return slot;
}

void ready_files::table::is_free(detail::ready_slot& slot) noexcept {
  const std::lock_guard lock(mutex_);
  slot.next_free = nullptr;
  (first_free_ != nullptr ? last_free_->next_free : first_free_) = &slot;
  last_free_ = &slot;
}

void ready_files::table::has_closed() noexcept {
  const std::lock_guard lock(mutex_);
  if (--open_ == 0) closed_.notify_all();
}

void ready_files::table::event_taken(void* self, const ready_event& event) noexcept {
  detail::ready_slot& slot = *static_cast<table*>(self)->at(event.handle);
  if (event.what == ready::synced) slot.synced_was_told();
  if (event.what == ready::closed) slot.closed_was_told();
}

void ready_files::table::call(callback tell, void* user) noexcept {
  queue_.call(tell, user);
  const std::lock_guard lock(mutex_);
  if (tell == nullptr || std::exchange(nudged_, true)) return;
  thread_->context().start(nudge_);
}

// --- flushing after a while ----------------------------------------------------------------------

void ready_files::table::flush_later(detail::ready_slot& slot) noexcept {
  const std::lock_guard lock(mutex_);
  if (slot.flush_at != 0) return;
  slot.flush_at = context->now_ns() + std::chrono::nanoseconds(options_.flush_after).count();
  slot.next_to_flush = nullptr;
  (first_to_flush_ != nullptr ? last_to_flush_->next_to_flush : first_to_flush_) = &slot;
  last_to_flush_ = &slot;
  arm();
}

void ready_files::table::arm() noexcept {
  if (first_to_flush_ == nullptr || armed_ || ending_) return;
  armed_ = true;
  timer_.args = {.op = opcode::timeout,
                 .offset = static_cast<std::uint64_t>(first_to_flush_->flush_at)};
  thread_->context().start(timer_);
}

void ready_files::table::flush_what_is_due() noexcept {
  const std::int64_t now = context->now_ns();
  std::unique_lock lock(mutex_);
  armed_ = false;
  while (first_to_flush_ != nullptr && first_to_flush_->flush_at <= now && !ending_) {
    detail::ready_slot& slot = *first_to_flush_;
    first_to_flush_ = slot.next_to_flush;
    slot.flush_at = 0;
    lock.unlock();
    slot.flush();
    lock.lock();
  }
  arm();
}

}  // namespace weir
