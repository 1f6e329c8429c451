// read_memory and write_memory: between a file and memory that a client shares by a descriptor. It
// is never mapped here, since touching what the client has meanwhile cut off would be a signal, not
// an error.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/server/carrying_out.hpp"
#include "daemon/server/file_pieces.hpp"
#include "daemon/server/server_state.hpp"
#include "daemon/server/transfer.hpp"
#include "daemon/server/writing.hpp"
#include "uninterrupted.hpp"

namespace weir::detail::daemon {
namespace {

// Only memory has seals (memfd_create(2), shm_open(3)), also where there are none on it: so no disk
// and no other file system's server can be meant.
int judge_memory(const order& what) noexcept {
  if (::fcntl(what.other.fd(), F_GET_SEALS) < 0) return EINVAL;
  struct statx about{};
  constexpr int how = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if (::statx(what.other.fd(), "", how, STATX_SIZE, &about) != 0) return errno;
  return what.memory_offset + what.asked.length <= about.stx_size ? 0 : ERANGE;
}

int put(int memory, std::span<const std::byte> bytes, std::uint64_t at) noexcept {
  while (!bytes.empty()) {
    const long count = uninterrupted(
        [&] { return ::pwrite(memory, bytes.data(), bytes.size(), static_cast<off_t>(at)); });
    if (count <= 0) return count == 0 ? EIO : static_cast<int>(-count);
    at += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return 0;
}

task<int> read_into_memory(transfer& self, const order& what, int file) {
  std::uint64_t done = 0;
  while (done < what.asked.length) {
    co_await self.turn();
    if (self.stopped() != 0) co_return self.stopped();
    const auto lent = co_await self.server().buffers.borrow();
    const std::uint64_t rest = what.asked.length - done;
    const auto memory = lent.memory().first(std::min<std::uint64_t>(rest, buffer_leases::size));
    const long count = co_await read_piece(self, file, memory, what.asked.offset + done);
    if (count <= 0) co_return count == 0 ? ENODATA : static_cast<int>(-count);
    const auto came = memory.first(static_cast<std::size_t>(count));
    if (const int error = put(what.other.fd(), came, what.memory_offset + done)) co_return error;
    self.moved(came.size());
    done += came.size();
  }
  co_return 0;
}

task<int> read_memory(transfer& self, const order& what, opened_file& opened) {
  if (const int error = judge_memory(what)) co_return error;
  if (const int error = co_await open_ordered(self, what, opened)) co_return error;
  const auto range = range_within(opened.about.size, what.asked);
  if (!range) co_return range.error();
  if ((what.asked.flags & transfer_flag::lock) != 0) {
    const int error = lock(opened.file.fd(), what.asked.header.kind, *range);
    if (error != 0) co_return error;
  }
  if (const int error = co_await self.tell_file(opened.about, *range)) co_return error;
  co_return co_await read_into_memory(self, what, opened.file.fd());
}

task<int> write_from_memory(transfer& self, const order& what, written_file& target) {
  std::uint64_t done = 0;
  while (done < what.asked.length) {
    co_await self.turn();
    if (self.stopped() != 0) co_return self.stopped();
    const auto lent = co_await self.server().buffers.borrow();
    const std::uint64_t rest = what.asked.length - done;
    const auto memory = lent.memory().first(std::min<std::uint64_t>(rest, buffer_leases::size));
    const auto at = static_cast<off_t>(what.memory_offset + done);
    const long count =
        uninterrupted([&] { return ::pread(what.other.fd(), memory.data(), memory.size(), at); });
    if (count <= 0) co_return count == 0 ? ENODATA : static_cast<int>(-count);
    const auto came = memory.first(static_cast<std::size_t>(count));
    if (const int error = co_await target.append(came)) co_return error;
    done += came.size();
  }
  co_return 0;
}

task<int> write_memory(transfer& self, const order& what, written_file& target) {
  if (const int error = judge_memory(what)) co_return error;
  if (const int error = co_await target.open()) co_return error;
  if (const int error = co_await write_from_memory(self, what, target)) co_return error;
  co_return co_await target.finish();
}

}  // namespace

detached carry_out_reading_memory(client& owner, order what) {
  transfer self(owner, what.asked.header, what.id, std::move(what.channel));
  opened_file opened;
  const int error = co_await read_memory(self, what, opened);
  opened.file.reset();  // a lock goes before the end is told
  co_await self.tell_end(error);
}

detached carry_out_writing_memory(client& owner, order what) {
  transfer self(owner, what.asked.header, what.id, std::move(what.channel));
  written_file target(self, what);
  const int error = co_await write_memory(self, what, target);
  target.close();
  co_await self.tell_end(error);
}

}  // namespace weir::detail::daemon
