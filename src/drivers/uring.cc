#include <liburing.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <new>
#include <span>
#include <utility>

#include "clock.hpp"
#include "drivers/drivers.hpp"
#include "drivers/event_fd.hpp"
#include "drivers/worker_pool.hpp"
#include "fork_guard.hpp"
#include "misuse.hpp"
#include "perform.hpp"

namespace weir::detail {
namespace {

// Linux 6.9; Debian 12's headers end before it.
constexpr std::uint8_t ioring_op_ftruncate = 55;

// Stands for the poll on `event_` in user_data: an address that no operation can have.
constexpr std::uint64_t wake_tag = 1;

// A hint of this driver's own, while it holds the operation.
constexpr std::uint8_t asked_again = 0x80;

// No kernel has an opcode of this number: threads carry the operation out.
constexpr std::uint8_t none = 255;

/// What the kernel must have to carry an operation of this opcode out natively.
constexpr std::array<std::uint8_t, opcode_count> native_opcode = {
    IORING_OP_NOP,
    IORING_OP_READ,
    IORING_OP_WRITE,
    IORING_OP_READV,
    IORING_OP_WRITEV,
    IORING_OP_FSYNC,
    IORING_OP_FSYNC,
    IORING_OP_OPENAT,
    IORING_OP_CLOSE,
    IORING_OP_STATX,
    ioring_op_ftruncate,
    IORING_OP_FALLOCATE,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    none,
    IORING_OP_ASYNC_CANCEL,
};

/// Set-up flags, from what the newest kernels like best down to what 5.10 takes. The ring starts
/// disabled on every rung: it is enabled by the thread that drives it, which with SINGLE_ISSUER
/// makes that thread its only submitter, whichever thread opened the driver.
///  - DEFER_TASKRUN (6.1): completions are posted when this thread asks, not in the midst of its
///    work; TASKRUN_FLAG lets it see without a system call whether to ask.
///  - COOP_TASKRUN (5.19): at least no interrupt to post a completion.
///  - SUBMIT_ALL (5.18): a refused operation does not hold up those behind it.
constexpr unsigned every_rung = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
constexpr std::array<unsigned, 4> setup_ladder = {
    every_rung | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    every_rung | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    every_rung | IORING_SETUP_SUBMIT_ALL,
    every_rung,
};

unsigned transfer_length(const request& what) noexcept {
  return static_cast<unsigned>(std::min(what.length, transfer_max));
}

// Too many iovecs stay too many when narrowed, so that the kernel says EINVAL.
unsigned vector_count(const request& what) noexcept {
  return static_cast<unsigned>(std::min<std::uint64_t>(what.length, INT32_MAX));
}

void prepare_transfer(io_uring_sqe* sqe, const request& what, std::uint8_t op, unsigned length) {
  io_uring_prep_rw(op, sqe, what.fd, what.address, length, what.offset);
  sqe->rw_flags = static_cast<__kernel_rwf_t>(what.flags);
  sqe->ioprio = what.priority;
}

void prepare(io_uring_sqe* sqe, const request& what) noexcept {
  const std::uint8_t op = native_opcode[static_cast<unsigned>(what.op)];
  switch (what.op) {
    case opcode::nop:
      return io_uring_prep_nop(sqe);
    case opcode::read:
    case opcode::write:
      return prepare_transfer(sqe, what, op, transfer_length(what));
    case opcode::readv:
    case opcode::writev:
      return prepare_transfer(sqe, what, op, vector_count(what));
    case opcode::fsync:
      return io_uring_prep_fsync(sqe, what.fd, 0);
    case opcode::fdatasync:
      return io_uring_prep_fsync(sqe, what.fd, IORING_FSYNC_DATASYNC);
    case opcode::openat:
      return io_uring_prep_openat(sqe, what.fd, static_cast<const char*>(what.address),
                                  static_cast<int>(what.flags), what.mode);
    case opcode::close:
      return io_uring_prep_close(sqe, what.fd);
    case opcode::statx:
      return io_uring_prep_statx(sqe, what.fd, static_cast<const char*>(what.address),
                                 static_cast<int>(what.flags), what.mode,
                                 reinterpret_cast<struct statx*>(what.offset));
    case opcode::ftruncate:
      return io_uring_prep_rw(op, sqe, what.fd, nullptr, 0, what.offset);
    case opcode::fallocate:
      return io_uring_prep_fallocate(sqe, what.fd, static_cast<int>(what.mode),
                                     static_cast<off_t>(what.offset),
                                     static_cast<off_t>(what.length));
    case opcode::cancel:
      return io_uring_prep_cancel(
          sqe, what.address,
          what.address == nullptr ? IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL : 0);
    default:
      std::unreachable();  // `native_opcode` has none
  }
}

/// io_uring(7). The completion queue cannot overflow: it has room for `queue_depth_` operations, as
/// many cancel requests, and the few completions of the poll that wakes it.
class uring_driver final : public driver {
 public:
  explicit uring_driver(const driver_limits& limits) noexcept
      : limits_(limits), fork_generation_(fork_generation()) {}

