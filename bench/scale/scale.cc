// Whether many operations outstanding cost more than few: time and memory for each of 1 to 1 000
// 000 on one context; and whether many contexts do as much more work.

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <fstream>
#include <latch>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "peers/peers.hpp"
#include "peers/raw_nops.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

constexpr unsigned queue_depth = 256;

/// A context, and so many equal operations, all started before the first completes.
class crowd {
 public:
  crowd(std::size_t count, const weir::request& each)
      : context_(weir::open_driver({.name = "uring", .queue_depth = queue_depth}).value()) {
    for (std::size_t i = 0; i < count; ++i) all_.emplace_back(each);
    run_once();  // what is set up once is not what is asked
  }

  void operator()(std::uint64_t operations) {
    for (std::uint64_t done = 0; done < operations; done += all_.size()) run_once();
  }

  void start_all() {
    for (member& each : all_) context_.start(each);
  }
  void hand_over() { context_.flush(); }
  void finish() { context_.run(); }

 private:
  struct member : weir::operation {
    explicit member(const weir::request& what) noexcept
        : operation(what, [](weir::operation& done) noexcept { check(done); }) {}
    static void check(const weir::operation& done) noexcept {
      if (done.answer() != static_cast<std::int32_t>(done.args.length)) std::abort();
    }
  };

  void run_once() {
    start_all();
    finish();
  }

  weir::io_context context_;
  std::deque<member> all_;
};

struct memory {
  double heap;
  double resident;
};

/// Exactly: what /proc/self/statm says may be some pages old.
double resident_bytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    double kilobytes = 0;
    if (word == "Rss:" && rollup >> kilobytes) return kilobytes * 1024;
  }
  fail("/proc/self/smaps_rollup", ENODATA);
}

memory memory_now() {
  const double resident = resident_bytes();
  const auto heap = ::mallinfo2();
  return {.heap = static_cast<double>(heap.uordblks + heap.hblkhd), .resident = resident};
}

