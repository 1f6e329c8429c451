// One read at a time that the page cache answers, `co_await` in a loop: what an asynchronous
// library costs a program that has nothing else to do meanwhile.

#include <string>

#include "peers/peers.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

void compare_all(program& run, const scratch_file& file, std::size_t block) {
  const workload work{.files = {file.buffered()},
                      .block = block,
                      .span = block == 4 * kib ? mib : 16 * mib,
                      .depth = 1};
  const conditions under{
      .regime = size_name(block) + " reads, one at a time, one core, processor time",
      .shown = nanoseconds()};
  const contestant ours = weir_on({.name = "uring"}, work, timed_by::process);
  run.compare(under, ours, calls(call::pread, work, timed_by::process));
  run.compare(under, ours, calls(call::preadv2_nowait, work, timed_by::process));
  run.compare(under, ours, raw_ring(tuning::tuned, work, timed_by::process));
  run.compare(under, ours, raw_ring(tuning::plain, work, timed_by::process));
  contestant itself = weir_on({.name = "uring"}, work, timed_by::process);
  itself.name = "another of the same: noise";
  run.compare(under, ours, itself);
  run.compare(under, ours, asio_files(work, timed_by::process));
  for (const char* driver : {"linux_aio", "threads", "sync"}) {
    run.compare(under, weir_on({.name = driver}, work, timed_by::process),
                calls(call::pread, work, timed_by::process));
  }
}

int body(int argc, char** argv) {
  program run(argc, argv, "single",
              "What does one read at a time cost beside a plain pread, if the page cache has it?");
  const scratch_file file(16 * mib);
  stay_on_one_core();
  compare_all(run, file, 4 * kib);
  compare_all(run, file, 128 * kib);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
