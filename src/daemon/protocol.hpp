#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "weir/request.hpp"

// What clients and the daemon say to each other, byte by byte: docs/protocol.md is its description.
// Plain structures in the machine's own byte order, for both are on one machine; no padding that
// the compiler chooses, no pointer.
namespace weir::detail::daemon {

inline constexpr std::uint16_t protocol_version = 1;

/// The longest message in either direction.
inline constexpr std::size_t frame_max = 32768;
/// The most descriptors in one message.
inline constexpr std::size_t descriptors_max = 64;
/// The longest path, in bytes, without an end mark: PATH_MAX less one.
inline constexpr std::size_t path_max = 4095;
/// What each answer on a status channel takes.
inline constexpr std::size_t answer_size = 64;

enum class message : std::uint16_t {
  // From the client. In brackets, the descriptors that come with it, in order.
  read = 1,          ///< path_request [channel]: the file's information, then its bytes
  send = 2,          ///< path_request [channel, receiver]: its bytes to the receiver
  open = 3,          ///< path_request [channel]: opened, locked if asked; nothing is moved yet
  send_open = 4,     ///< id_request [receiver]: sends what `open` has opened
  read_memory = 5,   ///< memory_request [channel, memory]: its bytes into shared memory
  receive = 6,       ///< path_request [channel, source]: from the source into the file
  write_memory = 7,  ///< memory_request [channel, memory]: from shared memory into the file
  stat = 8,          ///< path_request [channel]
  sync = 9,          ///< path_request [channel]: fsync(2), or fdatasync(2)
  cancel = 10,       ///< id_request [channel]: ends a transfer of this connection
  info = 11,         ///< frame_header [channel]: what the daemon is and allows
  metrics = 12,      ///< frame_header [channel]: text, as Prometheus reads it, then the end
  attach = 13,       ///< attach_request [memory]: operations follow, with buffers in that memory
  submit = 14,       ///< batch_request [files]: descriptors for slots, and operations

