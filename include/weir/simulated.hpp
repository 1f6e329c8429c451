#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weir/driver.hpp"
#include "weir/task.hpp"

/// A disk that lies, on demand and the same way every time: a small file system in memory, reached
/// through the ordinary API by a driver of its own, that loses at a power failure what a real one
/// may lose. Time is virtual; everything that happens is drawn from one seed.
///
///     auto disk = weir::simulated_disk::make({.seed = 7}).value();
///     weir::io_context context(disk.open_driver().value());
///     context.run(save(context, "/state"));
///     disk.power_off();
///     auto after = disk.power_on();  // what was synced, and some of the rest
///
/// docs/simulation.md teaches it, and says for each rule which man page or paper it comes from.
namespace weir {

namespace detail::simulated {
class machine;
}

/// Which model of a disk this is. The same seed gives the same trace as long as this is the same;
/// it is raised where another version of weir draws or answers otherwise.
inline constexpr unsigned simulated_model = 1;

/// What befalls an operation, or what it had changed.
enum class simulated_fault : std::uint8_t {
  lost,         ///< at the power failure: a change that was not synced (or not yet carried out)
  torn,         ///< at the power failure: of a page that was written, some sectors only
  misdirected,  ///< what a write left in a page was put elsewhere when it went to the disk
  bit_rot,      ///< a bit of what is read has changed, and stays so
  bad_sector,   ///< EIO for a sector, from this read on, until it is written anew
  io_error,     ///< EIO for a write, which has had no effect
  sync_failed,  ///< EIO for one fsync, and what it was to sync counts as clean: it never gets there
  short_transfer,  ///< the transfer moves less than asked
  interrupted,     ///< EINTR, without effect
  would_block,     ///< EAGAIN, without effect
  stalled,         ///< it takes `simulated_latency::stall_ns`
};

/// Nothing that says more than this: "lost".
const char* name_of(simulated_fault what) noexcept;

/// How often each befalls what it can befall: probabilities, 0 to 1; all 0 at first. What a power
/// failure takes is `simulated_options::loss`.
struct simulated_faults {
  double misdirected = 0;     ///< each page, as it goes to the disk
  double bit_rot = 0;         ///< read, readv
  double bad_sector = 0;      ///< read, readv
  double io_error = 0;        ///< write, writev, fallocate, ftruncate
  double sync_failed = 0;     ///< fsync, fdatasync, a write with RWF_DSYNC or RWF_SYNC
  double short_transfer = 0;  ///< read, readv, write, writev of more than a byte
  double interrupted = 0;     ///< all but close: not a thing that drivers let out
  double would_block = 0;     ///< read, readv, write, writev: the same
  double stalled = 0;         ///< all
};

/// What a power failure takes of what was not synced.
enum class power_loss : std::uint8_t {
  some,      ///< any part of it, whatever the order in which it was done; pages may be torn
  in_order,  ///< all from some moment on; the page that was being written may be torn
  all,       ///< all
  none,      ///< nothing: as when a process is killed and the system goes on
};

/// What makes a name durable.
enum class name_order : std::uint8_t {
  /// fsync(2) of its directory, as the man page asks for; without, each change of a name may be
  /// lost by itself.
  none,
  /// A journal, as ext4's and XFS's: changes of names are lost from the end only, and any fsync
  /// makes all that came before durable.
  journal,
};

/// How long an operation takes, in virtual time.
struct simulated_latency {
  enum class shape : std::uint8_t {
    constant,     ///< `typical_ns`, always
    exponential,  ///< `typical_ns` on average; many are quicker
    heavy_tail,   ///< half of them within `typical_ns`, one in a thousand a hundred times that
  };
  shape how = shape::exponential;
  std::int64_t typical_ns = 100'000;       ///< of a transfer, and of what changes names
  std::int64_t sync_ns = 1'000'000;        ///< of fsync, instead
  std::int64_t stall_ns = 30'000'000'000;  ///< of what is `stalled`
};

/// One fault, by what it befell: the place of the operation in the order in which the disk took
/// them, from 1 on, and which of its changes, from 0 on: of a write, pages. What is `lost` may also
/// be all of an operation that was in flight (UINT32_MAX), or that the one during which the power
/// failed made anything durable (UINT32_MAX - 1).
struct simulated_fault_at {
  std::uint64_t operation = 0;
  std::uint32_t part = 0;
  simulated_fault what = simulated_fault::lost;

