#include "daemon/server/writing.hpp"

#include <fcntl.h>
#include <linux/openat2.h>

#include <cerrno>
#include <string>
#include <utility>

#include "daemon/server/file_pieces.hpp"
#include "daemon/server/server_state.hpp"
#include "daemon/server/transfer.hpp"

namespace weir::detail::daemon {

task<int> written_file::open() {
  if (const int error = co_await open_ordered(self_, what_, opened_)) co_return error;
  const file_range range{what_.asked.offset, what_.asked.length};
  if (asks_for(transfer_flag::lock)) {
    const int error = lock(opened_.file.fd(), what_.asked.header.kind, range);
    if (error != 0) co_return error;
  }
  co_return co_await self_.tell_file(opened_.about, range);
}

task<int> written_file::append(std::span<const std::byte> bytes) {
  if (const int error = co_await empty_once()) co_return error;
  co_return co_await write_piece(self_, opened_.file.fd(), bytes, offset_);
}

task<int> written_file::empty_once() {
  if (std::exchange(emptied_, true) || !asks_for(transfer_flag::truncate)) co_return 0;
  const request emptying{.op = opcode::ftruncate, .fd = opened_.file.fd(), .offset = 0};
  co_return -co_await self_.perform(emptying);
}

task<int> written_file::finish() {
  if (const int error = co_await empty_once()) co_return error;
  if (!asks_for(transfer_flag::durable)) co_return 0;
  const request syncing{.op = opcode::fdatasync, .fd = opened_.file.fd()};
  if (const std::int32_t synced = co_await self_.perform(syncing); synced < 0) co_return -synced;
  co_return asks_for(transfer_flag::create) ? co_await sync_name() : 0;
}

// A file that was created is found after a crash only if its directory is on the disk, too.
task<int> written_file::sync_name() {
  const std::size_t slash = what_.path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : what_.path.substr(0, slash + 1);
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const request opening{.op = opcode::openat2,
                        .fd = self_.server().options.root,
                        .address = const_cast<char*>(directory.c_str()),
                        .offset = reinterpret_cast<std::uint64_t>(&how),
                        .length = sizeof how};
  const std::int32_t fd = co_await self_.perform(opening);
  if (fd < 0) co_return -fd;
  const descriptor opened(fd);
  const request syncing{.op = opcode::fsync, .fd = fd};
  co_return -co_await self_.perform(syncing);
}

}  // namespace weir::detail::daemon
