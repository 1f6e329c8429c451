#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "daemon/protocol.hpp"
#include "daemon/server/endpoint.hpp"
#include "daemon/server/open_files.hpp"
#include "weir/task.hpp"

namespace weir::detail::daemon {

class client;
class transfer;

/// A request that names a file, as a coroutine keeps it.
struct order {
  path_request asked;
  std::uint64_t id = 0;  ///< of the transfer
  std::uint64_t memory_offset = 0;
  std::string path;
  endpoint channel;
  endpoint other;  ///< the receiver, the source or the memory, of what has one
};

/// A file that was opened for an order.
struct opened_file {
  open_file file;
  file_facts about;
};

/// What has been done of a `read` already: its file is open, or was refused, and so many bytes of
/// the information and of what follows it have been written.
struct head_start {
  int error = 0;
  opened_file opened;
  std::size_t written = 0;
};

/// Reads that take no waiting: a small file in the page cache, whose name the kernel remembers, to
/// a channel with room for it, are done when this returns; nothing was registered anywhere. True
/// where that was all; else `begun` is where `carry_out_sending` goes on.
bool read_quickly(client& owner, const checked_frame& asked, std::uint64_t id, endpoint& channel,
                  head_start& begun);

// Each carries an order out, by itself, on the context's thread.
detached carry_out_sending(client& owner, order what, head_start begun);
detached carry_out_receiving(client& owner, order what);
detached carry_out_reading_memory(client& owner, order what);
detached carry_out_writing_memory(client& owner, order what);
detached carry_out_stat(client& owner, order what);
detached carry_out_sync(client& owner, order what);
detached carry_out_metrics(client& owner, frame_header asked, std::uint64_t id, endpoint channel);

/// Opens the file that is meant, and looks what it is. 0, or an errno.
task<int> open_ordered(transfer& self, const order& what, opened_file& into);

}  // namespace weir::detail::daemon