  friend auto operator<=>(const simulated_fault_at&, const simulated_fault_at&) = default;
};

struct simulated_options {
  std::uint64_t seed = 1;
  simulated_faults faults = {};
  power_loss loss = power_loss::some;
  name_order names = name_order::none;
  simulated_latency latency = {};
  /// Of what cannot be written whole at a power failure, and of O_DIRECT: 512 to 4096, a power
  /// of 2.
  std::uint32_t sector_size = 512;
  /// Bytes that files may occupy, in pages of 4096; beyond, ENOSPC, or EDQUOT for `quota`.
  std::uint64_t capacity = UINT64_MAX;
  std::uint64_t quota = UINT64_MAX;
  /// How many bytes may wait to be synced; beyond, the oldest go to the disk by themselves.
  std::uint64_t dirty_limit = std::uint64_t{16} << 20;
  /// How often, per operation, something that waits goes to the disk by itself.
  double writeback = 0.02;
  /// Keep a line of what happened to each operation (about 100 bytes).
  bool trace = true;
  /// Instead of drawing faults: these, and no others. The rates, and what is drawn besides faults
  /// (latencies, the order of completions), are not touched. For a run that is to be repeated with
  /// fewer faults.
  std::optional<std::vector<simulated_fault_at>> replay;
};

/// The disk, and the machine's share in it (page cache, descriptors, clock). Copies share one disk.
///
/// Threads: everything may be called from any; but only where one thread drives all the contexts is
/// the order of events, and so the trace, the same in every run.
class simulated_disk {
 public:
  /// An empty one, powered on, whose only directory is "/". EINVAL where a rate is not within 0 and
  /// 1, or the sector size not as said. Throws std::bad_alloc, as all of these.
  static result<simulated_disk> make(const simulated_options& options = {});

  /// A driver for a context: many on one disk. It knows the disk's own files and nothing else:
  ///  - Paths begin at "/", which is the working directory as well. Descriptors are numbers beyond
  ///    the kernel's; a kernel's descriptor is EBADF, but `poll` awaits it, in the outside world's
  ///    time. A file is closed through its context, so here it must not outlive that.
  ///  - There are files, directories and symbolic links, without permissions. `splice` is EINVAL,
  ///    `clone_range` EOPNOTSUPP, `poll` answers at once, as for any file on a disk.
  ///  - Whatever is in flight is carried out, whole and at one moment, in an order drawn from the
  ///    seed; whoever wants an order waits for completions.
  ///  - Time passes as contexts wait: `reap` goes on to the next event, also when asked not to
  ///    block. It blocks only where nothing is in flight.
  ///  - After `power_off` everything is ENODEV.
  /// EINVAL for a queue depth of 0 or above 16384; the errors of eventfd(2).
  result<std::unique_ptr<driver>> open_driver(unsigned queue_depth = 256) const;

  /// CLOCK_MONOTONIC of that machine: 0 when it was made.
  std::int64_t now_ns() const;
  /// How many operations it has taken: those in flight, too, but not polls, timeouts and cancels.
  std::uint64_t operations() const;

  /// Drives the contexts, which this thread may drive and which are on this disk, until
  /// `condition`; false where it does not hold and nothing is in flight any more.
  bool run_until(std::initializer_list<io_context*> contexts,
                 const std::function<bool()>& condition) const;

  /// The power fails now: what is in flight has happened or not, and completes with ENODEV, as does
  /// whatever is started from now on.
  void power_off();
  /// The same, as soon as so many operations have been carried out, before the last of them is
  /// answered; where that is a sync, or a write with one, it may not have come to it. 0 takes that
  /// back.
  void power_off_after(std::uint64_t operations);
  bool is_on() const;

  /// A new disk with what this one holds after a power failure (`simulated_options::loss`), which
  /// this one is given unless it had one: no descriptors, its clock going on, its faults `faults`.
  /// Damage stays: bad sectors, rotten bits. Called twice, it answers the same twice.
  simulated_disk power_on(const simulated_faults& faults = {});

  /// A copy of the disk as it is, with what waits to be synced, without its descriptors and without
  /// what is in flight. Pages are shared until either changes them.
  simulated_disk snapshot() const;

