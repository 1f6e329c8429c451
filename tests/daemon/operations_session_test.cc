// Operations over the wire, by hand: what a client may say that weir's own never would.

#include "daemon/server/operations_session.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "daemon/support.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using namespace detail::daemon;
using testing::descriptor;

constexpr std::size_t block = 4096;
constexpr std::uint64_t memory_size = 64 * block;

template <class... Parts>
std::vector<std::byte> frame_of(const Parts&... parts) {
  std::vector<std::byte> bytes;
  const auto append = [&](const auto& part) {
    const auto more = std::as_bytes(std::span(&part, 1));
    bytes.insert(bytes.end(), more.begin(), more.end());
  };
  (append(parts), ...);
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data() + offsetof(frame_header, size), &size, sizeof size);
  return bytes;
}

class operations_session_test : public ::testing::Test {
 protected:
  operations_session_test()
      : daemon_({"--allow-write"}),
        client_(daemon_.connect()),
        memory_(::memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    EXPECT_EQ(::ftruncate(memory_.get(), memory_size), 0);
  }

  std::optional<answer> attach(int memory, std::uint64_t size, std::uint32_t depth = 8) {
    client_.send(frame_of(attach_request{.header = {.kind = message::attach, .tag = 7},
                                         .memory_size = size,
                                         .queue_depth = depth}),
                 {memory});
    return client_.next();
  }
  void attach() {
    const auto said = attach(memory_.get(), memory_size);
    ASSERT_TRUE(said);
    ASSERT_EQ(said->kind, message::attached);
    ASSERT_EQ(said->status, 0);
  }

  /// A file for slot 3, and an operation.
  void submit(const wire_operation& asked, int file) {
    client_.send(frame_of(batch_request{.header = {.kind = message::submit},
                                        .slot_count = 1,
                                        .operation_count = 1},
                          std::array<std::uint32_t, 2>{3, 0}, asked),
                 {file});
  }
  void submit(const wire_operation& asked) {
    client_.send(
        frame_of(batch_request{.header = {.kind = message::submit}, .operation_count = 1}, asked));
  }

  /// Until there is one for the tag.
  std::optional<std::int64_t> result_of(std::uint64_t tag) {
    while (!results_.contains(tag)) {
      std::array<std::byte, frame_max> bytes;
      if (!readable(client_.fd(), 30'000)) return std::nullopt;
      const ssize_t count = ::recv(client_.fd(), bytes.data(), bytes.size(), 0);
      if (count < static_cast<ssize_t>(sizeof(completed_answer))) return std::nullopt;
      const auto head = read_as<completed_answer>(bytes);
      EXPECT_EQ(head.header.kind, message::completed);
      EXPECT_EQ(head.header.size, count);
      const auto rest = std::span<const std::byte>(bytes).subspan(sizeof head);
      for (std::size_t i = 0; i < head.count; ++i) {
        const auto each = read_as<completed_operation>(rest, i);
        EXPECT_TRUE(results_.emplace(each.tag, each.result).second) << "answered twice";
      }
    }
    return results_.at(tag);
  }

  wire_operation read_of(std::uint64_t tag, std::uint64_t length = block) const {
    return {.tag = tag, .op = opcode::read, .slot = 3, .length = length};
  }

  temp_directory directory_;
  daemon_process daemon_;
  raw_client client_;
  descriptor memory_;
  std::map<std::uint64_t, std::int64_t> results_;
};

TEST_F(operations_session_test, reads_into_shared_memory) {
  attach();
  const descriptor file = make_patterned_file(directory_ / "file", 2 * block);
  wire_operation asked = read_of(1, block);
  asked.memory = 5 * block;
  asked.offset = block;
  submit(asked, file.get());
  EXPECT_EQ(result_of(1), block);
  std::array<std::byte, block> read{};
  ASSERT_EQ(::pread(memory_.get(), read.data(), block, 5 * block), block);
  EXPECT_TRUE(holds_pattern(read, block));
}

TEST_F(operations_session_test, refuses_what_is_no_shared_memory) {
  const descriptor file = make_patterned_file(directory_ / "file", memory_size);
  const pipe_ends pipe = make_pipe();
  for (const int bad : {file.get(), pipe.read.get(), pipe.write.get(), client_.fd()}) {
    const auto said = attach(bad, memory_size);
    ASSERT_TRUE(said);
    EXPECT_EQ(said->status, -EINVAL);
    EXPECT_EQ(said->tag, 7);
  }
  const auto small = attach(memory_.get(), memory_size + 1);
  ASSERT_TRUE(small);
  EXPECT_EQ(small->status, -EINVAL);
  attach();
  const auto again = attach(memory_.get(), memory_size);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->status, -EALREADY);
}

TEST_F(operations_session_test, serves_nobody_who_has_not_attached) {
  submit(read_of(1));
  const auto said = client_.next();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->kind, message::ended);
  EXPECT_EQ(said->status, -EBADMSG);
}

