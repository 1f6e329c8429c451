#include "weir/buffer_pool.hpp"

#include <linux/mman.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <string>

#include "fork_guard.hpp"
#include "misuse.hpp"
#include "weir/io_context.hpp"

namespace weir {
namespace detail {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t huge_page = std::size_t{2} << 20;

/// A system call's refusal.
struct mapping_error {
  const char* call;
  int error;
};

/// The pool's memory: anonymous, zeroed, at a multiple of its page size.
class mapping {
 public:
  mapping() noexcept = default;
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;
  ~mapping() {
    if (data_ != nullptr) ::munmap(data_, length_);
  }

  /// At least `length` bytes; the call is null where that went well.
  mapping_error map(std::size_t length, const buffer_pool_options& options) noexcept;
  /// Gives the pages back and keeps the addresses from ever being used again.
  void retire() noexcept;

  std::byte* data() const noexcept { return data_; }
  std::size_t length() const noexcept { return length_; }

 private:
  void trim(std::byte* from, std::size_t mapped) noexcept;

  std::byte* data_ = nullptr;
  std::size_t length_ = 0;
};

constexpr std::size_t rounded(std::size_t n, std::size_t to) noexcept {
  return (n + to - 1) / to * to;
}

mapping_error mapping::map(std::size_t length, const buffer_pool_options& options) noexcept {
  const bool huge = options.huge != huge_pages::none;
  length_ = rounded(length, huge ? huge_page : page);
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  if (options.huge == huge_pages::reserved) flags |= MAP_HUGETLB | static_cast<int>(MAP_HUGE_2MB);
  // Of ordinary memory one huge page more, so that it holds a place that begins at a multiple.
  const bool trims = options.huge == huge_pages::transparent;
  const std::size_t mapped = length_ + (trims ? huge_page : 0);
  void* const made = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (made == MAP_FAILED) return {"mmap", errno};
  data_ = static_cast<std::byte*>(made);
  if (trims) {
    trim(data_, mapped);
    // EINVAL from a kernel without them: they are only a wish.
    static_cast<void>(::madvise(data_, length_, MADV_HUGEPAGE));
  }
  if (options.lock && ::mlock(data_, length_) != 0) return {"mlock", errno};
  return {};
}

void mapping::trim(std::byte* from, std::size_t mapped) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(from);
  const std::size_t before = rounded(address, huge_page) - address;
  data_ = from + before;
  if (before != 0) ::munmap(from, before);
  ::munmap(data_ + length_, mapped - before - length_);
}

void mapping::retire() noexcept {
  ::mmap(data_, length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  data_ = nullptr;
}

}  // namespace

/// First come, first served; anyone may leave.
class waiting_line {
 public:
  std::size_t size() const noexcept { return size_; }

  void push_back(take_state& one) noexcept {
    one.waiting_ = true;
    one.next_ = nullptr;
    one.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &one;
    last_ = &one;
    ++size_;
  }
  void remove(take_state& one) noexcept {
    one.waiting_ = false;
    (one.previous_ != nullptr ? one.previous_->next_ : first_) = one.next_;
    (one.next_ != nullptr ? one.next_->previous_ : last_) = one.previous_;
    --size_;
  }
  /// Null when nobody waits.
  take_state* pop_front() noexcept {
    take_state* const first = first_;
    if (first != nullptr) remove(*first);
    return first;
  }

 private:
  take_state* first_ = nullptr;
  take_state* last_ = nullptr;
  std::size_t size_ = 0;
};

/// What stands behind a pool for as long as it or one of its buffers lives, or the driver is being
/// told of the memory. A buffer that comes back goes to the first who waits, else to the free ones:
/// so while any is free nobody waits, and nobody is overtaken.
class pool_core : private operation {
 public:
  pool_core(io_context& context, std::size_t size, std::size_t count)
      : operation({.op = opcode::register_memory}, &told),
        context_(context),
        fork_generation_(fork_generation()),
        size_(size),
        stride_(rounded(size, page)),
        count_(count),
        free_(std::make_unique<std::uint32_t[]>(count)),
        free_count_(count) {
    // The first is on top.
    std::iota(free_.get(), free_.get() + count, 0U);
    std::reverse(free_.get(), free_.get() + count);
  }

  mapping_error open(const buffer_pool_options& options) noexcept;
  /// The pool has gone.
  void close() noexcept;

  /// True when `one` has been answered; otherwise it has been put in the queue.
  bool serve_or_queue(take_state& one) noexcept;
  bool serve(take_state& one) noexcept;
  /// True when `one` had been waiting, and does no longer.
  bool withdraw(take_state& one) noexcept;
  result<buffer> try_take() noexcept;

