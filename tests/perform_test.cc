#include "perform.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
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

void* as_address(std::uint64_t number) { return reinterpret_cast<void*>(number); }

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
  for (const opcode op : {opcode::fallocate, opcode::fadvise, opcode::sync_file_range}) {
    EXPECT_TRUE(out_of_range({.op = op, .offset = UINT64_MAX, .length = 1}));
    EXPECT_TRUE(out_of_range({.op = op, .offset = 0, .length = UINT64_MAX}));
  }
}

TEST(out_of_range, is_an_offset_of_either_file_but_not_the_one_that_is_none) {
  constexpr std::uint64_t biggest = INT64_MAX;
  for (const opcode op : {opcode::splice, opcode::copy_file_range}) {
    for (const std::uint64_t offset : {std::uint64_t{0}, biggest, UINT64_MAX}) {
      EXPECT_FALSE(out_of_range({.op = op, .address = as_address(offset), .offset = offset}));
    }
    for (const std::uint64_t offset : {biggest + 1, UINT64_MAX - 1}) {
      EXPECT_TRUE(out_of_range({.op = op, .address = as_address(offset)}));
      EXPECT_TRUE(out_of_range({.op = op, .offset = offset}));
    }
  }
}

TEST(out_of_range, is_an_event_that_poll_has_no_bit_for) {
  EXPECT_FALSE(out_of_range({.op = opcode::poll, .flags = 0xffff}));
  EXPECT_TRUE(out_of_range({.op = opcode::poll, .flags = 0x10000}));
}

TEST(out_of_range, is_a_time_that_no_clock_shows) {
  EXPECT_FALSE(out_of_range({.op = opcode::timeout, .offset = INT64_MAX}));
  EXPECT_TRUE(out_of_range({.op = opcode::timeout, .offset = std::uint64_t{INT64_MAX} + 1}));
}

