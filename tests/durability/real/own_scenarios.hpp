#pragma once

#include <vector>

#include "durability/scenario.hpp"

/// Scenarios of what does not go through the driver with all it does, and so needs a kernel.
namespace weir::real_disks {

/// `weir cp`, copying a small and a large file over and over. What it has said is copied is found
/// whole, and there never is half a file, as far as a process's end is concerned.
scenarios::scenario copying();
/// The same with `--drop-cache`, which has copies reach the disk before they get their names: that
/// there is no half a file holds at a power loss as well.
scenarios::scenario copying_and_dropping();
/// A daemon that is put files, some of them durably.
scenarios::scenario putting();

}  // namespace weir::real_disks
