#pragma once

#include <liburing.h>

#include <expected>

#include "drivers/drivers.hpp"

namespace weir::detail {

/// The two queues that are shared with the kernel, io_uring(7): set up, entered, and closed. What
/// is in them is the driver's. It is created disabled and belongs to the thread that enables it.
class uring_ring {
 public:
  uring_ring() noexcept;
  uring_ring(const uring_ring&) = delete;
  uring_ring& operator=(const uring_ring&) = delete;
  /// The kernel gives up whatever it still holds. In a forked child only the descriptor is closed.
  ~uring_ring();

  /// With room for `entries` submissions and `completions`, which may overflow: then the kernel
  /// keeps what does not fit (IORING_FEAT_NODROP, Linux 5.5) until it is asked for it.
  /// Where `sqpoll_idle_ms` is not 0, a kernel thread fetches submissions, and sleeps after so
  /// long.
  std::expected<void, refusal> open(unsigned entries, unsigned completions, unsigned refused_flags,
                                    unsigned sqpoll_idle_ms) noexcept;

  /// By the thread that submits and waits from now on. At most `workers` kernel threads carry out
  /// what would block.
  void enable(unsigned workers) noexcept;
  bool enabled() const noexcept { return enabled_; }

  /// The errno with which this thread has been forbidden what it did before (a seccomp filter has
  /// come between), or 0. Then the ring is no longer enabled: no call will be of use.
  int refused() const noexcept { return refused_; }

  bool made_in_this_process() const noexcept;

  /// An entry to be filled in; null when the queue is full, until `enter` has emptied it.
  io_uring_sqe* next_entry() noexcept { return io_uring_get_sqe(&ring_); }
  /// Whether there are entries that the kernel, or its thread, has not been told of.
  bool has_entries() const noexcept {
    return has_thread() ? ring_.sq.sqe_tail != *ring_.sq.ktail : io_uring_sq_ready(&ring_) != 0;
  }

  /// One system call: submits all there is, and waits for a completion if it may. True when `until`
  /// has passed.
  bool enter(bool block, deadline until) noexcept;

  /// Work that the kernel has finished but posts only when asked (DEFER_TASKRUN), or could not
  /// post. The flag may outlive the work that it was set for, so it is asked once, not until it
  /// says no.
  bool may_have_work() const noexcept {
    const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  }

  /// Gives every completion to `take`, which must not enter.
  template <class Take>
  void take_completions(Take take) noexcept {
    unsigned head = 0;
    unsigned taken = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      if (cqe->user_data != LIBURING_UDATA_TIMEOUT) take(*cqe);
      ++taken;
    }
    io_uring_cq_advance(&ring_, taken);
  }

  /// Of a ring that is refused: takes back the entries that the kernel has not taken, and gives
  /// `take` the user_data of each.
  template <class Take>
  void take_back_entries(Take take) noexcept {
    io_uring_sq& queue = ring_.sq;
    const unsigned head = __atomic_load_n(queue.khead, __ATOMIC_ACQUIRE);
    for (unsigned at = head; at != queue.sqe_tail; ++at) {
      take(queue.sqes[at & *queue.kring_mask].user_data);
    }
    queue.sqe_head = queue.sqe_tail = *queue.ktail = head;
  }

  /// io_uring_register(2): its answer, or a negative errno. Changes nothing in this process.
  int tell(unsigned what, const void* argument, unsigned count) const noexcept;

  /// Which IORING_OP_* this kernel has: null, or to be freed by io_uring_free_probe.
  io_uring_probe* probe() noexcept { return io_uring_get_probe_ring(&ring_); }

 private:
  bool has_thread() const noexcept { return (ring_.flags & IORING_SETUP_SQPOLL) != 0; }
  int submit_to_thread() noexcept;
  bool is_refusal(int answer) noexcept;

  io_uring ring_{.ring_fd = -1};
  const unsigned fork_generation_;
  bool enabled_ = false;
  int refused_ = 0;
};

}  // namespace weir::detail
