#pragma once

#include "weir/driver.hpp"

namespace weir::detail {

/// preadv2(2) with RWF_NOWAIT (Linux 4.14): carries a plain read out where the page cache has all
/// of it, up to the end of the file. What there is only a part of is left to the queue, as a whole.
///
/// With `hint::memory`, for what cannot be asked about and need not be: waits if it must.
at_once read_resident(operation& op) noexcept;

/// Whether that hint is true of the file: fstatfs(2) says tmpfs or ramfs.
bool is_memory(int fd) noexcept;

}  // namespace weir::detail