  io_context& context() const noexcept { return context_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t count() const noexcept { return count_; }
  std::size_t available() const noexcept {
    const std::lock_guard guard(mutex_);
    return free_count_;
  }
  std::size_t waiting() const noexcept {
    const std::lock_guard guard(mutex_);
    return line_.size();
  }
  std::int32_t registration() const noexcept { return registered_.load(std::memory_order_relaxed); }
  /// In a forked child, where this is a copy of the parent's.
  bool is_copy() const noexcept { return fork_generation_ != fork_generation(); }

 private:
  static void told(operation& op) noexcept;
  static void give_back(void* owner, std::byte* data, std::size_t) noexcept {
    static_cast<pool_core*>(owner)->give_back(data);
  }

  void give_back(std::byte* data) noexcept;
  buffer pop_free() noexcept;
  buffer buffer_at(std::byte* data) noexcept {
    return buffer::adopt({data, size_}, &give_back, this);
  }
  void retire_when_unused(std::unique_lock<std::mutex>& lock) noexcept;

  io_context& context_;
  const unsigned fork_generation_;
  const std::size_t size_;
  const std::size_t stride_;
  const std::size_t count_;
  mapping memory_;
  std::atomic<std::int32_t> registered_ = -EINPROGRESS;

  mutable std::mutex mutex_;  // for all below, and `waiting_` of those in the queue
  std::unique_ptr<std::uint32_t[]> free_;
  std::size_t free_count_;
  waiting_line line_;
  bool telling_ = false;  // the driver, that the memory comes or goes
  bool open_ = true;
};

// --- life ----------------------------------------------------------------------------------------

mapping_error pool_core::open(const buffer_pool_options& options) noexcept {
  const mapping_error refused = memory_.map(stride_ * count_, options);
  if (refused.call != nullptr) return refused;
  args.address = memory_.data();
  args.length = memory_.length();
  telling_ = true;
  context_.start(*this);
  return {};
}

void pool_core::close() noexcept {
  std::unique_lock lock(mutex_);
  open_ = false;
  while (take_state* one = line_.pop_front()) {
    one->outcome_ = was_cancelled;
    if (!is_copy()) context_.start(*one);
  }
  retire_when_unused(lock);
}

// The driver has answered.
void pool_core::told(operation& op) noexcept {
  auto& self = static_cast<pool_core&>(op);
  if (self.args.op == opcode::register_memory) {
    self.registered_.store(self.answer(), std::memory_order_relaxed);
  } else {
    // It may still know these addresses, and must not take other memory for this.
    if (self.answer() != 0) self.memory_.retire();
    self.registered_.store(-EBADF, std::memory_order_relaxed);
  }
  std::unique_lock lock(self.mutex_);
  self.telling_ = false;
  self.retire_when_unused(lock);
}

// The last one out: has the driver forget the memory, if it knows it, then frees everything.
void pool_core::retire_when_unused(std::unique_lock<std::mutex>& lock) noexcept {
  if (open_ || free_count_ != count_ || (telling_ && !is_copy())) return;
  if (registration() == 0 && !is_copy()) {
    telling_ = true;
    args.op = opcode::forget_memory;
    lock.unlock();
    context_.start(*this);  // `this` may be gone from here on
    return;
  }
  lock.unlock();
  delete this;
}

// --- taking and giving back ----------------------------------------------------------------------

buffer pool_core::pop_free() noexcept {
  return buffer_at(memory_.data() + free_[--free_count_] * stride_);
}

result<buffer> pool_core::try_take() noexcept {
  const std::lock_guard guard(mutex_);
  if (free_count_ == 0) return std::unexpected(errno_code(EAGAIN));
  return pop_free();
}

bool pool_core::serve(take_state& one) noexcept {
  const std::lock_guard guard(mutex_);
  if (free_count_ == 0) return false;
  one.taken_ = pop_free();
  one.outcome_ = 0;
  return true;
}

bool pool_core::serve_or_queue(take_state& one) noexcept {
  const std::lock_guard guard(mutex_);
  if (free_count_ == 0) {
    line_.push_back(one);
    return false;
  }
  one.taken_ = pop_free();
  one.outcome_ = 0;
  return true;
}

bool pool_core::withdraw(take_state& one) noexcept {
  const std::lock_guard guard(mutex_);
  if (!one.waiting_) return false;
  line_.remove(one);
  return true;
}

void pool_core::give_back(std::byte* data) noexcept {
  std::unique_lock lock(mutex_);
  if (take_state* one = line_.pop_front()) {
    one->taken_ = buffer_at(data);
    one->outcome_ = 0;
    lock.unlock();
    context_.start(*one);  // `one`, and all that it keeps alive, may be gone from here on
    return;
  }
  const auto number = static_cast<std::size_t>(data - memory_.data()) / stride_;
  free_[free_count_++] = static_cast<std::uint32_t>(number);
  retire_when_unused(lock);
}

// --- waiting -------------------------------------------------------------------------------------

take_state::take_state(pool_core* pool) noexcept
    : awaited_operation(pool != nullptr ? &pool->context() : nullptr, {}, nullptr),
      pool_(pool),
      outcome_(bad_descriptor) {}

take_state::~take_state() {
  if (!waiting_ || pool_->is_copy()) return;
  misuse(
      "a coroutine was destroyed while it waited for a pool's buffer; stop it with with_stop, or "
      "destroy the pool and drive the context first");
}

void take_state::begin(continuation next) noexcept {
  continue_with(next);
  io_context& on = pool_->context();
  if (pool_->serve_or_queue(*this)) on.start(*this);  // `this` may be gone from here on
}

bool take_state::take_at_once() noexcept {
  return context()->on_own_thread() && pool_->serve(*this);
}

// A buffer that is on its way already is kept: nothing is to be cancelled.
operation* take_state::stop() noexcept {
  if (pool_->withdraw(*this)) {
    outcome_ = was_cancelled;
    context()->start(*this);
  }
  return nullptr;
}

result<buffer> take_state::take() noexcept {
  if (outcome_ < 0) return std::unexpected(errno_code(-outcome_));
  return std::move(taken_);
}

}  // namespace detail

// --- the pool ------------------------------------------------------------------------------------

io_context* take_sender::context() const noexcept {
  return pool_ != nullptr ? &pool_->context() : nullptr;
}

namespace {

using detail::errno_code;

struct opened_pool {
  detail::pool_core* core;
  detail::mapping_error refused;
};

opened_pool open_pool(io_context& context, std::size_t size, std::size_t count,
                      const buffer_pool_options& options) noexcept {
  if (size == 0 || count == 0) return {nullptr, {"a buffer pool's size or count of 0", EINVAL}};
  constexpr std::size_t most = std::numeric_limits<std::ptrdiff_t>::max() / 2;
  if (count > std::numeric_limits<std::uint32_t>::max() || size > most / count - detail::page) {
    return {nullptr, {"mmap", ENOMEM}};
  }
  try {
    auto core = std::make_unique<detail::pool_core>(context, size, count);
    const detail::mapping_error refused = core->open(options);
    if (refused.call != nullptr) return {nullptr, refused};
    return {core.release(), {}};
  } catch (const std::bad_alloc&) {
    return {nullptr, {"operator new", ENOMEM}};
  }
}

}  // namespace

buffer_pool::buffer_pool(io_context& context, std::size_t size, std::size_t count,
                         const buffer_pool_options& options) {
  const opened_pool opened = open_pool(context, size, count, options);
  if (opened.core == nullptr) {
    throw std::system_error(errno_code(opened.refused.error), opened.refused.call);
  }
  core_ = opened.core;
}

result<buffer_pool> buffer_pool::make(io_context& context, std::size_t size, std::size_t count,
                                      const buffer_pool_options& options) noexcept {
  const opened_pool opened = open_pool(context, size, count, options);
  if (opened.core == nullptr) return std::unexpected(errno_code(opened.refused.error));
  return buffer_pool{opened.core};
}

buffer_pool& buffer_pool::operator=(buffer_pool&& other) noexcept {
  if (this != &other) {
    if (core_ != nullptr) core_->close();
    core_ = std::exchange(other.core_, nullptr);
  }
  return *this;
}

buffer_pool::~buffer_pool() {
  if (core_ != nullptr) core_->close();
}

result<buffer> buffer_pool::try_take() noexcept {
  if (core_ == nullptr) return std::unexpected(errno_code(EBADF));
  return core_->try_take();
}

std::size_t buffer_pool::buffer_size() const noexcept {
  return core_ != nullptr ? core_->size() : 0;
}
std::size_t buffer_pool::count() const noexcept { return core_ != nullptr ? core_->count() : 0; }
std::size_t buffer_pool::available() const noexcept {
  return core_ != nullptr ? core_->available() : 0;
}
std::size_t buffer_pool::waiting() const noexcept {
  return core_ != nullptr ? core_->waiting() : 0;
}

result<void> buffer_pool::registered() const noexcept {
  return detail::to_result<void>(core_ != nullptr ? core_->registration() : -EBADF);
}

}  // namespace weir