// Invariant 23. Places outside the memory, slots that are empty or do not exist, operations that
// are not for clients.
TEST_F(operations_session_test, refuses_what_is_out_of_bounds) {
  attach();
  const descriptor file = make_patterned_file(directory_ / "file", block);
  submit(read_of(1), file.get());
  ASSERT_EQ(result_of(1), block);
  const auto with = [&](std::uint64_t tag, auto change) {
    wire_operation asked = read_of(tag);
    change(asked);
    submit(asked);
    return result_of(tag);
  };
  EXPECT_EQ(with(2, [](auto& op) { op.memory = memory_size - block + 1; }), -EBADMSG);
  EXPECT_EQ(with(3, [](auto& op) { op.memory = UINT64_MAX; }), -EBADMSG);
  EXPECT_EQ(with(4, [](auto& op) { op.length = UINT64_MAX; }), -EBADMSG);
  EXPECT_EQ(with(5, [](auto& op) { op.slot = 4; }), -not_served);
  EXPECT_EQ(with(6, [](auto& op) { op.slot = -1; }), -EBADMSG);
  EXPECT_EQ(with(7, [](auto& op) { op.slot = slots_max; }), -EBADMSG);
  EXPECT_EQ(with(8, [](auto& op) { op.offset = UINT64_MAX; }), -EINVAL);
  EXPECT_EQ(with(9, [](auto& op) { op.priority = 1 << 13; }), -EPERM);
  EXPECT_EQ(with(10,
                 [](auto& op) {
                   op.op = opcode::copy_file_range;
                   op.mode = slots_max;
                 }),
            -EBADMSG);
  for (const opcode op : {opcode::openat, opcode::close, opcode::unlinkat, opcode::readv,
                          opcode::poll, opcode::madvise, opcode::fsetxattr, opcode(200)}) {
    EXPECT_EQ(with(100 + static_cast<std::uint64_t>(op), [&](auto& asked) { asked.op = op; }),
              -not_served);
  }
  EXPECT_EQ(with(11, [](auto&) {}), block) << "it goes on";
}

// What asks at the moment of writing who writes, and what the client itself may never answer.
TEST_F(operations_session_test, has_no_dealings_with_what_is_no_file_on_a_disk) {
  attach();
  const pipe_ends pipe = make_pipe();
  const descriptor in_kernel = open_file("/proc/self/comm", O_RDWR);
  const descriptor null = open_file("/dev/zero", O_RDWR);
  const descriptor folder = open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
  std::uint64_t tag = 0;
  for (const int bad :
       {pipe.read.get(), in_kernel.get(), null.get(), folder.get(), client_.fd(), memory_.get()}) {
    submit(read_of(++tag), bad);
    EXPECT_EQ(result_of(tag), -not_served);
  }
}

