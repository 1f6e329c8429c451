#include "campaign/resources.hpp"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "campaign/heap.hpp"
#include "campaign/trial.hpp"
#include "support/support.hpp"

namespace weir::campaign {
namespace {

std::size_t count_rings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with("anon_inode:[io_uring]") || line.ends_with("/[aio] (deleted)")) ++count;
  }
  return count;
}

}  // namespace

// The heap last: what the others need is given back by then.
resources resources::of_this_process() {
  resources found{};
  found.descriptors = testing::count_descriptors();
  found.threads = testing::count_threads() - testing::count_kernel_workers();
  found.rings = count_rings();
  found.allocations = allocations_alive();
  return found;
}

bool resources::within(const resources& before) const noexcept {
  return descriptors <= before.descriptors && threads <= before.threads &&
         allocations <= before.allocations && rings <= before.rings;
}

void check_for_leaks(trial& now, const resources& before) {
  resources after{};
  if (testing::eventually([&] {
        after = resources::of_this_process();
        return after.within(before);
      })) {
    return;
  }
  const auto compare = [&](std::size_t had, std::size_t has, std::string_view what) {
    if (has > had) now.leaked(has - had, what);
  };
  compare(before.descriptors, after.descriptors, "descriptors");
  compare(before.threads, after.threads, "threads");
  compare(before.allocations, after.allocations, "allocations");
  compare(before.rings, after.rings, "mappings of a queue");
}

}  // namespace weir::campaign
