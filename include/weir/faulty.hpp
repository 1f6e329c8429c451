#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "weir/driver.hpp"

namespace weir {

/// What a faulty driver does to an operation.
enum class fault : std::uint8_t {
  decided,           ///< `faulty_options::decide` gave the answer
  interrupted,       ///< EINTR
  would_block,       ///< EAGAIN
  io_error,          ///< EIO
  no_space,          ///< ENOSPC
  short_transfer,    ///< the transfer is asked to move less
  delay,             ///< it is held back while later ones go ahead
  reorder,           ///< it is given back before others that finished earlier
  partial_submit,    ///< it is the first that `submit` leaves staged although there is room
  early_completion,  ///< it finishes inside `submit`
};

/// Which faults, and how often. A rate is the probability, 0 to 1, that the fault befalls an
/// operation (or a call) that it can befall; all are 0 at first.
///
/// Faults are drawn by seed: operations are numbered as the driver takes them, cancel requests not
/// counted, and what befalls number n depends on the seed, n and the rates alone. So the same
/// operations in the same order meet the same faults on any inner driver. `reorder` goes by the
/// order in which the inner driver finishes, and `partial_submit` and `early_completion` by that of
/// the calls, which repeat only where those do.
struct faulty_options {
  std::uint64_t seed = 1;
  /// What the inner driver was opened with: operations held back count against it. 1 to 16384.
  unsigned queue_depth = 256;

  // Lawful: every driver may do this to every user.

  /// read, write: the transfer is given less than its length, at least one byte, ending at a
  /// multiple of what O_DIRECT may need: of the largest power of two up to 4096 that divides offset
  /// and length. readv, writev: it is given fewer of its elements, but some byte. Nothing where no
  /// shorter transfer of that kind exists, or where it must not be torn (RWF_ATOMIC). A short read
  /// drops the rest of a packet on a descriptor that keeps packets apart.
  double short_transfer = 0;
  /// read, readv, write, writev, fsync, fdatasync: EIO. A read has had no effect.
  double io_error = 0;
  /// How many of the writes that fail with EIO have written a part first, such as `short_transfer`
  /// would have left of them; the others have had no effect.
  double torn_write = 0.5;
  /// write, writev, fallocate: ENOSPC, without effect.
  double no_space = 0;
  /// All: held back for 1 to `delay_reaps` calls of `reap`, or until it would have to wait. Can be
  /// cancelled meanwhile; then nothing has happened.
  double delay = 0;
  unsigned delay_reaps = 2;  ///< 1 to 15
  /// All: overtakes what is given back by the same `reap`.
  double reorder = 0;
  /// Each `submit`: takes less than there is room for, maybe nothing. `reap` then returns at once,
  /// and fd() is readable; the next `submit` takes all it can.
  double partial_submit = 0;
  /// Each `submit`: what can finish at once does, and is given back by the next `reap`.
  double early_completion = 0;

  // Unlawful: no driver lets these out. To see that the layers above come to no harm.

  /// All but nop and close: EINTR, without effect.
  double interrupted = 0;
  /// read, readv, write, writev: EAGAIN, without effect, whether or not they asked not to wait.
  double would_block = 0;

  /// Asked first, about each operation but cancel requests: an answer, with which the operation
  /// completes without effect, or nothing, whereupon the rates decide. On the driver's thread, in
  /// `submit`; must not throw. To let exactly the third fsync fail, count them here.
  std::function<std::optional<std::int32_t>(const request&)> decide;
  /// Told of each fault, and what it befell as it was asked for. Called as `decide`, and in `reap`.
  std::function<void(fault, const request&)> observe;
};

/// All that is lawful: timing, short transfers, EIO and ENOSPC, each now and then.
faulty_options lawful_faults(std::uint64_t seed);

/// What only the order and the time of events tell: delay, reorder, partial submits and early
/// completions, often. Answers are the inner driver's.
faulty_options faults_of_timing(std::uint64_t seed);

/// Wraps a driver in faults, for tests of what is above it. What is not hit passes through.
///
/// An operation that the inner driver answers with an error keeps it, also where a fault would have
/// given another. Its `args` are changed while it is in flight, and as they were when it completes.
/// No memory is allocated per operation.
///
/// EINVAL: there is no inner driver, a rate is not within 0 and 1, or `queue_depth` or
/// `delay_reaps` is out of range. Throws std::bad_alloc. Thread-safe.
result<std::unique_ptr<driver>> make_faulty(std::unique_ptr<driver> inner,
                                            const faulty_options& options);

}  // namespace weir