// Invariant 23. Nobody but the kernel looks at the memory, so nobody gets a SIGBUS.
TEST_F(operations_session_test, survives_memory_that_shrinks) {
  attach();
  const descriptor file = make_patterned_file(directory_ / "file", 64 * block);
  submit(read_of(1), file.get());
  ASSERT_EQ(result_of(1), block);
  ASSERT_EQ(::ftruncate(memory_.get(), block), 0);
  wire_operation beyond = read_of(2);
  beyond.memory = 8 * block;
  submit(beyond);
  EXPECT_EQ(result_of(2), -EFAULT);
  beyond.tag = 3;
  beyond.op = opcode::write;
  submit(beyond);
  EXPECT_EQ(result_of(3), -EFAULT);
  ASSERT_EQ(::ftruncate(memory_.get(), memory_size), 0);
  submit(read_of(4));
  EXPECT_EQ(result_of(4), block);
}

TEST_F(operations_session_test, forgets_the_files_that_it_is_told_to) {
  attach();
  // What asked whether it lives may still be open there.
  ASSERT_TRUE(comes_true([&] { return client_.info().values[4] == 1; }));
  const std::size_t before = daemon_.descriptors();
  const descriptor file = make_patterned_file(directory_ / "file", block);
  submit(read_of(1), file.get());
  ASSERT_EQ(result_of(1), block);
  EXPECT_EQ(daemon_.descriptors(), before + 1);
  client_.send(frame_of(batch_request{.header = {.kind = message::submit},
                                      .slot_count = 1,
                                      .forget_count = 1,
                                      .operation_count = 1},
                        std::array<std::uint32_t, 2>{3, 0}, read_of(2)));
  EXPECT_EQ(result_of(2), -not_served);
  EXPECT_EQ(daemon_.descriptors(), before);
}

TEST_F(operations_session_test, cancels_by_tag_and_only_what_there_is) {
  attach();
  submit({.tag = 1, .op = opcode::cancel, .memory = 77});
  EXPECT_EQ(result_of(1), -ENOENT);
}

// A client that asks and never listens: it is let go, and the next is served.
TEST_F(operations_session_test, lets_go_of_who_never_listens) {
  attach();
  std::vector<wire_operation> many(600, {.tag = 1, .op = opcode::cancel, .memory = 77});
  std::vector<std::byte> flood = frame_of(batch_request{
      .header = {.kind = message::submit}, .operation_count = static_cast<std::uint32_t>(600)});
  const auto bytes = std::as_bytes(std::span(many));
  flood.insert(flood.end(), bytes.begin(), bytes.end());
  const auto size = static_cast<std::uint32_t>(flood.size());
  std::memcpy(flood.data() + offsetof(frame_header, size), &size, sizeof size);
  for (;;) {
    const ssize_t sent = ::send(client_.fd(), flood.data(), flood.size(), MSG_NOSIGNAL);
    if (sent < 0) break;
  }
  EXPECT_TRUE(errno == EPIPE || errno == ECONNRESET) << errno;
  EXPECT_EQ(daemon_.connect().info().kind, message::daemon_info);
}

// Invariant 23: no more than was agreed, and everything is answered once.
TEST_F(operations_session_test, has_no_more_in_flight_than_was_agreed) {
  attach();
  const descriptor file = open_direct(directory_ / "file");
  if (!file) GTEST_SKIP() << "the file system of $TMPDIR or /var/tmp refuses O_DIRECT";
  ASSERT_EQ(::ftruncate(file.get(), 64 * block), 0);
  constexpr std::uint64_t count = 60;
  wire_operation first = read_of(0);
  first.hints = hint::direct;
  submit(first, file.get());
  ASSERT_TRUE(result_of(0));
  std::array<wire_operation, count> many;
  for (std::uint64_t i = 0; i < count; ++i) {
    many[i] = first;
    many[i].tag = i + 1;
    many[i].offset = many[i].memory = i * block;
  }
  client_.send(
      frame_of(batch_request{.header = {.kind = message::submit}, .operation_count = count}, many));
  std::size_t done = 0;
  for (std::uint64_t i = 1; i <= count; ++i) {
    const auto result = result_of(i);
    ASSERT_TRUE(result);
    EXPECT_TRUE(*result == block || *result == -EBUSY) << *result;
    if (*result == block) ++done;
  }
  EXPECT_GE(done, 8);
}

}  // namespace
}  // namespace weir::testing
