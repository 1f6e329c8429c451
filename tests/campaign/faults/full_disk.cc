// Disks that are full, then no longer.

#include <array>
#include <cerrno>
#include <optional>

#include "campaign/disk.hpp"
#include "campaign/faults/faults.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

constexpr std::array errors = {ENOSPC};

// One file in the page cache and one past it, of which a part fits.
void fill_and_empty(trial& now, const std::string& directory) {
  const auto context = now.open_context();
  workload buffered(now, *context, {.path = directory + "/file"});
  workload direct(now, *context, {.path = directory + "/direct", .direct = true});
  const auto run_both = [&](std::size_t operations) {
    buffered.begin(operations);
    direct.begin(operations);
    testing::drive_until(*context, [&] { return buffered.is_done() && direct.is_done(); });
  };
  run_both(now.operations(100));
  {
    const filler full(directory);
    now.fault_begins();
    run_both(now.operations(1'000));
  }
  now.expect_felt(ENOSPC);
  now.fault_lifted();
  run_both(now.operations(300));
  buffered.verify();
  direct.verify();
}

void strike_tmpfs(trial& now) {
  const mounted disk("none", now.directory() + "/disk", "tmpfs", "size=6M");
  fill_and_empty(now, disk.path());
}

void strike_ext4(trial& now) {
  const auto memory = make_disk_memory(16 << 20);
  const loop_device device(memory);
  make_ext4(device);
  const mounted disk(device.path(), now.directory() + "/disk", "ext4", "");
  fill_and_empty(now, disk.path());
}

}  // namespace

const fault full_tmpfs{
    .name = "full tmpfs",
    .does = "a tmpfs has no page left; then it has again",
    .expects = errors,
    .strike = &strike_tmpfs,
    .short_tries = 1,
    .long_tries = 6,
};

const fault full_ext4{
    .name = "full ext4",
    .does =
        "ext4 on a loop device has no block left, for buffered and for direct writes; then it "
        "has again",
    .expects = errors,
    .strike = &strike_ext4,
    .short_tries = 1,
    .long_tries = 6,
};

}  // namespace weir::campaign
