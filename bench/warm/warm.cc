// What a read costs that the page cache answers: where no disk hides what software takes. Random
// reads within a small part of one file, 32 in flight, on one core; and, for what has threads, on
// all.

#include <string>

#include "peers/peers.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

workload reads_of(const scratch_file& file, std::size_t block) {
  const std::size_t span = block == 4 * kib ? mib : 16 * mib;
  return {.files = {file.buffered()}, .block = block, .span = span};
}

conditions on_cores(const workload& work, const std::string& cores) {
  return {.regime = size_name(work.block) + " reads, 32 in flight, " + cores,
          .shown = work.block == 4 * kib ? nanoseconds() : megabytes(work.block)};
}

void compare_rings(program& run, const conditions& under, const workload& work) {
  const contestant ours = weir_on({.name = "uring"}, work, timed_by::process);
  run.compare(under, ours, raw_ring(tuning::tuned, work, timed_by::process));
  run.compare(under, ours, raw_ring(tuning::plain, work, timed_by::process));
  run.compare(under, ours, calls(call::pread, work, timed_by::process));
}

void compare_on_one_core(program& run, const scratch_file& file) {
  const workload work = reads_of(file, 4 * kib);
  const conditions under = on_cores(work, "one core, processor time");
  compare_rings(run, under, work);
  const contestant ours = weir_on({.name = "uring"}, work, timed_by::process);
  contestant itself = weir_on({.name = "uring"}, work, timed_by::process);
  itself.name = "another of the same: noise";
  run.compare(under, ours, itself);
  run.compare(under, ours, asio_files(work, timed_by::process));
  run.compare(under, ours, posix_aio(work, timed_by::process));
  for (const unsigned pool : {4u, 16u}) {
    run.compare(under, ours, libuv(pool, work, timed_by::process));
  }
  run.compare(under, weir_on({.name = "linux_aio"}, work, timed_by::process),
              raw_aio(work, timed_by::process));
}

void compare_on_all_cores(program& run, const scratch_file& file) {
  const workload work = reads_of(file, 4 * kib);
  const conditions under = on_cores(work, "all cores, wall time");
  for (const unsigned pool : {4u, 16u}) {
    const contestant peer = libuv(pool, work, timed_by::wall);
    run.compare(under, weir_on({.name = "uring"}, work, timed_by::wall), peer);
    run.compare(under, weir_on({.name = "threads", .threads = pool}, work, timed_by::wall), peer);
  }
}

/// What copies much may do so on several cores.
void compare_large_on_all_cores(program& run, const scratch_file& file) {
  for (const std::size_t block : {128 * kib, mib}) {
    const workload work = reads_of(file, block);
    const conditions under = on_cores(work, "all cores, wall time");
    const contestant ours = weir_on({.name = "uring"}, work, timed_by::wall);
    run.compare(under, ours, raw_ring(tuning::tuned, work, timed_by::wall));
    run.compare(under, ours, calls(call::pread, work, timed_by::wall));
    run.compare(under, ours, libuv(4, work, timed_by::wall));
  }
}

void compare_large(program& run, const scratch_file& file) {
  for (const std::size_t block : {64 * kib, 128 * kib, mib}) {
    const workload work = reads_of(file, block);
    compare_rings(run, on_cores(work, "one core, processor time"), work);
  }
}

int body(int argc, char** argv) {
  program run(argc, argv, "warm", "What does a read cost that the page cache answers?");
  const scratch_file file(16 * mib);
  compare_on_all_cores(run, file);
  compare_large_on_all_cores(run, file);
  stay_on_one_core();
  compare_on_one_core(run, file);
  compare_large(run, file);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
