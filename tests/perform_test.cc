#include "perform.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <thread>

#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::out_of_range;
using detail::perform;

// Of an offset: a transfer of any length from there ends where an off_t can still say.
std::uint64_t most(opcode op) {
  return op == opcode::ftruncate ? INT64_MAX : INT64_MAX - transfer_max;
}

// Invariant 2. The same on every route to the kernel: io_uring would take -1 for "where it is now".
TEST(out_of_range, is_an_offset_that_no_off_t_holds) {
  for (const opcode op :
       {opcode::read, opcode::write, opcode::readv, opcode::writev, opcode::ftruncate}) {
    EXPECT_FALSE(out_of_range({.op = op, .offset = most(op), .length = UINT64_MAX}));
    EXPECT_TRUE(out_of_range({.op = op, .offset = most(op) + 1}));
    EXPECT_TRUE(out_of_range({.op = op, .offset = UINT64_MAX}));
    EXPECT_EQ(perform({.op = op, .fd = -1, .offset = UINT64_MAX}), -EINVAL);
  }
}

TEST(out_of_range, is_a_length_that_cannot_be_allocated) {
  EXPECT_FALSE(out_of_range({.op = opcode::fallocate, .offset = INT64_MAX, .length = INT64_MAX}));
  EXPECT_TRUE(out_of_range({.op = opcode::fallocate, .offset = UINT64_MAX, .length = 1}));
  EXPECT_TRUE(out_of_range({.op = opcode::fallocate, .offset = 0, .length = UINT64_MAX}));
}

// It carries an address there.
TEST(out_of_range, is_never_the_offset_of_a_statx) {
  EXPECT_FALSE(out_of_range({.op = opcode::statx, .offset = UINT64_MAX}));
  EXPECT_FALSE(out_of_range({.op = opcode::nop, .offset = UINT64_MAX}));
}

TEST(perform, answers_a_count_or_a_negative_errno) {
  const temp_directory directory;
  const descriptor file = make_patterned_file(directory / "file", 100);
  std::array<std::byte, 200> memory{};
  EXPECT_EQ(perform(read_request(file.get(), memory, 50)), 50);
  EXPECT_TRUE(holds_pattern(std::span(memory).first(50), 50));
  EXPECT_EQ(perform(read_request(file.get(), memory, 100)), 0);
  EXPECT_EQ(perform(read_request(-1, memory)), -EBADF);
  EXPECT_EQ(perform(write_request(file.get(), memory, 100)), 200);
  EXPECT_EQ(perform({.op = opcode::fsync, .fd = file.get()}), 0);
  EXPECT_EQ(perform({.op = opcode::nop}), 0);
}

TEST(perform, opens_closes_and_looks) {
  const temp_directory directory;
  std::string path = directory / "file";
  const std::int32_t fd = perform({.op = opcode::openat,
                                   .fd = AT_FDCWD,
                                   .flags = O_CREAT | O_RDWR | O_CLOEXEC,
                                   .mode = 0600,
                                   .address = path.data()});
  ASSERT_GE(fd, 0);
  EXPECT_EQ(perform({.op = opcode::ftruncate, .fd = fd, .offset = 77}), 0);
  struct statx status{};
  EXPECT_EQ(perform({.op = opcode::statx,
                     .fd = AT_FDCWD,
                     .mode = STATX_SIZE,
                     .address = path.data(),
                     .offset = reinterpret_cast<std::uintptr_t>(&status)}),
            0);
  EXPECT_EQ(status.stx_size, 77);
  EXPECT_EQ(perform({.op = opcode::close, .fd = fd}), 0);
  EXPECT_EQ(perform({.op = opcode::close, .fd = fd}), -EBADF);
}

TEST(perform, ignores_the_offset_of_what_cannot_seek) {
  const pipe_ends pipe = make_pipe();
  std::array<std::byte, 10> memory{};
  fill(memory, 0);
  EXPECT_EQ(perform(write_request(pipe.write.get(), memory, 12'345)), 10);
  memory = {};
  EXPECT_EQ(perform(read_request(pipe.read.get(), memory, 54'321)), 10);
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST(perform, moves_at_most_transfer_max) {
  const descriptor null = open_file("/dev/null", O_WRONLY);
  const request what{.op = opcode::write, .fd = null.get(), .length = std::uint64_t{1} << 40};
  EXPECT_EQ(perform(what), static_cast<std::int32_t>(transfer_max));
}

TEST(perform, refuses_counts_of_vectors_that_an_int_would_cut_off) {
  const descriptor null = open_file("/dev/null", O_RDWR);
  std::array<std::byte, 1> memory{};
  iovec vector{memory.data(), 1};
  for (const std::uint64_t count :
       {std::uint64_t{1025}, (std::uint64_t{1} << 32) + 1, UINT64_MAX}) {
    const request what{.op = opcode::readv, .fd = null.get(), .address = &vector, .length = count};
    EXPECT_EQ(perform(what), -EINVAL) << count;
  }
}

// An operation is there to wait, O_NONBLOCK or not, unless it asks not to.
TEST(perform, waits_for_a_descriptor_that_does_not_block) {
  const pipe_ends pipe = make_pipe(O_NONBLOCK);
  std::array<std::byte, 10> memory{};
  request what = read_request(pipe.read.get(), memory);
  what.flags = RWF_NOWAIT;
  EXPECT_EQ(perform(what), -EAGAIN);
  what.flags = 0;
  std::thread feeder([&] { pipe.feed(3); });
  EXPECT_EQ(perform(what), 3);
  feeder.join();
}

TEST(perform, finds_nothing_to_cancel) {
  recorded target{request{}};
  EXPECT_EQ(perform(cancel_request(target)), -ENOENT);
}

// Invariant 30
TEST(perform, repeats_what_a_signal_interrupts) {
  struct sigaction nothing{};
  nothing.sa_handler = [](int) {};  // and no SA_RESTART
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &nothing, &before), 0);
  const pipe_ends pipe = make_pipe();
  const pthread_t reading = ::pthread_self();
  std::thread storm([&] {
    for (int i = 0; i < 10'000; ++i) ::pthread_kill(reading, SIGUSR1);
    pipe.feed(1);
  });
  std::byte byte{};
  EXPECT_EQ(perform(read_request(pipe.read.get(), {&byte, 1})), 1);
  storm.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace weir::testing
