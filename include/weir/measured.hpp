#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/driver.hpp"

namespace weir {

/// How many operations took from `from_ns` to less than `to_ns` nanoseconds.
struct latency_bucket {
  std::uint64_t from_ns;
  std::uint64_t to_ns;
  std::uint64_t count;
};

/// How long operations took. Buckets grow with what they hold, eight to each power of two, so a
/// quantile is too large by an eighth at most; `max_ns` is exact.
struct latency_report {
  std::uint64_t count = 0;  ///< operations that were timed
  std::uint64_t max_ns = 0;
  std::vector<latency_bucket> buckets;  ///< in ascending order, none empty

  /// The least time within which this fraction of the operations, 0 to 1, had completed: the end
  /// of its bucket, in nanoseconds. 0 where none was timed.
  std::uint64_t quantile_ns(double fraction) const noexcept;
};

/// What became of the operations of one opcode.
struct operation_report {
  opcode op = opcode::nop;
  std::uint64_t completed = 0;  ///< with whatever answer
  std::uint64_t failed = 0;     ///< of them, with an error other than ECANCELED
  std::uint64_t cancelled = 0;  ///< of them, with ECANCELED
  std::uint64_t bytes = 0;      ///< moved by them: transfers only
  latency_report latency;
};

/// What went one way: through one driver, by the name that was given to it.
struct route_report {
  std::string name;
  std::uint64_t in_flight = 0;               ///< handed over and not yet reaped, just now
  std::uint64_t most_in_flight = 0;          ///< at any time
  std::vector<operation_report> operations;  ///< of the opcodes that have completed
};

/// A snapshot of `measurements`: plain data.
struct measurement_report {
  std::vector<route_report> routes;

  /// A table for people, a few lines for each route. Ends with a newline.
  std::string text() const;
  /// One JSON object: {"routes": [{"name", "in_flight", "most_in_flight", "operations":
  /// [{"operation", "completed", "failed", "cancelled", "bytes", "latency_ns": {"count", "p50",
  /// "p90", "p99", "p99.9", "max", "buckets": [[from, to, count], …]}}, …]}, …]}. Names are taken
  /// to be UTF-8.
  std::string json() const;
};

/// What measured drivers count into, and anyone reads. It may outlive them, and be shared by the
/// drivers of several contexts.
///
/// Threads: all members may be called from any thread at any time. A driver counts on its own
/// thread with plain stores, so a report taken meanwhile may lack the latest turn, or have only a
/// part of it.
class measurements {
 public:
  measurements();  ///< throws std::bad_alloc
  measurements(const measurements&) = delete;
  measurements& operator=(const measurements&) = delete;
  ~measurements();

  /// Throws std::bad_alloc. In the first millisecond of its life it takes what is left of that.
  measurement_report report() const;

  struct state;

 private:
  friend std::unique_ptr<driver> make_measured(std::unique_ptr<driver> inner,
                                               std::shared_ptr<measurements> into,
                                               std::string_view route, unsigned queue_depth);
  std::unique_ptr<state> state_;
};

/// Wraps a driver and counts what passes: operations, errors, bytes, how many are in flight, and
/// how long each took.
///
/// Latency is what the context sees, to within a turn: from the `submit` that took the operation to
/// the return of the `reap` that gave it back. What an operation waited before, staged because the
/// queue was full, is not part of it. Cancel requests are operations like others.
///
/// `route` names the row that is counted into. Drivers that live at the same time have a row each,
/// also if they share a name; one that comes after another of its name has gone goes on in its row.
///
/// Reads that are answered at once, from memory, have a row of their own, "… at once", in the
/// report from the first on.
///
/// `queue_depth` is what the inner driver was opened with. With more than that many in flight, as
/// many cancel requests aside, operations are still counted, but some are not timed: then
/// `latency.count` is less than `completed`.
///
/// Costs two readings of the clock and a nanosecond or two per operation and turn
/// (docs/performance.md), and no memory per operation. Throws std::bad_alloc. No argument may be
/// null: that aborts. Thread-safe.
std::unique_ptr<driver> make_measured(std::unique_ptr<driver> inner,
                                      std::shared_ptr<measurements> into,
                                      std::string_view route = "driver",
                                      unsigned queue_depth = 256);

}  // namespace weir
