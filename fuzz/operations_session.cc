// What a client that has attached may ask of the daemon: operations on two files, with buffers in
// memory that it shares. Each is answered once, none stops the daemon, and the files keep to their
// limit.
//
// An input is a list of messages; each chooses how many operations it has, then there are these, as
// they lie on the wire, but that a byte chooses how they deviate from what is sound.

#include "daemon/server/operations_session.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "daemon/message_socket.hpp"
#include "support/choices.hpp"
#include "support/disk_file.hpp"
#include "support/promise.hpp"
#include "support/received_message.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::detail::daemon;
using weir::opcode;
using weir::fuzzing::promise;
using weir::fuzzing::received_message;
using weir::testing::choices;

constexpr std::size_t block = 4096;
constexpr std::uint64_t memory_size = 8 * block;
constexpr std::uint32_t queue_depth = 4;
constexpr rlim_t file_most = rlim_t{1} << 22;

/// What all sessions share: a context, files on a disk, and how long these may become.
class surroundings {
 public:
  surroundings() : context_(weir::open_driver({.name = "sync", .queue_depth = 16}).value()) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = file_most, .rlim_max = file_most};
    promise(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (int& file : files_) file = weir::fuzzing::disk_file();
  }

  weir::io_context& context() { return context_; }
  int file(std::size_t which) const { return files_[which % files_.size()]; }

 private:
  weir::io_context context_;
  std::array<int, 2> files_{};
};

/// One client, and its session.
class attached {
 public:
  explicit attached(surroundings& within, bool allow_write) : within_(within) {
    promise(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_.data()) ==
            0);
    session_.emplace(within.context(), ends_[0], allow_write);
    descriptor memory(::memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    promise(::ftruncate(memory.get(), memory_size) == 0);
    const attach_request asked{.memory_size = memory_size, .queue_depth = queue_depth};
    promise(session_->attach(asked, std::move(memory)) == 0);
  }
  attached(const attached&) = delete;
  attached& operator=(const attached&) = delete;
  ~attached() {
    bool over = false;
    session_->end([&over] { over = true; });
    within_.context().run();
    promise(over && session_->in_flight() == 0);
    session_.reset();
    for (const int end : ends_) ::close(end);
  }

  /// Nothing comes of a message that is malformed.
  void say(const std::vector<std::byte>& message, std::size_t descriptors) {
    const auto sound = check({.bytes = message, .descriptors = descriptors});
    if (!sound) return;
    std::vector<descriptor> files;
    for (std::size_t i = 0; i < descriptors; ++i) {
      files.emplace_back(::fcntl(within_.file(i), F_DUPFD_CLOEXEC, 0));
    }
    for (std::size_t i = 0; i < sound->operation_count; ++i) {
      ++unanswered_[read_as<wire_operation>(sound->operations, i).tag];
    }
    promise(session_->submit(*sound, files));
    within_.context().run();
    hear();
  }

 private:
  // All that was asked is answered, and nothing else.
  void hear() {
    received_message came;
    while (came.receive(ends_[1]) > 0) {
      const auto head = read_as<completed_answer>(came.bytes());
      promise(head.header.kind == message::completed && head.header.size == came.bytes().size());
      const auto rest = came.bytes().subspan(sizeof head);
      promise(rest.size() == head.count * sizeof(completed_operation));
      for (std::size_t i = 0; i < head.count; ++i) {
        const auto each = read_as<completed_operation>(rest, i);
        promise(each.result >= -4095 && unanswered_[each.tag]-- > 0);
      }
    }
    for (const auto& [tag, count] : unanswered_) promise(count == 0);
  }

  surroundings& within_;
  std::array<int, 2> ends_{};
  std::optional<operations_session> session_;
  std::map<std::uint64_t, int> unanswered_;
};

template <class T>
void append(std::vector<std::byte>& to, const T& what) {
  const auto bytes = std::as_bytes(std::span(&what, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Nearly what a client of weir's says.
wire_operation operation_by(choices& by) {
  static constexpr std::array ops = {
      opcode::read,      opcode::write,     opcode::fdatasync,       opcode::fsync,
      opcode::ftruncate, opcode::fallocate, opcode::sync_file_range, opcode::copy_file_range,
      opcode::cancel,    opcode::openat};
  wire_operation made{.tag = by.below(8),
                      .op = by.one_of(ops),
                      .slot = static_cast<std::int32_t>(by.below(3)),
                      .memory = by.below(memory_size),
                      .offset = by.below(file_most),
                      .length = by.below(2 * block)};
  if (made.op == opcode::copy_file_range) made.mode = static_cast<std::uint32_t>(by.below(3));
  if (by.one_in(4)) made.flags = static_cast<std::uint32_t>(by.number(4));
  if (by.one_in(8)) made.mode = static_cast<std::uint32_t>(by.number(4));
  if (by.one_in(8)) made.slot = static_cast<std::int32_t>(by.number(4));
  if (by.one_in(8)) made.memory = by.number(8);
  if (by.one_in(8)) made.offset = by.number(8);
  if (by.one_in(8)) made.length = by.number(8);
  if (by.one_in(8)) made.hints = by.byte();
  if (by.one_in(8)) made.priority = static_cast<std::uint16_t>(by.number(2));
  if (by.one_in(8)) made.op = static_cast<opcode>(by.byte());
  return made;
}

std::vector<std::byte> message_by(choices& by, std::size_t descriptors) {
  const auto slots = static_cast<std::uint16_t>(descriptors + by.below(2));
  const auto count = static_cast<std::uint32_t>(by.below(8));
  std::vector<std::byte> bytes;
  append(bytes, batch_request{.header = {.kind = message::submit},
                              .slot_count = slots,
                              .forget_count = static_cast<std::uint16_t>(slots - descriptors),
                              .operation_count = count});
  for (std::uint32_t i = 0; i < (slots + 1U) / 2 * 2; ++i)
    append(bytes, std::uint32_t{by.byte() % 4U});
  for (std::uint32_t i = 0; i < count; ++i) append(bytes, operation_by(by));
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data() + offsetof(frame_header, size), &size, sizeof size);
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static surroundings within;
  choices by({data, size});
  attached client(within, !by.one_in(8));
  while (!by.used_up()) {
    const std::size_t descriptors = by.below(3);
    client.say(message_by(by, descriptors), descriptors);
  }
  return 0;
}
