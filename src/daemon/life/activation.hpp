#pragma once

#include <optional>

#include "daemon/life/outcome.hpp"

namespace weir::life {

/// The socket that a service manager has opened for this process (LISTEN_FDS, sd_listen_fds(3)), if
/// it has: SOCK_SEQPACKET, listening. Owned by the caller from now on. EINVAL for another kind of
/// socket, and for more than one.
outcome<std::optional<int>> activated_socket();

}  // namespace weir::life
