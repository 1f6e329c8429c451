#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include <utility>

#include "daemon/server/carrying_out.hpp"
#include "daemon/server/server_state.hpp"
#include "daemon/server/transfer.hpp"

namespace weir::detail::daemon {
namespace {

bool may_share(const path_request& asked) noexcept {
  if ((asked.flags & transfer_flag::lock) != 0) return false;
  switch (asked.header.kind) {
    case message::read:
    case message::send:
    case message::open:
    case message::read_memory:
      return true;
    default:
      return false;
  }
}

open_file taken_over(server_state& server, const path_request& asked, descriptor fd,
                     const file_facts& about) {
  if (may_share(asked)) return server.files.share(std::move(fd), about);
  return server.files.keep(std::move(fd));
}

}  // namespace

task<int> open_ordered(transfer& self, const order& what, opened_file& into) {
  server_state& server = self.server();
  open_how how = how_to_open(what.asked);
  const request opening{.op = opcode::openat2,
                        .fd = server.options.root,
                        .address = const_cast<char*>(what.path.c_str()),
                        .offset = reinterpret_cast<std::uint64_t>(&how),
                        .length = sizeof how};
  const std::int32_t fd = co_await self.perform(opening);
  if (fd < 0) co_return -fd;
  descriptor opened(fd);

  struct statx raw{};
  const request looking{.op = opcode::statx,
                        .fd = fd,
                        .flags = static_cast<std::uint32_t>(facts_flags),
                        .mode = facts_mask,
                        .address = const_cast<char*>(""),
                        .offset = reinterpret_cast<std::uint64_t>(&raw)};
  const std::int32_t looked = co_await self.perform(looking);
  if (looked < 0) co_return -looked;
  const auto about = facts_from(raw);
  if (!about) co_return about.error();
  into.about = *about;
  into.file = taken_over(server, what.asked, std::move(opened), *about);
  co_return 0;
}

}  // namespace weir::detail::daemon
