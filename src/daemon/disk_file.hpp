#pragma once

namespace weir::detail::daemon {

/// Whether the daemon may read and write `fd` for a client: a regular file on one of the file
/// systems that store what they are given, or a block device.
///
/// Not those of the kernel (procfs, sysfs, cgroup…), which ask at the moment of writing who writes:
/// that would be the daemon. Not FUSE, whose server may be the client itself and never answer. Not
/// what is in memory anyway.
bool is_disk_file(int fd) noexcept;

}  // namespace weir::detail::daemon
