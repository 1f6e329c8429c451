// stat and sync: what moves nothing.

#include <utility>

#include "daemon/server/carrying_out.hpp"
#include "daemon/server/server_state.hpp"
#include "daemon/server/transfer.hpp"

namespace weir::detail::daemon {
namespace {

task<int> look(transfer& self, const order& what, opened_file& opened) {
  if (const int error = co_await open_ordered(self, what, opened)) co_return error;
  const auto range = range_within(opened.about.size, what.asked);
  if (!range) co_return range.error();
  co_return co_await self.tell_file(opened.about, *range);
}

task<int> sync(transfer& self, const order& what, opened_file& opened) {
  if (const int error = co_await look(self, what, opened)) co_return error;
  const bool data_only = (what.asked.flags & transfer_flag::data_only) != 0;
  const request syncing{.op = data_only ? opcode::fdatasync : opcode::fsync,
                        .fd = opened.file.fd()};
  co_return -co_await self.perform(syncing);
}

}  // namespace

detached carry_out_stat(client& owner, order what) {
  transfer self(owner, what.asked.header, what.id, std::move(what.channel));
  opened_file opened;
  const int error = co_await look(self, what, opened);
  co_await self.tell_end(error);
}

detached carry_out_sync(client& owner, order what) {
  transfer self(owner, what.asked.header, what.id, std::move(what.channel));
  opened_file opened;
  const int error = co_await sync(self, what, opened);
  co_await self.tell_end(error);
}

}  // namespace weir::detail::daemon
