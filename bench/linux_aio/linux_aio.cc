// What weir adds to Linux AIO: 4 KiB O_DIRECT reads by coroutines on the linux_aio driver beside
// the same through libaio as one would write it by hand, as many to a call as have finished.

#include <string>

#include "peers/peers.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

void compare_at(program& run, const scratch_file& file, unsigned depth, timed_by clock) {
  const workload work{.files = {file.direct()}, .span = file.size(), .depth = depth};
  const conditions under{.regime = "4 KiB random reads, O_DIRECT, " + std::to_string(depth) +
                                   " in flight" +
                                   (clock == timed_by::wall ? "" : ", processor time")};
  const contestant ours = weir_on({.name = "linux_aio"}, work, clock);
  const contestant by_hand = raw_aio(work, clock);
  run.compare(under, ours, by_hand);
  if (!by_hand.absent.empty()) return;
  contestant again = raw_aio(work, clock);
  again.name += " again: noise";
  run.compare(under, again, by_hand);
}

int body(int argc, char** argv) {
  program run(argc, argv, "linux_aio", "What does weir add to Linux AIO?");
  const scratch_file file(64 * mib);
  if (file.direct() < 0) {
    run.remark("The file system of " + scratch_directory() + " has no O_DIRECT: nothing measured.");
    return run.finish();
  }
  for (const unsigned depth : {1u, 32u, 128u}) {
    compare_at(run, file, depth, timed_by::wall);
    compare_at(run, file, depth, timed_by::process);
  }
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
