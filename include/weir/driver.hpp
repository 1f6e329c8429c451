#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weir/operation.hpp"
#include "weir/result.hpp"

namespace weir {

/// A point in CLOCK_MONOTONIC (std::chrono::steady_clock) time, in nanoseconds. A plain number, so
/// that drivers need no <chrono>.
struct deadline {
  std::int64_t monotonic_ns;

  /// Has always passed: do not block.
  static constexpr deadline now() noexcept { return {INT64_MIN}; }
  /// Never passes.
  static constexpr deadline never() noexcept { return {INT64_MAX}; }

  friend bool operator==(deadline, deadline) = default;
};

/// What came of trying an operation at once.
enum class at_once : std::uint8_t {
  done,        ///< it has its answer
  would_wait,  ///< nothing has happened
  never,       ///< nothing has happened, and it is no use to try again on that descriptor
};

/// Moves queues of operations into the kernel and out again.
///
/// A driver belongs to one thread: the first that calls `submit` or `reap`. Only `wake` may be
/// called from others. `submit` is always followed by `reap` before the thread waits for anything
/// else: a driver may keep what it took until then, so that one system call does both.
///
/// It is destroyed when nothing it took is outstanding; otherwise its destructor blocks until the
/// kernel has let go of the operations' memory, and their completions are lost. For polls and
/// timeouts it does not wait: nobody holds memory of theirs.
class driver {
 public:
  driver() = default;
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;
  virtual ~driver() = default;

  /// Takes operations from the front of `staged`, in order, and leaves there what does not fit
  /// yet: at most the queue depth is in flight, besides cancel requests, polls and timeouts. Those
  /// always fit, except behind something that does not. Cannot fail: an operation that the kernel
  /// refuses is completed with the kernel's reason.
  virtual void submit(operation_queue& staged) noexcept = 0;

  /// Appends every finished operation to `completed`. Blocks until there is one, or `wake` is
  /// called, or `until` has passed. Interrupted system calls are resumed (EINTR).
  virtual void reap(operation_queue& completed, deadline until) noexcept = 0;

  /// Whether the context may read what is in the page cache by itself and at once (preadv2(2) with
  /// RWF_NOWAIT, Linux 4.14), past this driver: then its descriptors are the kernel's, and it does
  /// not count, limit or change what passes. Asked once, when the context is made.
  virtual bool context_may_read() const noexcept { return false; }

  /// Where it may not: tries to carry out `op`, a plain read that nobody has started, without
  /// waiting and without the queue.
  virtual at_once try_at_once([[maybe_unused]] operation& op) noexcept { return at_once::never; }

  /// CLOCK_MONOTONIC, which timeouts go by, or the time of a simulated disk. Any thread.
  virtual std::int64_t now_ns() const noexcept;

  /// Carries `what` out on the calling thread, blocking, past the queue and all that is in flight:
  /// a close for which nothing can be waited. Answers as the operation would. Any thread.
  virtual std::int32_t perform_now(const request& what) noexcept;

  /// What a new name is made of: getrandom(2), or what a simulated disk draws from its seed.
  /// Errors: those of getrandom(2). Any thread.
  virtual result<std::uint64_t> random_bits() noexcept;

  /// Makes a blocked `reap` return, or the next one if none is blocked. Any thread.
  virtual void wake() noexcept = 0;

  /// Becomes readable (poll(2), epoll(7)) when `reap` has something to do, and stops being so when
  /// it has done it. The driver's own: not to be read, written or closed.
  virtual int fd() const noexcept = 0;
};

/// What `open_driver` is asked for.
struct driver_options {
  /// "" for the best that is available, or the name of one: "uring", "linux_aio", "threads",
  /// "sync", or "daemon:NAME", a daemon that carries it out (`weir serve`, docs/daemon.md), or
  /// "simulated", "simulated:SEED", a new empty disk in memory (<weir/simulated.hpp>). Before
  /// it may stand, outermost first, what it is to be wrapped in: "merging:uring"
  /// (<weir/merging.hpp>), or "merging:" for the best in that; 8 times at most. Where the driver's
  /// own name is missing, the environment variable WEIR_DRIVER stands for it.
  std::string_view name;
  /// The most operations in flight, 1 to 16384; any number may be started.
  unsigned queue_depth = 256;
  /// The most threads that carry out what the kernel cannot do asynchronously: the threads driver's
  /// pool, Linux AIO's helpers, io_uring's kernel workers (io-wq). 0 chooses 16. They start as work
  /// queues up, and end when idle.
  unsigned threads = 0;
  /// io_uring only; the others take no notice. Not 0: a kernel thread fetches what is submitted
  /// (IORING_SETUP_SQPOLL), and while there is always something no system call is needed for it; it
  /// sleeps after so many milliseconds without. It takes a processor for itself: where there are
  /// few, this is slower (docs/performance.md). Linux 5.13 without privileges.
  unsigned sqpoll_idle_ms = 0;
  /// io_uring only: the ring takes no other operations than weir's, and nothing else can be
  /// registered with it (IORING_REGISTER_RESTRICTIONS); for who has a filter of system calls, which
  /// does not see what a ring does.
  bool restricted = false;
};

/// What came of trying one driver.
struct driver_report {
  std::string_view name;  ///< static storage; empty for what was asked for and does not exist
  bool available = false;
  std::error_code error;  ///< why not, as the system said it
  std::string reason;     ///< why not, as a sentence: what was tried and what the system answered
  std::string advice;     ///< what a person can do about it
};

/// Opens a driver. With a name: that one or its error, `errc::no_driver` for an unknown name. With
/// none: the first of uring, linux_aio, threads that is available. Only "not available here"
/// (ENOSYS, EPERM, a kernel too old, a used-up fs.aio-max-nr) moves on to the next; a lack of
/// memory or descriptors (ENOMEM, EMFILE, ENFILE) is returned, never hidden. It is then wrapped as
/// asked, in drivers of the same queue depth.
/// A queue depth of 0 or above 16384 is EINVAL. Thread-safe.
result<std::unique_ptr<driver>> open_driver(const driver_options& options = {});

/// The same, and appends to `tried` a report for each driver tried, the one opened last; for a
/// driver that wraps another only where that fails.
result<std::unique_ptr<driver>> open_driver(const driver_options& options,
                                            std::vector<driver_report>& tried);

/// Tries every driver once, in the default order, and says what came of it. Thread-safe.
std::vector<driver_report> probe_drivers();

}  // namespace weir
