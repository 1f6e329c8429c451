#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "campaign/disk.hpp"
#include "campaign/faults/faults.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

constexpr std::array errors = {EIO};
constexpr std::size_t blocks = 1024;
constexpr std::size_t good_blocks = blocks / 2;

// The device keeps its size; behind it, the second half is gone and cannot come back: sealed first,
// or a write in between would let it, as zeros.
void break_second_half(const testing::descriptor& memory) {
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW) != 0) not_available("F_SEAL_GROW");
  if (::ftruncate(memory.get(), good_blocks * workload::block_size) != 0)
    not_available("ftruncate");
}

void strike(trial& now) {
  const auto memory = make_disk_memory(blocks * workload::block_size);
  const loop_device device(memory);
  const auto context = now.open_context();
  workload work(now, *context,
                {.path = device.path(), .blocks = blocks, .direct = now.number() % 2 != 0});
  const std::size_t operations = now.operations(3'000);
  work.begin(operations);
  testing::drive_until(*context, [&] { return work.left() <= operations / 2; });
  now.fault_begins();
  break_second_half(memory);
  testing::drive_until(*context, [&] { return work.is_done(); });
  work.run(now.operations(500));
  now.expect_felt(EIO);
  work.verify(good_blocks);
}

}  // namespace

const fault device_errors{
    .name = "device errors",
    .does =
        "the second half of a loop device's backing file is cut off in the midst of I/O on the "
        "device, buffered and direct in turn",
    .expects = errors,
    .strike = &strike,
    .short_tries = 2,
    .long_tries = 6,
};

}  // namespace weir::campaign
