#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "campaign/disk.hpp"
#include "campaign/faults/faults.hpp"
#include "campaign/words.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

// EIO is what a sync says of a journal that has been given up.
constexpr std::array errors = {EROFS, EIO};

// mount(2) refuses to take writing away from who has a file open for it. ext4 does so by itself
// when it finds itself damaged (errors=remount-ro), and this tells it that it is.
void damage(const loop_device& device) {
  const std::string switch_path = in_words("/sys/fs/ext4/", device.name(), "/trigger_fs_error");
  const testing::descriptor trigger(::open(switch_path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!trigger) not_available("open " + switch_path);
  if (::write(trigger.get(), "campaign", 8) < 0) not_available("write " + switch_path);
}

void strike_in_the_midst(trial& now, io_context& context, const loop_device& device) {
  const mounted disk(device.path(), now.directory() + "/disk", "ext4", "errors=remount-ro");
  workload buffered(now, context, {.path = disk.path() + "/file"});
  workload direct(now, context, {.path = disk.path() + "/direct", .direct = true});
  const std::size_t operations = now.operations(1'000);
  buffered.begin(operations);
  direct.begin(operations);
  testing::drive_until(context, [&] { return buffered.left() <= operations / 2; });
  now.fault_begins();
  buffered.cache_may_be_lost();
  damage(device);
  testing::drive_until(context, [&] { return buffered.is_done() && direct.is_done(); });
  now.expect_felt(EROFS);
  buffered.verify();
  direct.verify();
}

void strike(trial& now) {
  const auto memory = make_disk_memory(24 << 20);
  const loop_device device(memory);
  make_ext4(device);
  have_own_mounts();
  const auto context = now.open_context();
  strike_in_the_midst(now, *context, device);
  now.fault_lifted();
  make_ext4(device);
  const mounted disk(device.path(), now.directory() + "/disk", "ext4", "");
  workload after(now, *context, {.path = disk.path() + "/file"});
  after.run(now.operations(200));
  after.verify();
}

}  // namespace

const fault read_only_remount{
    .name = "read-only",
    .does =
        "ext4 becomes read-only with files open and writes in flight; then there is another "
        "file system, for the same context",
    .expects = errors,
    .strike = &strike,
    .short_tries = 1,
    .long_tries = 6,
};

}  // namespace weir::campaign
