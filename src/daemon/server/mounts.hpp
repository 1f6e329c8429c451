#pragma once

#include <optional>
#include <string_view>

namespace weir::detail::daemon {

/// Whether a client's regular file is on a file system that is mounted where the daemon sees it,
/// and that the kernel itself, or another machine, carries out. What a process carries out (FUSE)
/// may be the client's: each operation would wait until it pleases that to answer, and hold one of
/// the driver's threads. In doubt, false.
bool is_trusted_file(int fd) noexcept;

/// What a line of /proc/self/mountinfo (proc(5)) says of files of that device, "8:1": whether they
/// can be trusted; nothing where it is another device's.
std::optional<bool> trust_told_by(std::string_view line, std::string_view device) noexcept;

}  // namespace weir::detail::daemon
