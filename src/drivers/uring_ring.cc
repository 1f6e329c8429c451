#include "drivers/uring_ring.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "clock.hpp"
#include "fork_guard.hpp"
#include "misuse.hpp"

namespace weir::detail {
namespace {

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
// The kernel's thread posts completions by itself, so there is nothing to be deferred.
constexpr std::array<unsigned, 2> sqpoll_ladder = {
    every_rung | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SQPOLL,
    every_rung | IORING_SETUP_SQPOLL,
};

int set_up(io_uring& ring, unsigned entries, unsigned completions, unsigned refused,
           unsigned sqpoll_idle_ms) noexcept {
  const std::span<const unsigned> ladder =
      sqpoll_idle_ms != 0 ? std::span<const unsigned>(sqpoll_ladder) : setup_ladder;
  int error = -EINVAL;
  for (const unsigned flags : ladder) {
    if ((flags & refused) != 0) continue;
    io_uring_params params{};
    params.flags = flags;
    params.sq_thread_idle = sqpoll_idle_ms;
    params.cq_entries = completions;
    error = io_uring_queue_init_params(entries, &ring, &params);
    if (error == 0) return 0;
    ring.ring_fd = -1;
    if (error != -EINVAL) break;  // only an unknown flag makes a lower rung worth a try
  }
  return error;
}

}  // namespace

uring_ring::uring_ring() noexcept : fork_generation_(fork_generation()) {}

uring_ring::~uring_ring() {
  if (ring_.ring_fd < 0) return;
  if (made_in_this_process()) {
    io_uring_queue_exit(&ring_);
  } else {
    ::close(ring_.ring_fd);  // the queues' memory is not mapped in the child
  }
}

bool uring_ring::made_in_this_process() const noexcept {
  return fork_generation_ == fork_generation();
}

std::expected<void, refusal> uring_ring::open(unsigned entries, unsigned completions,
                                              unsigned refused_flags,
                                              unsigned sqpoll_idle_ms) noexcept {
  if (const int error = set_up(ring_, entries, completions, refused_flags, sqpoll_idle_ms);
      error < 0) {
    return std::unexpected(refusal{"io_uring_setup", -error});
  }
  // Otherwise a child's copy-on-write could take pages from under the parent's ring.
  if (const int error = io_uring_ring_dontfork(&ring_); error < 0) {
    return std::unexpected(refusal{"madvise", -error});
  }
  return {};
}

void uring_ring::enable(unsigned workers) noexcept {
  enabled_ = true;
  if (const int answer = tell(IORING_REGISTER_ENABLE_RINGS, nullptr, 0); answer < 0) {
    if (is_refusal(answer)) return;
    misuse("an io_uring driver could not be enabled");
  }
  // Buffered reads that miss go to kernel threads; without a cap thousands of reads make thousands
  // of them. Kernels before 5.15 cannot be told, which costs threads, not correctness.
  const std::array<unsigned, 2> most = {workers, workers};
  static_cast<void>(tell(IORING_REGISTER_IOWQ_MAX_WORKERS, most.data(), most.size()));
}

// What a filter of system calls answers, and the kernel does not.
bool uring_ring::is_refusal(int answer) noexcept {
  if (answer != -EPERM && answer != -EACCES && answer != -ENOSYS) return false;
  if (has_thread()) return false;  // that one may go on, and take what would be given back
  refused_ = -answer;
  enabled_ = false;
  return true;
}

// A system call only where the thread sleeps, or has not made room yet.
int uring_ring::submit_to_thread() noexcept {
  const int submitted = io_uring_submit(&ring_);
  return submitted < 0 ? submitted : io_uring_sqring_wait(&ring_);
}

bool uring_ring::enter(bool block, deadline until) noexcept {
  int answer = 0;
  if (!block && has_thread() && !may_have_work()) {
    answer = submit_to_thread();
  } else if (!block) {
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
  if (is_refusal(answer)) return false;
  if (answer == -EEXIST) misuse("an io_uring driver was used from two threads");
  misuse("io_uring_enter refused a ring that it had set up");
}

// By hand: liburing 2.3's shared library forgets to export io_uring_enable_rings, and its functions
// want a ring that is mutable.
int uring_ring::tell(unsigned what, const void* argument, unsigned count) const noexcept {
  const long answer = ::syscall(SYS_io_uring_register, ring_.ring_fd, what, argument, count);
  return answer < 0 ? -errno : static_cast<int>(answer);
}

}  // namespace weir::detail
