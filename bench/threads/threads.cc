// What a pool of threads takes for reads that wait for the disk: weir's beside libuv's, of the same
// size, on all cores and on one. What is resident weir reads at once, on whatever driver: that is
// in bench/warm.

#include <string>

#include "peers/peers.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

void compare_pools(program& run, const scratch_file& file, const std::string& cores) {
  for (const unsigned depth : {4u, 32u}) {
    const workload work{.files = {file.direct()}, .span = file.size(), .depth = depth};
    for (const unsigned pool : {4u, 16u}) {
      const conditions under{.regime = "4 KiB O_DIRECT reads, " + std::to_string(depth) +
                                       " in flight, " + std::to_string(pool) + " threads, " + cores,
                             .shown = rate()};
      run.compare(under, weir_on({.name = "threads", .threads = pool}, work, timed_by::wall),
                  libuv(pool, work, timed_by::wall));
    }
  }
}

int body(int argc, char** argv) {
  program run(argc, argv, "threads", "What does handing reads to a pool of threads cost?");
  const scratch_file file(run.unless_quick(256 * mib, 16 * mib));
  if (file.direct() < 0) {
    run.remark("The file system of " + scratch_directory() + " has no O_DIRECT: nothing measured.");
    return run.finish();
  }
  compare_pools(run, file, "all cores");
  stay_on_one_core();
  compare_pools(run, file, "one core");
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