  /// What happened, a line for each operation and each fault: the same text for the same seed and
  /// the same program, on every machine. Empty unless `simulated_options::trace`.
  std::string trace() const;
  /// 64 bits that tell two traces apart, also where none is kept.
  std::uint64_t trace_digest() const;
  /// The faults so far, as `simulated_options::replay` takes them.
  std::vector<simulated_fault_at> faults_met() const;

 private:
  explicit simulated_disk(std::shared_ptr<detail::simulated::machine> of) noexcept;

  std::shared_ptr<detail::simulated::machine> machine_;
};

// ---- Exploring ----------------------------------------------------------------------------------

/// What a scenario, or a check, is run with. Valid until it has ended.
struct simulation {
  io_context& context;
  simulated_disk& disk;
  std::uint64_t seed;  ///< for choices of the scenario's own
};

/// Seeds from `first` on.
struct seed_range {
  std::uint64_t first = 1;
  std::uint64_t count = 1000;
};

struct explore_options {
  /// The disk each run is given, but for its seed.
  simulated_options disk = {};
  /// 0: for each seed, the power fails at each operation in turn, and when the scenario has ended.
  /// Otherwise at so many of these moments, drawn from the seed.
  unsigned power_failures = 0;
  /// Also run without a power failure, and check that, with all that was not synced kept. Else the
  /// first run of each seed, which tells how many moments there are, is the one in which the power
  /// fails at the end.
  bool also_without = true;
  /// How many threads; 0 is as many as there are processors. The outcome does not depend on it.
  unsigned threads = 0;
  unsigned queue_depth = 256;
};

/// A run that failed its check, as short as could be made.
struct simulated_failure {
  std::uint64_t seed = 0;
  std::uint64_t power_off_after = 0;       ///< operations; 0 for a run without a power failure
  std::uint64_t operations = 0;            ///< of the scenario; fewer: it had ended by then
  std::vector<simulated_fault_at> faults;  ///< without any of these it does not fail
  std::string what;                        ///< what the check said, or what was thrown
  std::string trace;                       ///< up to the power failure, then of the check
};

struct exploration {
  std::uint64_t seeds = 0;
  std::uint64_t runs = 0;
  std::uint64_t operations = 0;
  std::optional<simulated_failure> failure;

  bool survived() const noexcept { return !failure; }
  /// All of it, for people: several lines, the trace last.
  std::string report() const;
};

namespace detail {
struct explored {
  std::function<std::shared_ptr<void>()> make_notes;
  std::function<task<void>(simulation, void*)> scenario;
  std::function<task<std::string>(simulation, const void*)> check;
};
exploration explore(seed_range seeds, const explored& what, const explore_options& options);
}  // namespace detail

/// Runs `scenario` over many seeds and many moments of a power failure, and after each `check` on
/// what is left; stops at the first seed that fails, and looks for the shortest way to make it
/// fail: the earliest power failure, the fewest faults.
///
///  - `scenario(simulation, Notes&)` is a task<void>. It works on an empty disk, and notes what has
///    been acknowledged to it. It must end once operations answer errors, as they do after the
///    power failure, and must do the same in every run with the same seed.
///  - `check(simulation, const Notes&)` is a task<std::string>, run on the disk that has power
///  again,
///    with a new context and without new faults. It says what is wrong, "" where nothing is.
///  - `Notes` is made anew for each run.
///
/// A run fails, too, where either throws, waits for what nobody will bring, or comes to no end:
/// goes on for 100 000 turns of its context without power, or beyond 10 million operations. What
/// such a one has in memory is given up, not freed.
///
/// Runs in several threads at once: what both share beyond their arguments is not to be changed.
/// Throws std::system_error where a disk or its driver cannot be made.
template <class Notes, class Scenario, class Check>
exploration explore(seed_range seeds, Scenario scenario, Check check,
                    const explore_options& options = {}) {
  return detail::explore(
      seeds,
      {.make_notes = [] { return std::make_shared<Notes>(); },
       .scenario = [&scenario](simulation with,
                               void* notes) { return scenario(with, *static_cast<Notes*>(notes)); },
       .check = [&check](
                    simulation with,
                    const void* notes) { return check(with, *static_cast<const Notes*>(notes)); }},
      options);
}

}  // namespace weir