// It carries an address there.
TEST(out_of_range, is_never_the_offset_of_a_statx) {
  EXPECT_FALSE(out_of_range({.op = opcode::statx, .offset = UINT64_MAX}));
  EXPECT_FALSE(out_of_range({.op = opcode::renameat, .offset = UINT64_MAX}));
  EXPECT_FALSE(out_of_range({.op = opcode::fgetxattr, .offset = UINT64_MAX}));
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

TEST(perform, makes_finds_renames_and_removes) {
  const temp_directory directory;
  const descriptor at = open_file(directory.path(), O_RDONLY | O_DIRECTORY);
  const auto second_fd = static_cast<std::uint32_t>(at.get());
  char folder[] = "folder";
  char moved[] = "moved";
  char link[] = "link";
  char same[] = "same";
  const auto address_of = [](char* text) { return reinterpret_cast<std::uintptr_t>(text); };
  const auto made =
      perform({.op = opcode::mkdirat, .fd = at.get(), .mode = 0700, .address = folder});
  EXPECT_EQ(made, 0);
  const auto renamed = perform({.op = opcode::renameat,
                                .fd = at.get(),
                                .mode = second_fd,
                                .address = folder,
                                .offset = address_of(moved)});
  EXPECT_EQ(renamed, 0);
  const auto linked = perform(
      {.op = opcode::symlinkat, .mode = second_fd, .address = moved, .offset = address_of(link)});
  EXPECT_EQ(linked, 0);
  const auto named_twice = perform({.op = opcode::linkat,
                                    .fd = at.get(),
                                    .mode = second_fd,
                                    .address = link,
                                    .offset = address_of(same)});
  EXPECT_EQ(named_twice, 0);
  open_how how{.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .mode = 0, .resolve = 0};
  request look{.op = opcode::openat2,
               .fd = at.get(),
               .address = same,
               .offset = reinterpret_cast<std::uintptr_t>(&how),
               .length = sizeof how};
  const descriptor opened(perform(look));
  EXPECT_TRUE(opened);
  how.resolve = RESOLVE_NO_SYMLINKS;
  EXPECT_EQ(perform(look), -ELOOP);
  std::array<std::byte, 4096> entries{};
  const request list{
      .op = opcode::getdents, .fd = at.get(), .address = entries.data(), .length = entries.size()};
  EXPECT_GT(perform(list), 0);
  EXPECT_EQ(perform(list), 0);
  for (char* each : {link, same}) {
    EXPECT_EQ(perform({.op = opcode::unlinkat, .fd = at.get(), .address = each}), 0);
  }
  request remove{.op = opcode::unlinkat, .fd = at.get(), .flags = AT_REMOVEDIR, .address = moved};
  EXPECT_EQ(perform(remove), 0);
  EXPECT_EQ(perform(remove), -ENOENT);
}

TEST(perform, moves_bytes_from_file_to_file) {
  const temp_directory directory;
  const descriptor from = make_patterned_file(directory / "from", 1000);
  const descriptor to = make_file(directory / "to");
  const pipe_ends pipe = make_pipe();
  request copy{.op = opcode::copy_file_range,
               .fd = from.get(),
               .mode = static_cast<std::uint32_t>(to.get()),
               .address = as_address(5),
               .offset = 900,
               .length = 400};
  EXPECT_EQ(perform(copy), 100);
  const auto copied = contents_of(directory / "to");
  EXPECT_TRUE(holds_pattern(std::span(copied).subspan(5), 900));
  copy.op = opcode::splice;
  copy.mode = static_cast<std::uint32_t>(pipe.write.get());
  EXPECT_EQ(perform(copy), -ESPIPE);
  copy.address = as_address(UINT64_MAX);
  EXPECT_EQ(perform(copy), 100);
  EXPECT_EQ(bytes_in(pipe), 100);
}

// As a transfer does.
TEST(perform, waits_to_splice_from_a_descriptor_that_does_not_block) {
  const pipe_ends from = make_pipe(O_NONBLOCK);
  const pipe_ends to = make_pipe(O_NONBLOCK);
  request what{.op = opcode::splice,
               .fd = from.read.get(),
               .flags = SPLICE_F_NONBLOCK,
               .mode = static_cast<std::uint32_t>(to.write.get()),
               .address = as_address(UINT64_MAX),
               .offset = UINT64_MAX,
               .length = 10};
  EXPECT_EQ(perform(what), -EAGAIN);
  what.flags = 0;
  std::thread feeder([&] { from.feed(3); });
  EXPECT_EQ(perform(what), 3);
  feeder.join();
}

TEST(perform, waits_for_readiness) {
  const pipe_ends pipe = make_pipe();
  const request reading{.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLIN};
  std::thread feeder([&] { pipe.feed(1); });
  EXPECT_EQ(perform(reading), POLLIN);
  feeder.join();
  EXPECT_EQ(perform({.op = opcode::poll, .fd = -1, .flags = POLLIN}), -EBADF);
  EXPECT_EQ(perform({.op = opcode::poll, .fd = closed_descriptor(), .flags = POLLIN}), -EBADF);
}

TEST(perform, knows_what_never_becomes_ready) {
  const temp_directory directory;
  const descriptor file = make_file(directory / "file");
  const descriptor null = open_file("/dev/null", O_RDWR);
  for (const int fd : {file.get(), null.get()}) {
    EXPECT_EQ(perform({.op = opcode::poll, .fd = fd, .flags = POLLIN}), POLLIN);
    EXPECT_EQ(perform({.op = opcode::poll, .fd = fd, .flags = POLLPRI}), -EINVAL);
  }
}

TEST(perform, waits_until_a_time) {
  using std::chrono::steady_clock;
  EXPECT_EQ(perform({.op = opcode::timeout, .offset = 0}), 0);
  const auto until = steady_clock::now() + std::chrono::milliseconds(5);
  const std::chrono::nanoseconds offset = until.time_since_epoch();
  const request what{.op = opcode::timeout, .offset = static_cast<std::uint64_t>(offset.count())};
  EXPECT_EQ(perform(what), 0);
  EXPECT_GE(steady_clock::now(), until);
}

TEST(perform, takes_hints_about_memory_without_a_word) {
  for (const opcode op : {opcode::register_memory, opcode::forget_memory}) {
    EXPECT_EQ(perform({.op = op, .address = nullptr, .length = 10}), 0);
  }
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
