#include "campaign/faults/faults.hpp"

#include <array>

namespace weir::campaign {
namespace {

constexpr std::array table = {
    &descriptors_exhausted,
    &locked_memory_exhausted,
    &address_space_exhausted,
    &full_tmpfs,
    &full_ext4,
    &read_only_remount,
    &device_errors,
    &signal_storm,
    &fork_in_flight,
    &many_outstanding,
    &clock_jumps,
    &io_uring_removed,
};

}  // namespace

std::span<const fault* const> all_faults() { return table; }

}  // namespace weir::campaign