  uring_driver(const uring_driver&) = delete;
  uring_driver& operator=(const uring_driver&) = delete;
  ~uring_driver() override {
    if (ring_.ring_fd < 0) return;
    if (fork_generation_ != fork_generation()) {
      ::close(ring_.ring_fd);  // the rings' memory is not mapped in the child
      return;
    }
    operation_queue lost;
    while (in_flight_ + cancels_in_flight_ != 0) {
      reap(lost, deadline::never());
      lost = {};
    }
    io_uring_queue_exit(&ring_);
  }

  std::expected<void, refusal> open(const uring_restrictions& restrictions) noexcept;

  void submit(operation_queue& staged) noexcept override;
  void reap(operation_queue& completed, deadline until) noexcept override;
  void wake() noexcept override;
  int fd() const noexcept override;

 private:
  int set_up_ring(unsigned refused_flags) noexcept;
  int find_native(std::uint64_t missing) noexcept;
  void enable() noexcept;
  io_uring_sqe* next_sqe() noexcept;
  void watch_event() noexcept;
  void hand_to_kernel(operation& op, unsigned sqe_flags) noexcept;
  void cancel(operation& request) noexcept;
  void offload(operation& op) noexcept;
  void finish_here(operation& op, std::int32_t answer) noexcept;

  bool enter(bool block, deadline until) noexcept;
  bool kernel_may_have_work() const noexcept;
  void settle_fd(operation_queue& completed) noexcept;
  void take_completions(operation_queue& completed) noexcept;
  void take_completion(const io_uring_cqe& cqe, operation_queue& completed) noexcept;
  void take_wake(const io_uring_cqe& cqe) noexcept;
  bool try_again(operation& op, std::int32_t answer) noexcept;

