#pragma once

#include "daemon/life/outcome.hpp"

namespace weir::life {

/// From now on the kernel refuses this process, all its threads, whatever a daemon has no use for
/// (seccomp(2)): a system call that is not on the list answers EPERM; those that only an intruder
/// makes (execve(2), ptrace(2), …) end the process. For good. ENOSYS, EINVAL: this kernel has no
/// filters.
///
/// What a ring does for the process is no system call: io_uring has restrictions of its own
/// (driver_options::restricted), and no further ring can be made.
outcome<> restrict_system_calls();

}  // namespace weir::life
