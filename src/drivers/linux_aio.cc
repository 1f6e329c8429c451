#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "drivers/drivers.hpp"
#include "drivers/readiness.hpp"
#include "drivers/worker_pool.hpp"
#include "fork_guard.hpp"
#include "perform.hpp"

namespace weir::detail {
namespace {

/// The completion ring that io_setup(2) maps into this process (fs/aio.c, `struct aio_ring`). The
/// kernel moves `tail`, user space may move `head`: reaping needs no system call.
struct completion_ring {
  std::uint32_t id;
  std::uint32_t capacity;
  std::uint32_t head;
  std::uint32_t tail;
  std::uint32_t magic;
  std::uint32_t compat_features;
  std::uint32_t incompat_features;
  std::uint32_t header_length;

  // The events follow the header.
  const io_event& event(std::uint32_t at) const noexcept {
    return reinterpret_cast<const io_event*>(this + 1)[at];
  }
};
constexpr std::uint32_t ring_magic = 0xa10a10a1;

/// Linux AIO (io_submit(2)) for what it carries out asynchronously: transfers on files opened
/// O_DIRECT. Everything else it would do inside io_submit, blocking; that goes to threads. So does
/// a transfer that would have to wait before it is queued at the device (RWF_NOWAIT tells), and one
/// that io_submit refuses, since a blocking call then gives the answer that every driver gives.
class linux_aio_driver final : public driver {
 public:
  explicit linux_aio_driver(const driver_limits& limits)
      : queue_depth_(limits.queue_depth),
        fork_generation_(fork_generation()),
        blocks_(limits.queue_depth),
        pool_(new worker_pool(limits.threads, [this] { outside_.wake_ups().signal(); })) {
    free_.reserve(blocks_.size());
    for (iocb& block : blocks_) free_.push_back(&block);
    to_submit_.reserve(blocks_.size());
  }

  linux_aio_driver(const linux_aio_driver&) = delete;
  linux_aio_driver& operator=(const linux_aio_driver&) = delete;
  ~linux_aio_driver() override {
    // Waits for what is in flight. A child has not inherited the context.
    if (context_ != 0 && fork_generation_ == fork_generation()) {
      ::syscall(SYS_io_destroy, context_);
    }
  }

  std::expected<void, refusal> open() noexcept {
    if (auto opened = outside_.open(); !opened) return opened;
    if (::syscall(SYS_io_setup, queue_depth_, &context_) < 0) {
      return std::unexpected(refusal{"io_setup", errno});
    }
    if (const int error = pool_->open(); error < 0) {
      return std::unexpected(refusal{"pthread_create", -error});
    }
    return {};
  }

  void submit(operation_queue& staged) noexcept override;
  void reap(operation_queue& completed, deadline until) noexcept override;
  bool context_may_read() const noexcept override { return true; }

  void wake() noexcept override { outside_.wake_ups().signal(); }
  int fd() const noexcept override { return outside_.fd(); }

 private:
  static bool truly_asynchronous(const request& what) noexcept;
  void prepare(operation& op) noexcept;
  void submit_prepared() noexcept;
  std::int32_t cancel(const request& what) noexcept;
  void give_back(iocb& block) noexcept { free_.push_back(&block); }

  using owner = worker_pool::owner;
  bool clear_wake_ups() noexcept;
  void collect(operation_queue& completed, owner then) noexcept;
  void take_from_ring(operation_queue& completed) noexcept;
  void take_from_kernel(operation_queue& completed) noexcept;
  void take_event(const io_event& event, operation_queue& completed) noexcept;

