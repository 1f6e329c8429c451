#include "daemon/server/file_pieces.hpp"

#include <cerrno>

#include "daemon/server/server_state.hpp"
#include "daemon/server/transfer.hpp"

namespace weir::detail::daemon {

task<long> read_piece(transfer& self, int file, std::span<std::byte> into, std::uint64_t offset) {
  const long cached = read_cached(file, into, offset);
  if (cached != -EAGAIN) co_return cached;
  const request reading{.op = opcode::read,
                        .fd = file,
                        .address = into.data(),
                        .offset = offset,
                        .length = into.size()};
  co_return co_await self.perform(reading);
}

task<int> write_piece(transfer& self, int file, std::span<const std::byte> bytes,
                      std::uint64_t& position) {
  while (!bytes.empty()) {
    const request writing{.op = opcode::write,
                          .fd = file,
                          .address = const_cast<std::byte*>(bytes.data()),
                          .offset = position,
                          .length = bytes.size()};
    const std::int32_t written = co_await self.perform(writing);
    if (written < 0) co_return -written;
    if (written == 0) co_return EIO;  // it moved nothing and gave no reason
    const auto count = static_cast<std::size_t>(written);
    self.moved(count);
    position += count;
    bytes = bytes.subspan(count);
  }
  co_return 0;
}

}  // namespace weir::detail::daemon