/// "2 contexts"
std::string counted(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string outstanding(std::size_t count) { return weir::report::grouped(count) + " outstanding"; }

/// As many as make up a slice, in whole crowds.
std::uint64_t slice_of(const program& run, std::size_t count) {
  const std::uint64_t wanted = run.unless_quick<std::uint64_t>(1'000'000, 2'000);
  return std::max<std::uint64_t>(wanted / count, 1) * count;
}

contestant contestant_of(std::string name, std::size_t count, const weir::request& each) {
  auto all = std::make_shared<crowd>(count, each);
  return in_process(std::move(name), timed_by::process,
                    [all](std::uint64_t operations) { (*all)(operations); });
}

contestant by_hand(std::size_t count) {
  auto ring = std::make_shared<nop_ring>(queue_depth);
  const unsigned batch = static_cast<unsigned>(std::min<std::size_t>(count, queue_depth));
  return in_process("by hand, " + std::to_string(batch) + " to a call", timed_by::process,
                    [ring, batch](std::uint64_t operations) { ring->run(operations, batch); });
}

std::vector<std::size_t> counts(const program& run) {
  std::vector<std::size_t> all;
  const std::size_t most = run.unless_quick<std::size_t>(1'000'000, 10'000);
  for (std::size_t count = 1; count <= most; count *= 10) all.push_back(count);
  return all;
}

void compare_no_ops(program& run) {
  for (const std::size_t count : counts(run)) {
    run.compare(
        {.regime = "no-ops on one context, processor time", .operations = slice_of(run, count)},
        contestant_of("weir uring, " + outstanding(count), count, {}), by_hand(count));
  }
}

void compare_reads(program& run, const scratch_file& file) {
  std::vector<std::byte> into(4 * kib);
  const weir::request each{.op = weir::opcode::read,
                           .fd = file.buffered(),
                           .address = into.data(),
                           .offset = 0,
                           .length = into.size()};
  for (const std::size_t count : counts(run)) {
    run.compare(
        {.regime = "4 KiB warm reads on one context, processor time",
         .operations = std::max<std::uint64_t>(slice_of(run, count) / 4 / count, 1) * count},
        contestant_of("weir uring, " + outstanding(count), count, each),
        contestant_of("the same, " + outstanding(32), 32, each));
  }
}

void record_bytes(program& run, const std::string& regime, const std::string& what,
                  const memory& before, const memory& after, double operations) {
  const auto record = [&](const std::string& kind, double bytes) {
    run.record({.regime = regime,
                .ours = what + ", " + kind,
                .unit = operations > 1 ? "bytes an operation" : "bytes",
                .our_median = bytes / operations});
  };
  record("heap", after.heap - before.heap);
  record("resident", after.resident - before.resident);
}

/// What is there while all are outstanding, and was not before they were started.
void record_memory(program& run) {
  (void)memory_now();  // what asking takes is allocated now
  const memory at_first = memory_now();
  {
    const crowd alone(1, {});
    record_bytes(run,
                 "memory of a context and its driver, queue depth " + std::to_string(queue_depth),
                 "weir uring", at_first, memory_now(), 1);
  }
  for (const std::size_t count : counts(run)) {
    if (count < 1'000) continue;  // less than a page each is not to be told from chance
    crowd all(count, {});
    const memory before = memory_now();
    all.start_all();
    all.hand_over();
    const memory during = memory_now();
    all.finish();
    record_bytes(run, "memory beyond the operations themselves", outstanding(count), before, during,
                 static_cast<double>(count));
  }
}

/// Contexts on threads of their own, each with coroutines that read a warm file.
class contexts {
 public:
  contexts(unsigned count, const workload& work) : pool_(count), work_(work) {
    for (unsigned i = 0; i < count; ++i) {
      files_.emplace_back(pool_[i], checked("dup", ::dup(work.files.front())));
    }
  }

  void operator()(std::uint64_t operations) {
    const auto coroutines = static_cast<std::ptrdiff_t>(pool_.size() * work_.depth);
    std::latch over(coroutines);
    const std::uint64_t each = operations / static_cast<std::uint64_t>(coroutines);
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      for (unsigned n = 0; n < work_.depth; ++n) {
        weir::spawn(pool_[i], read(files_[i], each, i * work_.depth + n, over));
      }
    }
    over.wait();
  }

 private:
  weir::task<void> read(weir::file& from, std::uint64_t count, std::uint64_t seed,
                        std::latch& over) {
    places where(work_, seed);
    weir::buffer into(work_.block);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto moved = co_await from.read_at(into.span(), where.next().offset);
      if (moved != work_.block) fail("a read", EIO);
    }
    over.count_down();
  }

  weir::io_pool pool_;
  workload work_;
  std::vector<weir::file> files_;
};

contestant contexts_of(unsigned count, const workload& work) {
  auto all = std::make_shared<contexts>(count, work);
  return in_process("weir uring, " + counted(count, "context"), timed_by::wall,
                    [all](std::uint64_t operations) { (*all)(operations); });
}

void compare_contexts(program& run, const scratch_file& file) {
  const workload work{.files = {file.buffered()}, .span = mib};
  const conditions under{.regime = "4 KiB warm reads, 32 coroutines on each context, wall time",
                         .shown = rate(),
                         .operations = run.unless_quick(512'000u, 12'800u)};
  for (const unsigned count : {1u, 2u, 4u}) {
    workload threads_work = work;
    threads_work.depth = count;
    run.compare(under, contexts_of(count, work), threads(threads_work, timed_by::wall));
    if (count > 1) run.compare(under, contexts_of(count, work), contexts_of(1, work));
  }
}

int body(int argc, char** argv) {
  program run(argc, argv, "scale", "Does an operation cost more where there are many?");
  const scratch_file file(mib);
  record_memory(run);
  compare_no_ops(run);
  compare_reads(run, file);
  compare_contexts(run, file);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
