#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <utility>

#include "daemon/server/buffer_leases.hpp"
#include "daemon/server/byte_mover.hpp"
#include "daemon/server/counters.hpp"
#include "daemon/server/incoming.hpp"
#include "daemon/server/notice.hpp"
#include "daemon/server/open_files.hpp"
#include "daemon/server/transfer_ids.hpp"
#include "daemon/server/turns.hpp"
#include "weir/daemon.hpp"

namespace weir::detail::daemon {

class client;

/// What all clients of a daemon share.
struct server_state {
  server_state(io_context& on, daemon_options how)
      : context(on),
        options(std::move(how)),
        files(on),
        round(on, options.turn_bytes),
        buffers(on),
        ended(on) {}

  io_context& context;
  daemon_options options;
  open_files files;
  turns round;
  transfer_ids ids;
  byte_mover mover;
  frame_inbox inbox;
  buffer_leases buffers;
  server_counts counts;
  std::unordered_set<client*> clients;
  std::size_t transfers = 0;  ///< begun and not ended
  bool draining = false;
  notice ended;  ///< told when a client or a transfer has gone
};

}  // namespace weir::detail::daemon
