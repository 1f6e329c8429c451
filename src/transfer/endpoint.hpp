#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/result.hpp"
#include "weir/transfer.hpp"

namespace weir::detail {

/// What sort of thing a transfer's other descriptor is: it decides how it can be written to and
/// read from without waiting.
enum class endpoint_kind : std::uint8_t {
  stream_socket,
  pipe,    // or FIFO
  file,    // regular, or a block device: it has a position, and only the disk to wait for
  device,  // anything else
};

/// EPROTOTYPE for a socket that keeps messages apart, EBADF for no descriptor.
result<endpoint_kind> kind_of(int fd) noexcept;

/// Whether a file can be sent to such a thing by that route at all.
bool leads_to(transfer_route route, endpoint_kind kind) noexcept;

/// By which a file's cached bytes get there without passing through memory; `buffered` for none, or
/// where a call might wait. See docs/decisions/0023.
transfer_route direct_route_to(int fd, endpoint_kind kind, bool untrusted) noexcept;

/// Up to `length` bytes of a file by sendfile(2) or splice(2), as far as they are taken at once:
/// bytes moved, 0 at the end of the file, EAGAIN where nothing is taken now. Waits for the disk
/// where they are not cached. Never raises SIGPIPE.
result<std::size_t> move_directly(transfer_route route, int from, std::uint64_t offset, int to,
                                  std::size_t length) noexcept;

/// The same for memory, to a socket or pipe. With `more`, more will follow soon.
result<std::size_t> send_to_socket(int to, std::span<const iovec> memory, bool more) noexcept;
result<std::size_t> send_to_pipe(int to, std::span<const iovec> memory) noexcept;

/// What a stream socket has at once: bytes received, 0 at the sender's end, EAGAIN.
result<std::size_t> receive_from_socket(int from, std::span<std::byte> memory) noexcept;

}  // namespace weir::detail
