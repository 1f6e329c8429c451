#pragma once

#include <cstddef>
#include <memory>

#include "weir/driver.hpp"

namespace weir {

/// The bounds of a merging driver, each exact.
struct merging_options {
  /// The most operations taken and not given back, 1 to 16384: the parts of merged transfers are
  /// counted, not the transfers. What the driver below has no room for waits here.
  unsigned queue_depth = 256;
  /// The most bytes that one merged transfer moves, 1 to `transfer_max`. An operation of as many
  /// passes alone.
  std::size_t max_bytes = std::size_t{1} << 20;
  /// The most operations merged into one transfer, 1 (nothing is merged) to 1024 (IOV_MAX).
  unsigned max_segments = 64;
};

/// Wraps `inner` in a driver that merges adjacent transfers: what it is given at once is searched
/// for `read` operations, and likewise `write` operations, on the same descriptor with the same
/// flags, hints and priority, each of which begins where another ends, in whatever order they were
/// started. Each run of such becomes one readv(2) or writev(2) that moves the bytes from and to the
/// parts' own memory. Nothing is held back to wait for a neighbour: how much is merged depends on
/// how much is in flight at once.
///
///     io_context context(make_merging(open_driver({.queue_depth = 1024}).value(),
///                                     {.queue_depth = 1024}).value());
///
/// or `open_driver({.name = "merging:"})`, which wraps the default.
///
/// Every part is answered as it would have been alone. What was moved is counted from the first
/// part on: whole parts, and one that may be short. Parts that nothing was moved of, because the
/// merged transfer ended early, failed or was cancelled for another's sake, are carried out again
/// one by one; so 0 always means the end of the file, and a bad part has no effect on the others.
/// A cancel of one part withdraws the merged transfer if that has not begun: the other parts go on
/// alone.
///
/// Merged are transfers where an offset is a place: on regular files and block devices, appending
/// writes excepted (O_APPEND, RWF_APPEND), and atomic ones (RWF_ATOMIC), whose bounds matter; past
/// the page cache, only parts that are aligned each by itself. Everything else passes unchanged:
/// pipes and sockets, whose transfers have bounds of their own, readv and writev, empty transfers,
/// parts that overlap.
///
/// The memory is allocated here, and none later: for each of `queue_depth`, about 200 bytes and 8
/// for each of `max_segments`. EINVAL where `inner` is null or a bound is not within its range,
/// ENOMEM. Thread-safe.
result<std::unique_ptr<driver>> make_merging(std::unique_ptr<driver> inner,
                                             const merging_options& options = {});

}  // namespace weir