  const std::size_t queue_depth_;
  const unsigned fork_generation_;
  aio_context_t context_ = 0;
  std::vector<iocb> blocks_;      // one for each operation that may be in flight
  std::vector<iocb*> free_;       // those not with the kernel
  std::vector<iocb*> to_submit_;  // prepared in this turn
  operation_queue to_threads_;    // this turn's operations for the pool
  operation_queue answered_;      // cancel requests, not yet reaped
  operation_queue no_ops_;        // the same
  std::size_t in_flight_ = 0;     // with the kernel or the pool, cancel requests aside
  readiness outside_;             // woken by the kernel, the pool and wake()
  worker_pool_ptr pool_;          // last: its threads signal `outside_` until they have ended
};

operation& operation_of(const iocb& block) noexcept {
  return *reinterpret_cast<operation*>(block.aio_data);
}

std::uint16_t command_of(opcode op) noexcept {
  switch (op) {
    case opcode::read:
      return IOCB_CMD_PREAD;
    case opcode::write:
      return IOCB_CMD_PWRITE;
    case opcode::readv:
      return IOCB_CMD_PREADV;
    default:
      return IOCB_CMD_PWRITEV;
  }
}

bool is_vectored(opcode op) noexcept { return op == opcode::readv || op == opcode::writev; }

// --- submission ----------------------------------------------------------------------------------

bool linux_aio_driver::truly_asynchronous(const request& what) noexcept {
  if ((what.hints & hint::direct) == 0 || out_of_range(what)) return false;
  return what.op == opcode::read || what.op == opcode::write || is_vectored(what.op);
}

void linux_aio_driver::submit(operation_queue& staged) noexcept {
  while (!staged.empty()) {
    operation& op = staged.front();
    if (op.args.op == opcode::cancel) {
      staged.pop_front();
      submit_prepared();  // its target may be among these
      op.set_answer(cancel(op.args));
      answered_.push_back(op);
      continue;
    }
    if (readiness::takes(op.args.op)) {
      outside_.start(staged.pop_front());
      continue;
    }
    if (in_flight_ >= queue_depth_) break;
    staged.pop_front();
    ++in_flight_;
    if (op.args.op == opcode::nop) {
      op.set_answer(0);  // a thread would take longer to be woken
      no_ops_.push_back(op);
    } else {
      truly_asynchronous(op.args) ? prepare(op) : to_threads_.push_back(op);
    }
  }
  submit_prepared();
}

void linux_aio_driver::prepare(operation& op) noexcept {
  const request& what = op.args;
  iocb& block = *free_.back();
  free_.pop_back();
  block = {};
  block.aio_data = reinterpret_cast<std::uintptr_t>(&op);
  block.aio_lio_opcode = command_of(what.op);
  block.aio_fildes = static_cast<std::uint32_t>(what.fd);
  block.aio_buf = reinterpret_cast<std::uintptr_t>(what.address);
  block.aio_nbytes = is_vectored(what.op) ? what.length : std::min(what.length, transfer_max);
  block.aio_offset = static_cast<std::int64_t>(what.offset);
  block.aio_rw_flags = static_cast<__kernel_rwf_t>(what.flags | RWF_NOWAIT);
  block.aio_flags = IOCB_FLAG_RESFD;
  block.aio_resfd = static_cast<std::uint32_t>(outside_.wake_ups().fd());
  if (what.priority != 0) {
    block.aio_flags |= IOCB_FLAG_IOPRIO;
    block.aio_reqprio = static_cast<std::int16_t>(what.priority);
  }
  to_submit_.push_back(&block);
}

// io_submit takes a prefix, and fails only for the first block that it did not take: that one goes
// to the threads, and its neighbours go on.
void linux_aio_driver::submit_prepared() noexcept {
  for (std::size_t taken = 0; taken < to_submit_.size();) {
    const long answer =
        ::syscall(SYS_io_submit, context_, to_submit_.size() - taken, to_submit_.data() + taken);
    if (answer > 0) {
      taken += static_cast<std::size_t>(answer);
    } else if (answer == 0 || errno != EINTR) {
      iocb& refused = *to_submit_[taken++];
      to_threads_.push_back(operation_of(refused));
      give_back(refused);
    }
  }
  to_submit_.clear();
  if (!to_threads_.empty()) pool_->submit(std::move(to_threads_));
}

// io_cancel(2) is implemented for no file: what the kernel has begun, it ends.
std::int32_t linux_aio_driver::cancel(const request& what) noexcept {
  if (what.address == nullptr) {
    outside_.cancel_named(what);
    pool_->cancel_named(what);
    return 0;
  }
  auto& target = *static_cast<operation*>(what.address);
  if (outside_.cancel(target) == 0) return 0;
  const int answer = pool_->cancel(target);
  return answer == -ENOENT && target.in_flight() ? -EALREADY : answer;
}

// --- completion ----------------------------------------------------------------------------------

// The kernel writes to the eventfd for each transfer. Reading it costs as much as the rest of a
// turn, so while the ring by itself gives something to complete, that is left until this thread
// waits.
void linux_aio_driver::reap(operation_queue& completed, deadline until) noexcept {
  const owner next = outside_.shown() ? owner::falls_asleep : owner::stays_awake;
  const bool woken = clear_wake_ups();
  collect(completed, next);
  if (!completed.empty() || woken || until == deadline::now()) return;
  const bool woken_meanwhile = outside_.wake_ups().drain_signals();
  collect(completed, owner::falls_asleep);
  if (!completed.empty() || woken_meanwhile) return;
  outside_.wait(until);
  clear_wake_ups();
  collect(completed, next);
}

// Whoever looks at fd() must not see what is being taken now.
bool linux_aio_driver::clear_wake_ups() noexcept {
  return outside_.shown() ? outside_.wake_ups().drain_signals() : outside_.wake_ups().clear();
}

void linux_aio_driver::collect(operation_queue& completed, owner then) noexcept {
  completed.append(std::move(answered_));
  const std::size_t before = completed.size();
  completed.append(std::move(no_ops_));
  const auto* ring = reinterpret_cast<const completion_ring*>(context_);
  ring->magic == ring_magic ? take_from_ring(completed) : take_from_kernel(completed);
  if (!to_threads_.empty()) pool_->submit(std::move(to_threads_));
  pool_->collect(completed, then);
  in_flight_ -= completed.size() - before;
  outside_.collect(completed);
}

void linux_aio_driver::take_from_ring(operation_queue& completed) noexcept {
  auto* ring = reinterpret_cast<completion_ring*>(context_);
  std::uint32_t head = ring->head;
  // Pairs with the kernel's barrier between writing the events and moving the tail.
  const std::uint32_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
  for (; head != tail; head = (head + 1) % ring->capacity) {
    take_event(ring->event(head), completed);
  }
  __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
}

// Where the kernel's ring is of a kind not known here.
void linux_aio_driver::take_from_kernel(operation_queue& completed) noexcept {
  std::array<io_event, 64> events;
  timespec no_wait{};
  for (;;) {
    const long count =
        ::syscall(SYS_io_getevents, context_, 0, events.size(), events.data(), &no_wait);
    if (count < 0 && errno == EINTR) continue;
    for (long i = 0; i < count; ++i) take_event(events[static_cast<std::size_t>(i)], completed);
    if (count < static_cast<long>(events.size())) return;
  }
}

void linux_aio_driver::take_event(const io_event& event, operation_queue& completed) noexcept {
  auto& block = *reinterpret_cast<iocb*>(event.obj);
  operation& op = operation_of(block);
  give_back(block);
  const auto answer = static_cast<std::int32_t>(event.res);
  // What would have had to wait, or stopped short of it, or has no such mode, is done by a thread
  // from the start: the same bytes to the same place.
  const bool may_wait = (op.args.flags & RWF_NOWAIT) == 0;
  const bool stopped = answer >= 0 && !is_vectored(op.args.op) &&
                       static_cast<std::uint64_t>(answer) < std::min(op.args.length, transfer_max);
  if (may_wait && (answer == -EAGAIN || answer == -EOPNOTSUPP || stopped)) {
    to_threads_.push_back(op);
    return;
  }
  op.set_answer(answer);
  completed.push_back(op);
}

}  // namespace

opened_driver open_linux_aio(const driver_limits& limits) {
  auto made = std::make_unique<linux_aio_driver>(limits);
  if (auto opened = made->open(); !opened) return std::unexpected(opened.error());
  return made;
}

}  // namespace weir::detail