  const driver_limits limits_;
  const unsigned fork_generation_;
  io_uring ring_{.ring_fd = -1};
  std::array<bool, opcode_count> native_{};
  bool enabled_ = false;
  bool watching_ = false;           // a poll on `event_` is armed
  bool watch_is_multishot_ = true;  // since 5.13
  bool woken_ = false;
  std::size_t in_flight_ = 0;          // with the kernel or the threads, cancel requests aside
  bool cancelling_all_ = false;        // until nothing is in flight
  std::size_t cancels_in_flight_ = 0;  // with the kernel
  operation_queue done_;               // finished without either, not yet reaped
  mutable event_fd shown_;             // what fd() gives, from when it is first asked for
  mutable std::atomic<bool> shows_ = false;
  event_fd event_;           // wakes the ring from other threads
  worker_pool_ptr offload_;  // made when first needed; its threads signal `event_`
};

// --- set-up --------------------------------------------------------------------------------------

std::expected<void, refusal> uring_driver::open(const uring_restrictions& restrictions) noexcept {
  for (event_fd* each : {&event_, &shown_}) {
    if (const int error = each->open(); error < 0) {
      return std::unexpected(refusal{"eventfd", -error});
    }
  }
  if (const int error = set_up_ring(restrictions.refused_setup_flags); error < 0) {
    return std::unexpected(refusal{"io_uring_setup", -error});
  }
  if (const int error = find_native(restrictions.missing_opcodes); error < 0) {
    return std::unexpected(refusal{"io_uring_register", -error});
  }
  // Otherwise a child's copy-on-write could take pages from under the parent's ring.
  if (const int error = io_uring_ring_dontfork(&ring_); error < 0) {
    return std::unexpected(refusal{"madvise", -error});
  }
  return {};
}

int uring_driver::set_up_ring(unsigned refused_flags) noexcept {
  int error = -EINVAL;
  for (const unsigned flags : setup_ladder) {
    if ((flags & refused_flags) != 0) continue;
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = 2 * limits_.queue_depth + 16;
    error = io_uring_queue_init_params(limits_.queue_depth, &ring_, &params);
    if (error == 0) return 0;
    ring_.ring_fd = -1;
    if (error != -EINVAL) break;  // only an unknown flag makes a lower rung worth a try
  }
  return error;
}

int uring_driver::find_native(std::uint64_t missing) noexcept {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  if (probe == nullptr) return -ENOMEM;
  for (unsigned op = 0; op < opcode_count; ++op) {
    native_[op] =
        (missing >> op & 1) == 0 && io_uring_opcode_supported(probe, native_opcode[op]) != 0;
  }
  io_uring_free_probe(probe);
  return 0;
}

// On the thread that drives the ring from now on.
void uring_driver::enable() noexcept {
  enabled_ = true;
  // By hand: liburing 2.3's shared library forgets to export io_uring_enable_rings.
  if (::syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) <
      0) {
    misuse("an io_uring driver could not be enabled");
  }
  // Buffered reads that miss go to kernel threads; without a cap thousands of reads make thousands
  // of them. Kernels before 5.15 cannot be told, which costs threads, not correctness.
  std::array<unsigned, 2> most = {limits_.threads, limits_.threads};
  static_cast<void>(io_uring_register_iowq_max_workers(&ring_, most.data()));
}

// --- submission ----------------------------------------------------------------------------------

void uring_driver::submit(operation_queue& staged) noexcept {
  if (!enabled_) enable();
  if (in_flight_ == 0) cancelling_all_ = false;
  while (!staged.empty()) {
    operation& op = staged.front();
    if (op.args.op == opcode::cancel) {
      if (cancels_in_flight_ >= limits_.queue_depth) return;
      staged.pop_front();
      cancel(op);
      continue;
    }
    if (in_flight_ >= limits_.queue_depth) return;
    staged.pop_front();
    if (out_of_range(op.args)) {
      finish_here(op, -EINVAL);
    } else if (native_[static_cast<unsigned>(op.args.op)]) {
      ++in_flight_;
      hand_to_kernel(op, 0);
    } else {
      offload(op);
    }
  }
}

// The submission queue may be smaller than all that is waiting for it: then it goes out early.
io_uring_sqe* uring_driver::next_sqe() noexcept {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    enter(false, deadline::now());
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

void uring_driver::hand_to_kernel(operation& op, unsigned sqe_flags) noexcept {
  io_uring_sqe* sqe = next_sqe();
  prepare(sqe, op.args);
  sqe->flags |= static_cast<std::uint8_t>(sqe_flags);
  io_uring_sqe_set_data(sqe, &op);
}

void uring_driver::cancel(operation& request) noexcept {
  auto* target = static_cast<operation*>(request.args.address);
  if (target != nullptr) target->request_cancel();
  if (target == nullptr) cancelling_all_ = true;
  const int answer = offload_ ? offload_->cancel(target) : -ENOENT;
  if (target != nullptr && answer != -ENOENT) {
    finish_here(request, answer);
    return;
  }
  ++cancels_in_flight_;
  hand_to_kernel(request, 0);
}

// What this kernel's io_uring does not know is carried out by threads.
void uring_driver::offload(operation& op) noexcept {
  if (!offload_) {
    offload_.reset(new (std::nothrow) worker_pool(limits_.threads, [this] { wake(); }));
    if (const int error = offload_ ? offload_->open() : -ENOMEM; error < 0) {
      offload_.reset();
      finish_here(op, error);
      return;
    }
  }
  ++in_flight_;
  operation_queue one;
  one.push_back(op);
  offload_->submit(std::move(one));
}

void uring_driver::finish_here(operation& op, std::int32_t answer) noexcept {
  op.set_answer(answer);
  done_.push_back(op);
}

// The poll that lets `wake` and the offload's threads end a wait, and makes fd() readable.
void uring_driver::watch_event() noexcept {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_poll_add(sqe, event_.fd(), POLLIN);
  if (watch_is_multishot_) sqe->len = IORING_POLL_ADD_MULTI;
  io_uring_sqe_set_data64(sqe, wake_tag);
  watching_ = true;
}

// --- completion ----------------------------------------------------------------------------------

void uring_driver::reap(operation_queue& completed, deadline until) noexcept {
  if (!enabled_) enable();
  const auto must_wait = [&] { return completed.empty() && !woken_ && until != deadline::now(); };
  take_completions(completed);
  if (must_wait() || io_uring_sq_ready(&ring_) != 0 || kernel_may_have_work()) {
    do {
      if (enter(must_wait(), until)) until = deadline::now();
      take_completions(completed);
    } while (must_wait() || io_uring_sq_ready(&ring_) != 0);
  }
  if (shows_.load(std::memory_order_relaxed)) settle_fd(completed);
  woken_ = false;
}

// What has been taken has made fd() readable, also while it was taken; what has come since, too.
// Only when there is nothing left to read has everything been seen.
void uring_driver::settle_fd(operation_queue& completed) noexcept {
  while (shown_.drain()) {
    if (kernel_may_have_work()) enter(false, deadline::now());
    take_completions(completed);
  }
}

void uring_driver::wake() noexcept {
  event_.signal();
  if (shows_.load()) shown_.signal();
}

// Not the ring's own descriptor: with DEFER_TASKRUN the kernel tells a thread that sleeps in
// poll(2) nothing of completions that it would have to post first. An eventfd registered with the
// ring it does tell. Registered only when asked for, because signalling it takes time.
int uring_driver::fd() const noexcept {
  if (!shows_.load(std::memory_order_relaxed)) {
    // By hand as above: it changes nothing in `ring_`, which liburing's function wants to be
    // mutable.
    const int fd = shown_.fd();
    if (::syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_EVENTFD, &fd, 1) < 0) {
      misuse("an io_uring driver's fd() was asked for by another thread than its own");
    }
    shows_.store(true);
    // A ring that nobody has driven yet shows nothing by itself.
    if (event_.signalled()) shown_.signal();
  }
  return shown_.fd();
}

// Work that the kernel has finished but posts only when asked (DEFER_TASKRUN), or could not post.
// The flag may outlive the work that it was set for, so it is asked once, not until it says no.
bool uring_driver::kernel_may_have_work() const noexcept {
  const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
  return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

// One system call: submits all there is, and waits if it may. True when `until` has passed.
bool uring_driver::enter(bool block, deadline until) noexcept {
  int answer = 0;
  if (!block) {
    answer = io_uring_submit_and_get_events(&ring_);
  } else if (until == deadline::never()) {
    answer = io_uring_submit_and_wait(&ring_, 1);
  } else {
    const std::int64_t left = std::max<std::int64_t>(0, until.monotonic_ns - monotonic_now_ns());
    __kernel_timespec limit{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    answer = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
  }
  if (answer >= 0 || answer == -EINTR) return false;
  if (answer == -ETIME) return true;
  // The kernel is short of memory for requests, or wants its completions taken first. They are, by
  // the caller; if none comes within a moment, try again rather than spin.
  if (answer == -EAGAIN || answer == -EBUSY || answer == -ENOMEM) {
    if (io_uring_cq_ready(&ring_) == 0) ::poll(nullptr, 0, 1);
    return false;
  }
  if (answer == -EEXIST) misuse("an io_uring driver was used from two threads");
  misuse("io_uring_enter refused a ring that it had set up");
}

void uring_driver::take_completions(operation_queue& completed) noexcept {
  completed.append(std::move(done_));
  unsigned head = 0;
  unsigned taken = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    take_completion(*cqe, completed);
    ++taken;
  }
  io_uring_cq_advance(&ring_, taken);
  if (offload_) in_flight_ -= offload_->collect(completed);
  // Armed again at once, or a later wake() would not show at fd().
  if (!watching_) watch_event();
}

void uring_driver::take_completion(const io_uring_cqe& cqe, operation_queue& completed) noexcept {
  if (cqe.user_data == wake_tag) return take_wake(cqe);
  if (cqe.user_data == LIBURING_UDATA_TIMEOUT) return;
  auto& op = *reinterpret_cast<operation*>(cqe.user_data);
  std::int32_t answer = cqe.res;
  if (op.args.op == opcode::cancel) {
    --cancels_in_flight_;
    // The kernel does not find what a disk is busy with; it is in flight all the same.
    const auto* target = static_cast<const operation*>(op.args.address);
    if (answer == -ENOENT && target != nullptr && target->in_flight()) answer = -EALREADY;
    if (answer > 0 || target == nullptr) answer = 0;
  } else {
    if (try_again(op, answer)) return;
    --in_flight_;
  }
  op.set_answer(answer);
  completed.push_back(op);
}

// None of these is an answer. A signal may interrupt a kernel worker; and some file systems, and
// older kernels for O_NONBLOCK descriptors, say EAGAIN where nobody asked not to wait, which a
// kernel worker then waits out. Asked a second time, EAGAIN is meant. And what nobody has cancelled
// the kernel gives up when it cannot start a worker, as under many signals: our threads carry it
// out.
bool uring_driver::try_again(operation& op, std::int32_t answer) noexcept {
  const bool would_block = answer == -EAGAIN && (op.args.flags & RWF_NOWAIT) == 0;
  const bool asked_twice = (op.args.hints & asked_again) != 0;
  const bool given_up = answer == -ECANCELED && !op.cancel_requested() && !cancelling_all_;
  if (given_up) {
    --in_flight_;
    offload(op);
    return true;
  }
  if (answer != -EINTR && (!would_block || asked_twice)) {
    op.args.hints &= static_cast<std::uint8_t>(~asked_again);
    return false;
  }
  op.args.hints |= asked_again;
  hand_to_kernel(op, IOSQE_ASYNC);
  return true;
}

void uring_driver::take_wake(const io_uring_cqe& cqe) noexcept {
  if (cqe.res == -EINVAL && watch_is_multishot_) {
    watch_is_multishot_ = false;
    watching_ = false;
    return;
  }
  watching_ = (cqe.flags & IORING_CQE_F_MORE) != 0;
  woken_ = true;
  event_.clear();
}

}  // namespace

opened_driver open_uring(const driver_limits& limits, const uring_restrictions& restrictions) {
  auto made = std::make_unique<uring_driver>(limits);
  if (auto opened = made->open(restrictions); !opened) return std::unexpected(opened.error());
  return made;
}

opened_driver open_uring(const driver_limits& limits) { return open_uring(limits, {}); }

}  // namespace weir::detail
