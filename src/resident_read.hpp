#pragma once

#include <sys/uio.h>

#include <cstdint>

#include "weir/driver.hpp"

namespace weir::detail {

/// preadv2(2) into one piece of memory, by the shortest way to the kernel: a count, or a negative
/// errno. `how` is RWF_*.
long preadv2_directly(int fd, const iovec& memory, std::uint64_t offset, int how) noexcept;

/// preadv2(2) with RWF_NOWAIT (Linux 4.14): carries a plain read out where the page cache has all
/// of it, up to the end of the file. What there is only a part of is left to the queue, as a whole.
///
/// With `hint::memory`, for what cannot be asked about and need not be: waits if it must.
at_once read_resident(operation& op) noexcept;

/// Whether that hint is true of the file: fstatfs(2) says tmpfs or ramfs.
bool is_memory(int fd) noexcept;

}  // namespace weir::detail
