#pragma once

#include "campaign/fault.hpp"

namespace weir::campaign {

extern const fault descriptors_exhausted;
extern const fault locked_memory_exhausted;
extern const fault address_space_exhausted;
extern const fault full_tmpfs;
extern const fault full_ext4;
extern const fault read_only_remount;
extern const fault device_errors;
extern const fault signal_storm;
extern const fault fork_in_flight;
extern const fault many_outstanding;
extern const fault clock_jumps;
extern const fault io_uring_removed;

}  // namespace weir::campaign
