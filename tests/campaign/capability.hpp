#pragma once

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "campaign/trial.hpp"

namespace weir::campaign {

/// From now on this thread, and those that it starts, are bound by limits that bind others.
inline void give_up_capability(unsigned which) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> held{};
  if (::syscall(SYS_capget, &header, held.data()) != 0) not_available("capget");
  held[which / 32].effective &= ~(1U << which % 32);
  if (::syscall(SYS_capset, &header, held.data()) != 0) not_available("capset");
}

}  // namespace weir::campaign
