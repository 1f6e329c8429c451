// receive: from a client's descriptor into a file.

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/server/carrying_out.hpp"
#include "daemon/server/server_state.hpp"
#include "daemon/server/transfer.hpp"
#include "daemon/server/writing.hpp"

namespace weir::detail::daemon {
namespace {

/// What has come of looking for bytes at a source.
struct arrival {
  std::size_t bytes = 0;
  int error = 0;  ///< EAGAIN: none yet
  bool is_end = false;
};

// The buffer is held only while there are bytes in it: they cannot be given back to the source.
task<arrival> take_over(transfer& self, const endpoint& source, std::uint64_t most,
                        written_file& target) {
  const auto lent = co_await self.server().buffers.borrow();
  const auto memory = lent.memory().first(std::min<std::uint64_t>(most, buffer_leases::size));
  const long came = self.server().mover.io().read(source, memory);
  if (came < 0) co_return arrival{.error = static_cast<int>(-came)};
  if (came == 0) co_return arrival{.is_end = true};
  const auto count = static_cast<std::size_t>(came);
  const int error = co_await target.append(memory.first(count));
  co_return arrival{.bytes = count, .error = error};
}

task<int> receive_all(transfer& self, const order& what, written_file& target) {
  const bool bounded = what.asked.length != to_the_end;
  std::uint64_t left = what.asked.length;
  while (left != 0) {
    co_await self.turn();
    if (self.stopped() != 0) co_return self.stopped();
    const arrival came = co_await take_over(self, what.other, left, target);
    if (came.is_end) co_return bounded ? ENODATA : 0;
    if (bounded) left -= came.bytes;
    if (came.error == 0) continue;
    if (came.error != EAGAIN) co_return came.error;
    self.tell_progress();
    if (const int error = co_await self.ready(what.other.fd(), POLLIN)) co_return error;
  }
  co_return 0;
}

// What came is finished also where less came than was asked for: it is in the file.
task<int> receive(transfer& self, const order& what, written_file& target) {
  if (!what.other.gives_bytes()) co_return EINVAL;
  if (const int error = co_await target.open()) co_return error;
  const int error = co_await receive_all(self, what, target);
  if (error != 0 && error != ENODATA) co_return error;
  const int unfinished = co_await target.finish();
  co_return unfinished != 0 ? unfinished : error;
}

}  // namespace

detached carry_out_receiving(client& owner, order what) {
  transfer self(owner, what.asked.header, what.id, std::move(what.channel));
  written_file target(self, what);
  const int error = co_await receive(self, what, target);
  target.close();  // a lock goes before the end is told
  what.other.reset();
  co_await self.tell_end(error);
}

}  // namespace weir::detail::daemon
