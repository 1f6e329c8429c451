// Whether a kernel worker had better carry a buffered read out (IOSQE_ASYNC) than the thread that
// submits it, by size and by how many are in flight: where another core is free, and where none is.

#include <string>

#include "peers/peers.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

void compare_all(program& run, const scratch_file& file, const std::string& cores) {
  for (const std::size_t block : {64 * kib, 256 * kib, mib}) {
    for (const unsigned depth : {2u, 4u, 16u}) {
      const workload work{
          .files = {file.buffered()}, .block = block, .span = file.size(), .depth = depth};
      const conditions under{.regime = size_name(block) + " reads, page cache, " +
                                       std::to_string(depth) + " in flight, " + cores,
                             .shown = megabytes(block)};
      run.compare(under, raw_ring(tuning::by_workers, work, timed_by::wall),
                  raw_ring(tuning::plain, work, timed_by::wall));
    }
  }
}

int body(int argc, char** argv) {
  program run(argc, argv, "offload", "Which reads had better be carried out by a kernel worker?");
  const scratch_file file(64 * mib);
  compare_all(run, file, "all cores");
  stay_on_one_core();
  compare_all(run, file, "one core");
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
