// What only the io_uring driver does: older kernels, played by restrictions, and the kernel's own
// threads.

#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "drivers/drivers.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::driver_limits;
using detail::open_uring;
using detail::uring_restrictions;

constexpr std::uint64_t every_opcode = (std::uint64_t{1} << opcode_count) - 1;

constexpr std::uint64_t only(opcode op) { return std::uint64_t{1} << static_cast<unsigned>(op); }

/// A kernel that lacks something, or is asked for something, and what must work there all the same.
struct older_kernel {
  std::string name;
  uring_restrictions restrictions;
  unsigned sqpoll_idle_ms = 0;
  bool restricted = false;
};
std::ostream& operator<<(std::ostream& out, const older_kernel& kernel) {
  return out << kernel.name;
}

class uring_on : public ::testing::TestWithParam<older_kernel> {
 protected:
  void SetUp() override {
    const driver_report& report = report_of("uring");
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
  }

  io_context& open(driver_limits limits = {.queue_depth = 16, .threads = 4}) {
    limits.sqpoll_idle_ms = GetParam().sqpoll_idle_ms;
    limits.restricted = GetParam().restricted;
    auto opened = open_uring(limits, GetParam().restrictions);
    if (!opened) throw std::runtime_error(opened.error().call);
    context_ = std::make_unique<io_context>(std::move(*opened));
    return *context_;
  }
  io_context& context() { return *context_; }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

/// All that one system call or another has brought since 5.10.
constexpr std::uint64_t newer_opcodes = only(opcode::renameat) | only(opcode::unlinkat) |
                                        only(opcode::mkdirat) | only(opcode::linkat) |
                                        only(opcode::symlinkat) | only(opcode::fgetxattr) |
                                        only(opcode::fsetxattr) | only(opcode::ftruncate);

std::vector<older_kernel> older_kernels() {
  std::vector<older_kernel> kernels = {
      {"this_kernel", {}},
      {"restricted_to_its_own", {}, 0, true},
      {"with_a_submission_thread", {}, 1},
      {"with_a_submission_thread_before_5_18",
       {.refused_setup_flags = IORING_SETUP_SUBMIT_ALL},
       50},
      {"before_6_1", {.refused_setup_flags = IORING_SETUP_DEFER_TASKRUN}},
      {"before_6_0", {.refused_setup_flags = IORING_SETUP_SINGLE_ISSUER}},
      {"before_5_19",
       {.refused_setup_flags =
            IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG}},
      {"before_5_18", {.refused_setup_flags = IORING_SETUP_SUBMIT_ALL}},
      {"without_ftruncate", {.missing_opcodes = only(opcode::ftruncate)}},
      {"without_openat_and_close", {.missing_opcodes = only(opcode::openat) | only(opcode::close)}},
      {"without_reads", {.missing_opcodes = only(opcode::read) | only(opcode::readv)}},
      {"without_any_opcode", {.missing_opcodes = every_opcode & ~only(opcode::cancel)}},
      {"with_next_to_nothing",
       {.refused_setup_flags = IORING_SETUP_SUBMIT_ALL,
        .missing_opcodes = every_opcode & ~only(opcode::cancel)}},
      {"before_5_11",
       {.refused_setup_flags = IORING_SETUP_SUBMIT_ALL,
        .missing_opcodes = newer_opcodes,
        .cancels_one_by_one = true}},
  };
  for (unsigned op = 0; op < opcode_count - 1; ++op) {
    kernels.push_back({"without_opcode_" + std::to_string(op),
                       {.missing_opcodes = only(static_cast<opcode>(op))}});
  }
  return kernels;
}

INSTANTIATE_TEST_SUITE_P(kernels, uring_on, ::testing::ValuesIn(older_kernels()),
                         [](const auto& tested) { return tested.param.name; });

TEST_P(uring_on, carries_a_file_through_its_life) {
  open();
  auto live = [&]() -> task<> {
    const std::string path = directory_ / "file";
    const open_options options{.read = true, .write = true, .create = true};
    result<file> opened = co_await weir::open(context(), path, options);
    EXPECT_TRUE(opened.has_value());
    if (!opened) co_return;
    std::vector<std::byte> memory(100'000);
    fill(memory, 0);
    const transfer_result written = co_await opened->write_all_at(memory, 0);
    EXPECT_EQ(written, memory.size());
    const result<void> synced = co_await opened->sync();
    EXPECT_TRUE(synced.has_value());
    const result<void> truncated = co_await opened->truncate(50'000);
    EXPECT_TRUE(truncated.has_value());
    const result<file_status> status = co_await opened->stat();
    EXPECT_EQ(status.value().size, 50'000);
    std::ranges::fill(memory, std::byte{0});
    const transfer_result read = co_await opened->read_exactly_at(memory, 0);
    EXPECT_EQ(read.transferred, 50'000);
    EXPECT_EQ(read.error(), errc::short_read);
    EXPECT_TRUE(holds_pattern(std::span(memory).first(50'000), 0));
    const int fd = opened->native_handle();
    const result<void> closed = co_await opened->close();
    EXPECT_TRUE(closed.has_value());
    EXPECT_FALSE(is_open(fd));
  };
  context().run(live());
}

std::uint64_t address_of(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

// operations_test.cc tests each of these; here, that each is carried out, natively or not.
TEST_P(uring_on, carries_out_what_a_server_needs) {
  open();
  const auto expect = [&](std::int32_t expected, const request& what) {
    recorded op(what);
    context().start(op);
    context().run();
    EXPECT_TRUE(answered(op, expected)) << "opcode " << static_cast<int>(what.op);
    return op.answer();
  };
  const descriptor folder = open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
  const int at = folder.get();
  const auto second = static_cast<std::uint32_t>(at);
  char inner[] = "inner";
  char first_name[] = "inner/first";
  char next_name[] = "inner/next";
  char link_name[] = "inner/link";
  expect(0, {.op = opcode::mkdirat, .fd = at, .mode = 0700, .address = inner});
  const open_how how{.flags = O_CREAT | O_RDWR | O_CLOEXEC, .mode = 0600, .resolve = 0};
  recorded opening({.op = opcode::openat2,
                    .fd = at,
                    .address = first_name,
                    .offset = address_of(&how),
                    .length = sizeof how});
  context().start(opening);
  context().run();
  const descriptor file(opening.answer());
  ASSERT_TRUE(file);
  const auto on_two_names = [&](opcode op, char* from, char* to) {
    expect(0, {.op = op, .fd = at, .mode = second, .address = from, .offset = address_of(to)});
  };
  on_two_names(opcode::renameat, first_name, next_name);
  on_two_names(opcode::linkat, next_name, first_name);
  on_two_names(opcode::symlinkat, next_name, link_name);
  std::array<std::byte, 100> memory{};
  fill(memory, 0);
  const request whole{.op = opcode::register_memory, .address = &memory, .length = sizeof memory};
  expect(0, whole);
  expect(100, write_request(file.get(), memory));
  memory = {};
  expect(100, read_request(file.get(), memory));
  EXPECT_TRUE(holds_pattern(memory, 0));
  expect(0, {.op = opcode::forget_memory, .address = &memory, .length = sizeof memory});
  expect(0, {.op = opcode::fadvise, .fd = file.get(), .flags = POSIX_FADV_WILLNEED});
  expect(0, {.op = opcode::sync_file_range, .fd = file.get(), .flags = SYNC_FILE_RANGE_WRITE});
  buffer page(4096);
  expect(0, {.op = opcode::madvise,
             .flags = MADV_WILLNEED,
             .address = page.data(),
             .length = page.size()});
  const pipe_ends pipe = make_pipe();
  request copy{.op = opcode::splice,
               .fd = file.get(),
               .mode = static_cast<std::uint32_t>(pipe.write.get()),
               .address = reinterpret_cast<void*>(UINT64_MAX),
               .offset = 20,
               .length = 1000};
  expect(80, copy);
  copy.op = opcode::copy_file_range;
  copy.mode = static_cast<std::uint32_t>(file.get());
  copy.address = reinterpret_cast<void*>(1000);
  expect(80, copy);
  const char attribute[] = "user.weir";
  expect(::fsetxattr(file.get(), attribute, "", 0, 0) == 0 ? 0 : -errno,
         {.op = opcode::fsetxattr,
          .fd = file.get(),
          .address = inner,
          .offset = address_of(attribute),
          .length = 5});
  std::array<char, 100> value{};
  expect(::fgetxattr(file.get(), attribute, nullptr, 0) == 5 ? 5 : -errno,
         {.op = opcode::fgetxattr,
          .fd = file.get(),
          .address = value.data(),
          .offset = address_of(attribute),
          .length = value.size()});
  expect(-ENOTDIR,
         {.op = opcode::getdents, .fd = file.get(), .address = value.data(), .length = 100});
  for (char* each : {first_name, next_name, link_name}) {
    expect(0, {.op = opcode::unlinkat, .fd = at, .address = each});
  }
  expect(0, {.op = opcode::unlinkat, .fd = at, .flags = AT_REMOVEDIR, .address = inner});
}

TEST_P(uring_on, waits_for_readiness_and_time) {
  open({.queue_depth = 1, .threads = 1});
  const pipe_ends idle = make_pipe();
  const pipe_ends pipe = make_pipe();
  std::array<std::byte, 1> byte{};
  recorded blocked(read_request(idle.read.get(), byte));
  recorded reading({.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLIN});
  recorded failing({.op = opcode::poll, .fd = pipe.read.get(), .flags = 0});
  recorded timer({.op = opcode::timeout, .offset = 1});
  recorded never({.op = opcode::timeout, .offset = INT64_MAX});
  for (recorded* each : {&blocked, &reading, &failing, &timer, &never}) context().start(*each);
  drive_until(context(), [&] { return timer.completions == 1; });
  EXPECT_EQ(reading.completions, 0);
  pipe.feed(1);
  EXPECT_TRUE(poll_until(context(), [&] { return reading.completions == 1; }));
  EXPECT_TRUE(answered(reading, POLLIN));
  recorded cancel_poll(cancel_request(failing));
  recorded cancel_timer(cancel_request(never));
  context().start(cancel_poll);
  context().start(cancel_timer);
  drive_until(context(), [&] { return context().outstanding() == 1; });
  for (recorded* each : {&cancel_poll, &cancel_timer}) EXPECT_TRUE(answered(*each, 0));
  for (recorded* each : {&failing, &never}) EXPECT_TRUE(answered(*each, -ECANCELED));
  idle.feed(1);
  context().run();
  EXPECT_TRUE(answered(blocked, 1));
}

// Invariant 29. Also where a kernel cannot cancel everything at once.
TEST_P(uring_on, ends_while_something_is_waited_for) {
  open({.queue_depth = 4, .threads = 1});
  const pipe_ends pipe = make_pipe();
  batch waits;
  for (int i = 0; i < 200; ++i) {
    add(waits,
        {.op = opcode::poll, .fd = pipe.read.get(), .flags = i % 2 == 0 ? 1u * POLLIN : POLLPRI});
    add(waits, {.op = opcode::timeout, .offset = INT64_MAX});
  }
  start_all(context(), waits);
  context().flush();
  context_.reset();
  EXPECT_TRUE(all_answered(waits, -ECANCELED));
}

// Many times what there is room for among the completions.
TEST_P(uring_on, takes_more_completions_than_there_is_room_for) {
  constexpr int count = 5'000;
  open({.queue_depth = 1, .threads = 1});
  const pipe_ends pipe = make_pipe();
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  for (const bool by_fd : {false, true}) {
    batch polls;
    for (int i = 0; i < count; ++i) {
      add(polls, {.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLIN});
    }
    start_all(context(), polls);
    context().flush();
    pipe.feed(1);
    std::array<std::byte, 100> memory{};
    recorded reading(read_request(file.get(), memory));
    context().start(reading);
    context().flush();
    if (by_fd) {
      EXPECT_TRUE(poll_until(context(), [&] { return context().outstanding() == 0; }));
    } else {
      context().run();
    }
    EXPECT_TRUE(all_answered(polls, POLLIN));
    EXPECT_TRUE(answered(reading, 100));
    ASSERT_EQ(::read(pipe.read.get(), memory.data(), 1), 1);
  }
}

// Invariants 3 and 13. Without SUBMIT_ALL a submission ends at the first operation that is refused
// while it is prepared, as a vector at no address is.
TEST_P(uring_on, submits_what_stands_behind_a_refused_operation) {
  open({.queue_depth = 4, .threads = 2});
  const descriptor file = make_patterned_file(directory_ / "file", 300);
  std::array<std::byte, 300> memory{};
  batch good;
  batch bad;
  for (std::size_t i = 0; i < 300; ++i) {
    add(bad, {.op = opcode::readv, .fd = file.get(), .address = nullptr, .length = 3});
    add(good, read_request(file.get(), std::span(memory).subspan(i, 1), i));
    context().start(*bad.back());
    context().start(*good.back());
  }
  context().run();
  EXPECT_TRUE(all_answered(good, 1));
  EXPECT_TRUE(all_answered(bad, -EFAULT));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_P(uring_on, shows_at_fd_what_it_was_woken_for) {
  open();
  std::array<std::byte, 1> byte{};
  const pipe_ends pipe = make_pipe();
  recorded blocked(read_request(pipe.read.get(), byte));
  context().start(blocked);
  context().dispatch(false);
  bool shown = true;
  for (int i = 0; i < 20 && shown; ++i) {
    recorded posted{request{}};
    std::thread starter([&] { context().start(posted); });
    shown = poll_until(context(), [&] { return posted.completions == 1; });
    starter.join();
    drive_until(context(), [&] { return posted.completions == 1; });
  }
  EXPECT_TRUE(shown) << "what another thread had started";
  EXPECT_EQ(blocked.completions, 0);
  const int polling = this_thread();
  std::thread feeder([&] {
    EXPECT_TRUE(eventually([&] { return is_asleep(polling); }));
    pipe.feed(1);
  });
  EXPECT_TRUE(poll_until(context(), [&] { return blocked.completions == 1; }));
  feeder.join();
  context().run();
  EXPECT_TRUE(answered(blocked, 1));
}

TEST_P(uring_on, ends_a_wait_for_another_thread) {
  open();
  for (int i = 0; i < 200; ++i) {
    recorded posted{request{}};
    std::thread starter([&] { context().start(posted); });
    EXPECT_EQ(context().dispatch(true), 1);
    starter.join();
  }
}

TEST_P(uring_on, cancels_and_ends_while_busy) {
  open({.queue_depth = 4, .threads = 1});
  pipe_ends pipe = make_pipe();
  std::array<std::byte, 12> memory{};
  batch reads;
  for (std::byte& each : memory) {
    add(reads, read_request(pipe.read.get(), {&each, 1})).then = [&](recorded& self) {
      if (self.answer() == -ECANCELED) pipe.write.reset();  // lets a blocked thread go
    };
  }
  start_all(context(), reads);
  context().flush();
  recorded cancel(cancel_request(*reads[1]));
  context().start(cancel);
  context().dispatch(true);
  context_.reset();
  for (const auto& op : reads) EXPECT_EQ(op->completions, 1);
  EXPECT_EQ(cancel.completions, 1);
}

// --- on this kernel ------------------------------------------------------------------------------

class uring : public ::testing::Test {
 protected:
  void SetUp() override {
    const driver_report& report = report_of("uring");
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
  }
  temp_directory directory_;
};

// The flags on every rung of the ladder.
TEST_F(uring, needs_a_kernel_that_can_start_a_ring_disabled) {
  const auto opened = open_uring({.queue_depth = 4, .threads = 1},
                                 {.refused_setup_flags = IORING_SETUP_R_DISABLED});
  ASSERT_FALSE(opened.has_value());
  EXPECT_STREQ(opened.error().call, "io_uring_setup");
  EXPECT_EQ(opened.error().error, EINVAL);
}

TEST_F(uring, leaves_nothing_behind_when_it_cannot_be_opened) {
  const std::size_t before = count_descriptors();
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(open_uring({.queue_depth = 4, .threads = 1},
                            {.refused_setup_flags = IORING_SETUP_R_DISABLED}));
  }
  EXPECT_EQ(count_descriptors(), before);
}

// With SINGLE_ISSUER the kernel would otherwise refuse every thread but the first.
TEST_F(uring, may_be_opened_on_one_thread_and_driven_on_another) {
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  std::unique_ptr<io_context> context;
  std::thread([&] { context = open_context("uring"); }).join();
  std::array<std::byte, 100> memory{};
  recorded op(read_request(file.get(), memory));
  std::thread([&] {
    context->start(op);
    context->run();
  }).join();
  EXPECT_TRUE(answered(op, 100));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_F(uring, works_with_a_queue_of_one) {
  const descriptor file = make_patterned_file(directory_ / "file", 500);
  const auto context = open_context("uring", {.queue_depth = 1});
  std::array<std::byte, 500> memory{};
  batch reads;
  for (std::size_t i = 0; i < memory.size(); ++i) {
    add(reads, read_request(file.get(), std::span(memory).subspan(i, 1), i));
  }
  start_all(*context, reads);
  context->run();
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_F(uring, works_with_the_longest_queue) {
  const auto context = open_context("uring", {.queue_depth = 16384});
  batch many;
  for (int i = 0; i < 40'000; ++i) add(many, {});
  start_all(*context, many);
  context->run();
  EXPECT_TRUE(all_answered(many, 0));
}

// --- registered memory ---------------------------------------------------------------------------

request on_memory(opcode op, void* address, std::size_t length) {
  return {.op = op, .address = address, .length = length};
}

class uring_memory : public uring {
 protected:
  std::int32_t answer_to(const request& what) {
    recorded op(what);
    context_->start(op);
    context_->run();
    return op.answer();
  }
  std::int32_t add(void* address, std::size_t length) {
    return answer_to(on_memory(opcode::register_memory, address, length));
  }
  std::int32_t forget(void* address, std::size_t length) {
    return answer_to(on_memory(opcode::forget_memory, address, length));
  }

  std::unique_ptr<io_context> context_ = open_context("uring");
  buffer memory_{16 * 4096};
};

// Else the tests of what it does would test nothing. What the kernel has mapped stays what it was
// when something else is mapped in its place, and only transfers that use it do not notice.
TEST_F(uring_memory, is_what_the_kernel_has_mapped) {
  constexpr std::size_t page = 4096;
  const descriptor file = make_patterned_file(directory_ / "file", 2 * page);
  void* const where =
      ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(where, MAP_FAILED);
  const std::span memory(static_cast<std::byte*>(where), 2 * page);
  ASSERT_EQ(add(where, page), 0);
  ASSERT_EQ(::mmap(where, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                   -1, 0),
            where);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.first(page))), page);
  EXPECT_TRUE(holds_only(memory, std::byte{0}));
  EXPECT_EQ(answer_to(read_request(file.get(), memory)), 2 * page) << "not all of it is registered";
  EXPECT_TRUE(holds_pattern(memory, 0));
  std::ranges::fill(memory, std::byte{0});
  EXPECT_EQ(forget(where, page), 0);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.first(page))), page);
  EXPECT_TRUE(holds_pattern(memory.first(page), 0));
  ::munmap(where, 2 * page);
}

TEST_F(uring_memory, does_not_overlap) {
  std::byte* const start = memory_.data();
  ASSERT_EQ(add(start + 4096, 8192), 0);
  EXPECT_EQ(add(start + 4096, 8192), -EEXIST);
  EXPECT_EQ(add(start, 4097), -EEXIST);
  EXPECT_EQ(add(start + 3 * 4096 - 1, 1), -EEXIST);
  EXPECT_EQ(add(start, 4 * 4096), -EEXIST);
  EXPECT_EQ(add(start + 8192, 1), -EEXIST);
  EXPECT_EQ(add(start, 4096), 0);
  EXPECT_EQ(add(start + 3 * 4096, 4096), 0);
}

TEST_F(uring_memory, is_forgotten_as_it_was_registered_or_not_at_all) {
  std::byte* const start = memory_.data();
  EXPECT_EQ(forget(start, 4096), -ENOENT);
  ASSERT_EQ(add(start, 4096), 0);
  EXPECT_EQ(forget(start, 4095), -ENOENT);
  EXPECT_EQ(forget(start + 1, 4095), -ENOENT);
  EXPECT_EQ(forget(start, 4096), 0);
  EXPECT_EQ(forget(start, 4096), -ENOENT);
}

TEST_F(uring_memory, is_refused_with_what_is_wrong_with_it) {
  std::byte* const start = memory_.data();
  EXPECT_EQ(add(start, 0), -EINVAL);
  EXPECT_EQ(add(start, SIZE_MAX), -EINVAL);
  EXPECT_EQ(add(start, (std::size_t{1} << 30) + 1), -E2BIG);
  EXPECT_EQ(add(reinterpret_cast<void*>(4096), 4096), -EFAULT);
  EXPECT_EQ(add(start, 4096), 0);
}

// Invariant 2. RLIMIT_MEMLOCK says how much the kernel may keep mapped for somebody who is not
// root.
TEST_F(uring_memory, that_may_not_be_locked_is_read_into_all_the_same) {
  const descriptor file = make_patterned_file(directory_ / "file", 4096);
  const child_outcome outcome = run_in_child([&] {
    // Enough for a small ring, which newer kernels count too.
    const rlimit little{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &little), 0);
    constexpr uid_t nobody = 65534;
    ASSERT_TRUE(::getuid() != 0 || ::setuid(nobody) == 0);
    context_ = open_context("uring", {.queue_depth = 4});
    buffer large(16 << 20);
    EXPECT_EQ(add(large.data(), large.size()), -ENOMEM);
    EXPECT_EQ(answer_to(read_request(file.get(), large.first(4096))), 4096);
    EXPECT_TRUE(holds_pattern(large.first(4096), 0));
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// --- the kernel's threads ------------------------------------------------------------------------

// The kernel's workers belong to the thread that had a ring, and stay for some seconds after its
// end, those for bounded and for unbounded work in numbers of their own. So they are counted in a
// process which had no other ring.

/// Looks at the kernel's workers whenever an operation completes.
class worker_watch {
 public:
  void on_completion() {
    if (++completions_ % 16 == 0) most_ = std::max(most_, count_kernel_workers());
  }
  std::size_t most() const { return most_; }

 private:
  std::size_t completions_ = 0;
  std::size_t most_ = 0;
};

// Invariant 15. fsync always goes to a worker: so without the cap there would be dozens.
TEST_F(uring, keeps_the_kernels_workers_within_their_bound) {
  const descriptor file = make_patterned_file(directory_ / "file", 1000);
  const child_outcome outcome = run_in_child([&] {
    const auto context = open_context("uring", {.threads = 2});
    worker_watch watch;
    batch syncs;
    for (int i = 0; i < 500; ++i) {
      add(syncs, {.op = opcode::fdatasync, .fd = file.get()}).then = [&](recorded&) {
        watch.on_completion();
      };
    }
    start_all(*context, syncs);
    context->run();
    EXPECT_TRUE(all_answered(syncs, 0));
    EXPECT_GE(watch.most(), 1) << "there was nothing to bound";
    EXPECT_LE(watch.most(), 2);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// So large that kernel workers copy them, several at a time.
TEST_F(uring, large_reads_are_whole_and_their_workers_few) {
  constexpr std::size_t size = 16 << 20;
  constexpr std::size_t length = 512 << 10;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  const child_outcome outcome = run_in_child([&] {
    const auto context = open_context("uring", {.queue_depth = 64, .threads = 3});
    std::vector<std::byte> memory(size);
    worker_watch watch;
    batch reads;
    for (std::size_t at = 0; at < size; at += length) {
      add(reads, read_request(file.get(), std::span(memory).subspan(at, length), at)).then =
          [&](recorded&) { watch.on_completion(); };
    }
    start_all(*context, reads);
    context->run();
    EXPECT_TRUE(all_answered(reads, length));
    EXPECT_TRUE(holds_pattern(memory, 0));
    EXPECT_LE(watch.most(), 3);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// Invariant 15
TEST_F(uring, thousands_of_cold_reads_do_not_make_hundreds_of_kernel_threads) {
  constexpr std::size_t size = 32 << 20;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  ASSERT_EQ(::fsync(file.get()), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  const child_outcome outcome = run_in_child([&] {
    const auto context = open_context("uring", {.queue_depth = 4096});
    std::vector<std::byte> memory(size);
    worker_watch watch;
    batch reads;
    for (std::size_t at = 0; at < size; at += 8192) {
      add(reads, read_request(file.get(), std::span(memory).subspan(at, 4096), at)).then =
          [&](recorded&) { watch.on_completion(); };
    }
    start_all(*context, reads);
    context->run();
    EXPECT_TRUE(all_answered(reads, 4096));
    EXPECT_LE(watch.most(), 16);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
}

}  // namespace
}  // namespace weir::testing