  // To the client, on a channel or, where the request came without one, on the connection.
  file_info = 0x81,    ///< the first answer to what names a file
  progress = 0x82,     ///< so many bytes more have been moved
  ended = 0x83,        ///< the last answer: done, or why not
  daemon_info = 0x84,  ///< the answer to `info`
  attached = 0x85,     ///< the answer to `attach`, on the connection: an `answer`
  completed = 0x86,    ///< answers to operations, on the connection
};

/// The beginning of every message from a client.
struct frame_header {
  message kind{};
  std::uint16_t version = protocol_version;
  std::uint32_t size = 0;  ///< of the whole message: what has been cut off is seen
  std::uint64_t tag = 0;   ///< the client's own; every answer carries it
};

/// Flags of a path_request and a memory_request. Others are refused.
namespace transfer_flag {
inline constexpr std::uint32_t lock = 1;        ///< an OFD lock on the range, held to the end
inline constexpr std::uint32_t create = 2;      ///< of what is written to: O_CREAT
inline constexpr std::uint32_t exclusive = 4;   ///< with create: O_EXCL
inline constexpr std::uint32_t truncate = 8;    ///< O_TRUNC
inline constexpr std::uint32_t durable = 16;    ///< on the disk before the end is told
inline constexpr std::uint32_t data_only = 32;  ///< of sync: fdatasync(2)
inline constexpr std::uint32_t all = 63;
}  // namespace transfer_flag

/// A length that is none: to the end of the file; of `receive`, to the end of the source.
inline constexpr std::uint64_t to_the_end = ~std::uint64_t{0};

struct path_request {
  frame_header header;
  std::uint64_t offset = 0;
  std::uint64_t length = to_the_end;
  std::uint32_t flags = 0;
  std::uint32_t mode = 0;  ///< permissions of what is created, below 01000
  // The path follows, to the end of the message.
};

struct memory_request {
  path_request file;
  std::uint64_t memory_offset = 0;
  // The path follows, to the end of the message.
};

struct id_request {
  frame_header header;
  std::uint64_t id = 0;
};

struct attach_request {
  frame_header header;
  std::uint64_t memory_size = 0;  ///< of the shared memory, from its beginning
  std::uint32_t queue_depth = 0;  ///< the most operations in flight, 1 to 4096
  std::uint32_t reserved = 0;
};

/// One operation: a `request` with the number of a slot for a descriptor, and a place in the shared
/// memory for an address.
struct wire_operation {
  std::uint64_t tag = 0;
  opcode op = opcode::nop;
  std::uint8_t hints = 0;
  std::uint16_t priority = 0;
  std::int32_t slot = -1;
  std::uint32_t flags = 0;
  std::uint32_t mode = 0;    ///< as in `request`; the second slot of what has two files
  std::uint64_t memory = 0;  ///< of transfers; as `address` in `request` for what has two files
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct batch_request {
  frame_header header;
  std::uint16_t slot_count = 0;    ///< numbers of slots that follow: first one for each descriptor
  std::uint16_t forget_count = 0;  ///< of these, at the end: slots to be emptied
  std::uint32_t operation_count = 0;
  // std::uint32_t slots[slot_count], rounded up to an even number; then the operations.
};

/// The most slots a client has for descriptors.
inline constexpr std::uint32_t slots_max = 256;
inline constexpr std::uint32_t client_queue_depth_max = 4096;

/// An answer: 64 bytes, whatever its kind. On a channel they follow one another.
struct answer {
  message kind{};
  std::uint16_t version = protocol_version;
  std::int32_t status = 0;  ///< 0, or a negative errno; `ended` alone may say one, or the first
  std::uint64_t tag = 0;
  std::uint64_t id = 0;
  std::array<std::uint64_t, 5> values{};
  // file_info: bytes to be moved; size; times of access, modification and change in nanoseconds
  // since 1970. progress, ended: bytes since the last answer; all bytes so far; 0, 0, 0.
  // daemon_info: process; flags; most transfers; transfers now; clients now.
};

struct completed_operation {
  std::uint64_t tag = 0;
  std::int64_t result = 0;  ///< as the system call's: a count or 0, or a negative errno
};

/// The result, negated, of an operation on what the daemon does not serve, or not for clients: no
/// system call on a file answers it. The client carries it out itself.
inline constexpr int not_served = EMEDIUMTYPE;

struct completed_answer {
  frame_header header;
  std::uint32_t count = 0;
  std::uint32_t reserved = 0;
  // completed_operation[count] follow.
};

static_assert(sizeof(frame_header) == 16);
static_assert(sizeof(path_request) == 40);
static_assert(sizeof(memory_request) == 48);
static_assert(sizeof(id_request) == 24);
static_assert(sizeof(attach_request) == 32);
static_assert(sizeof(wire_operation) == 48);
static_assert(sizeof(batch_request) == 24);
static_assert(sizeof(answer) == answer_size);
static_assert(sizeof(completed_operation) == 16);
static_assert(sizeof(completed_answer) == 24);

/// A message as it came: its bytes, and how many descriptors were with it.
struct frame {
  std::span<const std::byte> bytes;
  std::size_t descriptors = 0;
  bool cut_off = false;  ///< the kernel had more (MSG_TRUNC, MSG_CTRUNC)
};

/// What `check` has found to be sound.
struct checked_frame {
  frame_header header;
  path_request file{};              ///< of what names a file
  std::uint64_t memory_offset = 0;  ///< of read_memory and write_memory
  std::uint64_t id = 0;             ///< of send_open and cancel
  attach_request attach{};
  std::string_view path;                  ///< points into the frame
  std::span<const std::byte> slots;       ///< of submit: `slot_count` numbers
  std::span<const std::byte> operations;  ///< `operation_count` of `wire_operation`
  std::uint16_t slot_count = 0;
  std::uint16_t forget_count = 0;
  std::uint32_t operation_count = 0;
};

/// The one place that judges what a client says. Nothing outside the frame is looked at, so that a
/// fuzzer can stand in for every client. EBADMSG for what is malformed, EPROTONOSUPPORT for another
/// version, ENOSYS for an unknown kind, EMSGSIZE for what was cut off, ENAMETOOLONG, EINVAL for a
/// range that ends above 2^63 - 1 or a flag that the kind does not have.
std::expected<checked_frame, int> check(const frame& came) noexcept;

/// How many descriptors come with a message: the fewest and the most.
struct descriptor_count {
  std::size_t least = 0;
  std::size_t most = 0;
};
descriptor_count descriptors_of(message kind) noexcept;

/// Copies a structure out of bytes, which need not be aligned. There are enough of them.
template <class T>
T read_as(std::span<const std::byte> bytes, std::size_t at = 0) noexcept {
  T value;
  __builtin_memcpy(&value, bytes.data() + at * sizeof(T), sizeof(T));
  return value;
}

}  // namespace weir::detail::daemon
