// read, send, open and send_open: a file's bytes to a client's descriptor.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/server/carrying_out.hpp"
#include "daemon/server/client.hpp"
#include "daemon/server/file_pieces.hpp"
#include "daemon/server/transfer.hpp"

namespace weir::detail::daemon {
namespace {

/// The part of a file that is being sent.
struct shipment {
  static constexpr std::uint64_t most = buffer_leases::size;
  static constexpr std::uint64_t least = 16384;

  int file = -1;
  std::uint64_t offset = 0;
  std::uint64_t left = 0;
  /// For the next step: about what the receiver took last. Short while nothing is known, and where
  /// the disk had to be asked: to try to read what is not in memory begins to read it, for which
  /// the block layer may keep the thread the longer, the more is tried.
  std::uint64_t piece = least;

  std::uint64_t next() const noexcept { return std::min(left, piece); }
  void advance(const step_outcome& step) noexcept {
    offset += step.bytes;
    left -= step.bytes;
    const bool all = step.next == step_outcome::wants::nothing;
    piece = std::clamp<std::uint64_t>(all ? piece * 2 : step.bytes, least, most);
  }
};

// What the disk has brought goes to the receiver as far as it takes it; the rest is in the page
// cache then, and is found there.
task<step_outcome> send_from_disk(transfer& self, const shipment& goods, const endpoint& to) {
  const auto lent = co_await self.server().buffers.borrow();
  const auto memory = lent.memory().first(std::min(goods.left, shipment::most));
  const request reading{.op = opcode::read,
                        .fd = goods.file,
                        .address = memory.data(),
                        .offset = goods.offset,
                        .length = memory.size()};
  const std::int32_t came = co_await self.perform(reading);
  if (came < 0) co_return step_outcome{.error = -came};
  if (came == 0) co_return step_outcome{.error = ENODATA};
  co_return self.server().mover.send(memory.first(static_cast<std::size_t>(came)), to);
}

task<int> send_all(transfer& self, shipment goods, const endpoint& to) {
  while (goods.left != 0) {
    co_await self.turn();
    if (self.stopped() != 0) co_return self.stopped();
    step_outcome step = self.server().mover.send_cached(goods.file, goods.offset, goods.next(), to);
    if (step.next == step_outcome::wants::disk) {
      step = co_await send_from_disk(self, goods, to);
      goods.piece = shipment::least;
    }
    if (step.error != 0) co_return step.error;
    self.moved(step.bytes);
    goods.advance(step);
    if (goods.left == 0 || step.next != step_outcome::wants::receiver) continue;
    self.tell_progress();
    if (const int error = co_await self.ready(to.fd(), POLLOUT)) co_return error;
  }
  co_return 0;
}

// A regular file has no readiness, only the disk to wait for. It is written to where its descriptor
// stands, which is moved along, as by write(2).
task<int> copy_all(transfer& self, shipment goods, int to) {
  const off_t start = ::lseek(to, 0, SEEK_CUR);
  if (start < 0) co_return errno;
  auto position = static_cast<std::uint64_t>(start);
  while (goods.left != 0) {
    co_await self.turn();
    if (self.stopped() != 0) co_return self.stopped();
    const auto lent = co_await self.server().buffers.borrow();
    const auto memory = lent.memory().first(std::min(goods.left, shipment::most));
    const long came = co_await read_piece(self, goods.file, memory, goods.offset);
    if (came <= 0) co_return came == 0 ? ENODATA : static_cast<int>(-came);
    const auto bytes = memory.first(static_cast<std::size_t>(came));
    if (const int error = co_await write_piece(self, to, bytes, position)) co_return error;
    goods.advance({.bytes = bytes.size()});
    if (::lseek(to, static_cast<off_t>(position), SEEK_SET) < 0) co_return errno;
  }
  co_return 0;
}

task<int> open_and_tell(transfer& self, const order& what, head_start& begun, shipment& goods) {
  if (!begun.opened.file) {
    if (const int error = co_await open_ordered(self, what, begun.opened)) co_return error;
  }
  const auto range = range_within(begun.opened.about.size, what.asked);
  if (!range) co_return range.error();
  const int file = begun.opened.file.fd();
  if ((what.asked.flags & transfer_flag::lock) != 0) {
    if (const int error = lock(file, what.asked.header.kind, *range)) co_return error;
  }
  goods = {.file = file, .offset = range->offset, .left = range->length};
  if (begun.written > answer_size) {
    const step_outcome before{.bytes = begun.written - answer_size};
    goods.advance(before);
    self.moved(before.bytes);
  }
  // Of a read that `read_quickly` has begun, what is missing.
  if (begun.written == 0) co_return co_await self.tell_file(begun.opened.about, *range);
  co_return co_await self.tell_rest_of_file(begun.opened.about, *range, begun.written);
}

task<int> send(transfer& self, order& what, head_start& begun) {
  shipment goods;
  if (const int error = co_await open_and_tell(self, what, begun, goods)) co_return error;
  const message kind = what.asked.header.kind;
  if (kind == message::read) co_return co_await send_all(self, goods, self.channel());
  if (kind == message::open) {
    if (const int error = co_await self.receiver_given(what.other)) co_return error;
  }
  if (what.other.kind() == endpoint_kind::file) {
    co_return co_await copy_all(self, goods, what.other.fd());
  }
  co_return co_await send_all(self, goods, what.other);
}

}  // namespace

detached carry_out_sending(client& owner, order what, head_start begun) {
  transfer self(owner, what.asked.header, what.id, std::move(what.channel));
  const int error = begun.error != 0 ? begun.error : co_await send(self, what, begun);
  begun.opened.file.reset();  // a lock goes before the end is told
  what.other.reset();
  co_await self.tell_end(error);
}

}  // namespace weir::detail::daemon
