// What every driver must do, and do alike: each test runs on each driver. Comments number the
// invariants of weir that a test stands for.

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstring>
#include <deque>
#include <optional>
#include <thread>
#include <unordered_map>

#include "perform.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;  // what O_DIRECT is content with everywhere
constexpr std::string_view no_direct = "the file system of $TMPDIR or /var/tmp refuses O_DIRECT";
constexpr std::string_view sync_blocks = "sync carries out in submit: it would block for ever";

/// Counts what the driver has taken and not given back, cancel requests aside.
class counting_driver final : public wrapping_driver {
 public:
  counting_driver(std::unique_ptr<driver> inner, std::size_t& most) noexcept
      : wrapping_driver(std::move(inner)), most_in_flight_(most) {}

  void submit(operation_queue& staged) noexcept override {
    const std::size_t before = staged.size();
    wrapping_driver::submit(staged);
    in_flight_ += before - staged.size();
    most_in_flight_ = std::max(most_in_flight_, in_flight_);
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    const std::size_t before = completed.size();
    wrapping_driver::reap(completed, until);
    in_flight_ -= completed.size() - before;
  }

 private:
  std::size_t& most_in_flight_;
  std::size_t in_flight_ = 0;
};

/// A disk that moves at most so many bytes at a time, and remembers what happened to it.
class short_driver final : public wrapping_driver {
 public:
  struct event {
    enum { submitted, completed } what;
    opcode op;
  };

  short_driver(std::unique_ptr<driver> inner, std::uint64_t most, std::vector<event>& log)
      : wrapping_driver(std::move(inner)), most_(most), log_(log) {}

  void submit(operation_queue& staged) noexcept override {
    operation_queue shortened;
    std::vector<event> handed;
    while (!staged.empty()) {
      operation& op = staged.pop_front();
      handed.push_back({event::submitted, op.args.op});
      const bool transfer = op.args.op == opcode::read || op.args.op == opcode::write;
      if (transfer && op.args.length > most_) {
        asked_[&op] = op.args.length;
        op.args.length = most_;
      }
      shortened.push_back(op);
    }
    wrapping_driver::submit(shortened);
    handed.resize(handed.size() - shortened.size());  // the rest comes again
    log_.insert(log_.end(), handed.begin(), handed.end());
    staged = std::move(shortened);
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    operation_queue finished;
    wrapping_driver::reap(finished, until);
    while (!finished.empty()) {
      operation& op = finished.pop_front();
      log_.push_back({event::completed, op.args.op});
      if (const auto found = asked_.find(&op); found != asked_.end()) {
        op.args.length = found->second;
        asked_.erase(found);
      }
      completed.push_back(op);
    }
  }

 private:
  const std::uint64_t most_;
  std::vector<event>& log_;
  std::unordered_map<operation*, std::uint64_t> asked_;
};

class conformance : public driver_test {
 protected:
  std::string_view driver_name() const { return GetParam(); }

  /// Whether a read of an empty pipe leaves the context's thread free.
  bool can_be_blocked() const { return innermost(driver_name()) != "sync"; }
  /// Whether it can be stopped again.
  bool can_stop_blocked() const { return innermost(driver_name()) == "uring"; }

  io_context& context(const driver_options& options = {}) {
    if (!context_) context_ = open_context(driver_name(), options);
    return *context_;
  }
  io_context& context_on(std::unique_ptr<driver> driver) {
    context_ = std::make_unique<io_context>(std::move(driver));
    return *context_;
  }

  std::int32_t answer_to(const request& what) {
    recorded op(what);
    context().start(op);
    context().run();
    EXPECT_EQ(op.completions, 1);
    return op.answer();
  }

  /// Moves all of `memory`, all pieces at once; each must be moved whole.
  void transfer(opcode op, int fd, std::span<std::byte> memory, std::size_t piece,
                std::uint8_t hints = 0) {
    batch pieces;
    for (std::size_t at = 0; at < memory.size(); at += piece) {
      add(pieces, {.op = op,
                   .hints = hints,
                   .fd = fd,
                   .address = memory.data() + at,
                   .offset = at,
                   .length = piece});
    }
    start_all(context(), pieces);
    context().run();
    EXPECT_TRUE(all_answered(pieces, static_cast<std::int32_t>(piece)));
  }

  /// Until fd() is no longer readable; a driver that goes on for nothing makes its callers spin.
  void settle() {
    for (int turns = 0; readable(context().fd(), 0); ++turns) {
      ASSERT_LT(turns, 4) << "fd() is readable and there is nothing to do";
      context().dispatch(false);
    }
  }

  /// What a cancel says and what becomes of its target must be the same story.
  static void expect_one_story(const recorded& cancel, const recorded& target,
                               std::int32_t own_answer) {
    ASSERT_EQ(cancel.completions, 1);
    ASSERT_EQ(target.completions, 1);
    if (cancel.answer() == 0) {
      EXPECT_EQ(target.answer(), -ECANCELED);
    } else {
      EXPECT_TRUE(cancel.answer() == -EALREADY || cancel.answer() == -ENOENT) << cancel.answer();
      EXPECT_EQ(target.answer(), own_answer);
    }
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

INSTANTIATE_TEST_SUITE_P(drivers, conformance, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

// --- transfers -----------------------------------------------------------------------------------

TEST_P(conformance, reads_what_was_written) {
  constexpr std::size_t odd = 3001;
  const descriptor file = make_file(directory_ / "file");
  std::vector<std::byte> written(100 * odd);
  std::vector<std::byte> read(written.size());
  fill(written, 0);
  transfer(opcode::write, file.get(), written, odd);
  transfer(opcode::read, file.get(), read, odd);
  EXPECT_TRUE(holds_pattern(read, 0));
  EXPECT_EQ(contents_of(directory_ / "file"), written);
}

// Invariant 32
TEST_P(conformance, reads_what_was_written_past_the_page_cache) {
  const descriptor file = open_direct(directory_ / "file");
  if (!file) GTEST_SKIP() << no_direct;
  buffer written(100 * block);
  buffer read(written.size());
  fill(written.span(), 0);
  transfer(opcode::write, file.get(), written.span(), block, hint::direct);
  transfer(opcode::read, file.get(), read.span(), block, hint::direct);
  EXPECT_TRUE(holds_pattern(read.span(), 0));
}

// Space that is not yet allocated, and more than a device's queue holds: where a kernel is asked
// not to wait (RWF_NOWAIT), it refuses or moves only a part.
TEST_P(conformance, moves_mebibytes_past_the_page_cache) {
  const descriptor file = open_direct(directory_ / "file");
  if (!file) GTEST_SKIP() << no_direct;
  constexpr std::size_t mebibyte = 1 << 20;
  buffer written(8 * mebibyte);
  buffer read(written.size());
  fill(written.span(), 0);
  transfer(opcode::write, file.get(), written.span(), mebibyte, hint::direct);
  transfer(opcode::read, file.get(), read.span(), mebibyte, hint::direct);
  EXPECT_TRUE(std::ranges::equal(read.span(), written.span()));
}

// Appending twice what was appended in part would show.
TEST_P(conformance, appends_past_the_page_cache_once) {
  if (!open_direct(directory_ / "file")) GTEST_SKIP() << no_direct;
  const descriptor file = open_file(directory_ / "file", O_WRONLY | O_APPEND | O_DIRECT);
  buffer memory(1 << 20);
  fill(memory.span(), 0);
  for (int i = 0; i < 3; ++i) {
    request what = write_request(file.get(), memory.span());
    what.hints = hint::direct;
    EXPECT_EQ(answer_to(what), 1 << 20);
  }
  const auto now = contents_of(directory_ / "file");
  ASSERT_EQ(now.size(), 3 << 20);
  for (std::size_t at = 0; at < now.size(); at += 1 << 20) {
    EXPECT_TRUE(holds_pattern(std::span(now).subspan(at, 1 << 20), 0));
  }
}

// pipe2(2): a pipe opened O_DIRECT keeps packets apart; it has no place to read again from.
TEST_P(conformance, reads_a_packet_from_a_direct_pipe) {
  pipe_ends pipe = make_pipe(O_DIRECT);
  file source(context(), ::dup(pipe.read.get()));
  std::array<std::byte, 100> memory{};
  pipe.feed(7);
  pipe.feed(5);
  recorded op(source.read_at(std::span(memory), 0).what());
  for (const int size : {7, 5}) {
    op.completions = 0;
    context().start(op);
    context().flush();
    const bool lost = !poll_until(context(), [&] { return op.completions == 1; });
    if (lost) pipe.feed(1);
    context().run();
    ASSERT_FALSE(lost) << "it was read, and then read again";
    EXPECT_TRUE(answered(op, size));
  }
}

TEST_P(conformance, scatters_and_gathers) {
  const descriptor buffered = make_file(directory_ / "buffered");
  const descriptor direct = open_direct(directory_ / "direct");
  for (const descriptor* file : {&buffered, &direct}) {
    if (!*file) continue;
    buffer written(3 * block);
    buffer read(3 * block);
    fill(written.span(), 0);
    std::array<iovec, 2> from{{{written.data(), block}, {written.data() + block, 2 * block}}};
    std::array<iovec, 2> into{{{read.data(), 2 * block}, {read.data() + 2 * block, block}}};
    const std::uint8_t hints = file == &direct ? hint::direct : std::uint8_t{0};
    request what{.op = opcode::writev, .hints = hints, .fd = file->get(), .length = 2};
    what.address = from.data();
    EXPECT_EQ(answer_to(what), 3 * block);
    what.op = opcode::readv;
    what.address = into.data();
    EXPECT_EQ(answer_to(what), 3 * block);
    EXPECT_TRUE(holds_pattern(read.span(), 0));
  }
}

// Invariant 2
TEST_P(conformance, yields_0_at_the_end_of_a_file_and_beyond) {
  const descriptor file = make_patterned_file(directory_ / "file", block);
  const descriptor direct = open_direct(directory_ / "file");
  buffer memory(block);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.span(), block)), 0);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.span(), 100 * block)), 0);
  if (!direct) return;
  request what = read_request(direct.get(), memory.span(), block);
  what.hints = hint::direct;
  EXPECT_EQ(answer_to(what), 0);
}

// Invariant 2
TEST_P(conformance, reads_less_than_asked_near_the_end_of_a_file) {
  constexpr std::size_t size = block + 100;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  const descriptor direct = open_direct(directory_ / "file");
  buffer memory(4 * block);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.span(), 50)), size - 50);
  EXPECT_TRUE(holds_pattern(memory.first(size - 50), 50));
  if (!direct) return;
  request what = read_request(direct.get(), memory.span(), 0);
  what.hints = hint::direct;
  EXPECT_EQ(answer_to(what), size);
  EXPECT_TRUE(holds_pattern(memory.first(size), 0));
}

TEST_P(conformance, reaches_beyond_four_gibibytes) {
  constexpr std::uint64_t far = (std::uint64_t{5} << 30) + 7;
  const descriptor file = make_file(directory_ / "file");
  std::array<std::byte, 100> written{};
  std::array<std::byte, 100> read{};
  fill(written, far);
  EXPECT_EQ(answer_to(write_request(file.get(), written, far)), 100);
  EXPECT_EQ(answer_to(read_request(file.get(), read, far)), 100);
  EXPECT_TRUE(holds_pattern(read, far));
  EXPECT_EQ(answer_to(read_request(file.get(), read, far - (std::uint64_t{1} << 32))), 100);
  EXPECT_TRUE(holds_only(read, std::byte{0}));
}

// /dev/null takes everything at once, so the memory may be one that nobody has.
TEST_P(conformance, moves_at_most_transfer_max_at_once_and_resumes) {
  constexpr std::size_t three_gibibytes = std::size_t{3} << 30;
  void* mapped = ::mmap(nullptr, three_gibibytes, PROT_READ,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const std::span memory(static_cast<const std::byte*>(mapped), three_gibibytes);
  file null(context(), open_file("/dev/null", O_RDWR).release());
  const auto once = write_request(null.native_handle(), memory);
  EXPECT_EQ(answer_to(once), static_cast<std::int32_t>(transfer_max));
  auto whole = [&]() -> task<transfer_result> { co_return co_await null.write_all_at(memory, 0); };
  const transfer_result outcome = context().run(whole());
  EXPECT_EQ(outcome, three_gibibytes);
  EXPECT_EQ(outcome.transferred, three_gibibytes);
  ::munmap(mapped, three_gibibytes);
}

/// Address space of any size, the same few pages over and over.
class repeated_memory {
 public:
  explicit repeated_memory(std::size_t size) : size_(size) {
    const descriptor pages(::memfd_create("pages", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(pages.get(), piece), 0);
    // The kernel writes here behind the sanitizers' backs, so their shadow of it stays untouched.
    void* start =
        ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    start_ = static_cast<std::byte*>(start);
    for (std::size_t at = 0; at < size; at += piece) {
      EXPECT_NE(::mmap(start_ + at, piece, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                       pages.get(), 0),
                MAP_FAILED);
    }
  }
  repeated_memory(const repeated_memory&) = delete;
  repeated_memory& operator=(const repeated_memory&) = delete;
  ~repeated_memory() { ::munmap(start_, size_); }

  std::span<std::byte> span() const { return {start_, size_}; }

 private:
  static constexpr std::size_t piece = 16 << 20;
  std::size_t size_;
  std::byte* start_ = nullptr;
};

TEST_P(conformance, reads_more_than_an_int_counts) {
  constexpr std::size_t size = (std::size_t{2} << 30) + (std::size_t{64} << 20);
  descriptor source(::memfd_create("hole", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(source.get(), static_cast<off_t>(size)), 0);
  std::array<std::byte, 5> last{};
  fill(last, 0);
  ASSERT_EQ(::pwrite(source.get(), last.data(), last.size(), size - last.size()), 5);
  const repeated_memory memory(size);
  file hole(context(), source.release());
  auto whole = [&]() -> task<transfer_result> {
    co_return co_await hole.read_exactly_at(memory.span(), 0);
  };
  EXPECT_EQ(context().run(whole()), size);
  EXPECT_TRUE(holds_pattern(memory.span().last(last.size()), 0));
}

// --- answers -------------------------------------------------------------------------------------

/// Requests that something is wrong with, and the descriptors that they need.
struct odd_requests {
  explicit odd_requests(const temp_directory& directory)
      : path(directory / "file"),
        both(make_patterned_file(path, 2 * block)),
        reading(open_file(path, O_RDONLY)),
        writing(open_file(path, O_WRONLY)),
        folder(open_file(directory.path(), O_RDONLY | O_DIRECTORY)),
        full(open_file("/dev/full", O_WRONLY)),
        empty(make_pipe()),
        direct(open_direct(path)),
        missing(directory / "missing"),
        below_a_file(path + "/x"),
        vectors(2000, iovec{memory.data(), 1}) {
    constexpr std::uint64_t biggest = INT64_MAX;
    const int bad = closed_descriptor();
    for (const opcode op : {opcode::read, opcode::write, opcode::fsync, opcode::fdatasync,
                            opcode::close, opcode::ftruncate, opcode::fallocate}) {
      all.push_back({.op = op, .fd = bad, .address = memory.data(), .length = 10});
      all.push_back({.op = op, .fd = -1, .address = memory.data(), .length = 10});
    }
    for (const opcode op : {opcode::read, opcode::write}) {
      for (const descriptor* on : {&both, &reading, &writing, &folder, &empty.read, &empty.write}) {
        add_transfer(op, on->get(), 0, 0);
      }
      for (const std::uint64_t offset : {biggest, biggest - 5, biggest + 1, UINT64_MAX}) {
        add_transfer(op, both.get(), offset, 10);
      }
      all.push_back({.op = op, .fd = both.get(), .address = nullptr, .length = 10});
      all.push_back({.op = op, .fd = bad, .address = memory.data(), .length = 0});
      all.push_back(
          {.op = op, .fd = both.get(), .flags = 1u << 30, .address = memory.data(), .length = 10});
    }
    add_transfer(opcode::write, reading.get(), 0, 10);
    add_transfer(opcode::write, folder.get(), 0, 10);
    add_transfer(opcode::write, full.get(), 0, 10);
    add_transfer(opcode::read, writing.get(), 0, 10);
    add_transfer(opcode::read, folder.get(), 0, 10);
    add_vectors();
    add_paths();
    all.push_back({.op = opcode::fsync, .fd = empty.read.get()});
    all.push_back({.op = opcode::fdatasync, .fd = empty.read.get()});
    for (const descriptor* on : {&reading, &folder, &empty.read, &both}) {
      all.push_back({.op = opcode::ftruncate, .fd = on->get(), .offset = biggest + 1});
      all.push_back({.op = opcode::fallocate, .fd = on->get(), .length = 0});
      all.push_back({.op = opcode::fallocate, .fd = on->get(), .length = UINT64_MAX});
      all.push_back({.op = opcode::fallocate, .fd = on->get(), .mode = 1u << 30, .length = 10});
      if (on == &both) continue;
      all.push_back({.op = opcode::ftruncate, .fd = on->get(), .offset = 10});
      all.push_back({.op = opcode::fallocate, .fd = on->get(), .length = 10});
    }
    if (!direct) return;
    for (const opcode op : {opcode::read, opcode::write}) {
      add_direct(op, memory.data() + 1, 0, block);  // memory, offset, then length misaligned
      add_direct(op, memory.data(), 7, block);
      add_direct(op, memory.data(), 0, 100);
      add_direct(op, nullptr, 0, block);
      add_direct(op, memory.data(), UINT64_MAX, block);
    }
  }

  void add_transfer(opcode op, int fd, std::uint64_t offset, std::uint64_t length) {
    all.push_back(
        {.op = op, .fd = fd, .address = memory.data(), .offset = offset, .length = length});
  }

  void add_direct(opcode op, void* address, std::uint64_t offset, std::uint64_t length) {
    all.push_back({.op = op,
                   .hints = hint::direct,
                   .fd = direct.get(),
                   .address = address,
                   .offset = offset,
                   .length = length});
  }

  void add_vectors() {
    for (const opcode op : {opcode::readv, opcode::writev}) {
      for (const std::uint64_t count : {std::uint64_t{0}, std::uint64_t{1025}, std::uint64_t{2000},
                                        std::uint64_t{1} << 31, (std::uint64_t{1} << 32) + 1}) {
        all.push_back({.op = op, .fd = both.get(), .address = vectors.data(), .length = count});
      }
      all.push_back({.op = op, .fd = both.get(), .address = nullptr, .length = 3});
      all.push_back({.op = op, .fd = -1, .address = vectors.data(), .length = 3});
    }
  }

  void add_paths() {
    for (std::string* each : {&missing, &below_a_file}) {
      all.push_back({.op = opcode::openat, .fd = AT_FDCWD, .address = each->data()});
      all.push_back({.op = opcode::statx,
                     .fd = AT_FDCWD,
                     .mode = STATX_SIZE,
                     .address = each->data(),
                     .offset = reinterpret_cast<std::uintptr_t>(&status)});
    }
    all.push_back({.op = opcode::openat, .fd = both.get(), .address = name.data()});
    all.push_back({.op = opcode::openat,
                   .fd = AT_FDCWD,
                   .flags = O_CREAT | O_EXCL,
                   .mode = 0644,
                   .address = path.data()});
  }

  std::string path;
  descriptor both, reading, writing, folder, full;
  pipe_ends empty;
  descriptor direct;
  std::string missing, below_a_file;
  std::string name = "file";
  struct statx status{};
  buffer memory{2 * block};
  std::vector<iovec> vectors;
  std::vector<request> all;
};

std::string in_words(const request& what) {
  return "opcode " + std::to_string(static_cast<int>(what.op)) + " fd " + std::to_string(what.fd) +
         " flags " + std::to_string(what.flags) + " mode " + std::to_string(what.mode) +
         (what.address == nullptr ? " null" : "") + " offset " + std::to_string(what.offset) +
         " length " + std::to_string(what.length) + " hints " + std::to_string(what.hints);
}

// Invariant 2. `perform` is the system call itself, and what the sync driver answers.
TEST_P(conformance, answers_odd_requests_as_the_system_call_does) {
  const odd_requests odd(directory_);
  for (const request& what : odd.all) {
    EXPECT_EQ(answer_to(what), detail::perform(what)) << in_words(what);
  }
}

// Invariant 3. In one turn, in one submission: what is refused when it is prepared, what fails when
// it is carried out, and what is fine.
TEST_P(conformance, one_bad_operation_does_not_affect_its_neighbours) {
  const odd_requests odd(directory_);
  const descriptor good = make_patterned_file(directory_ / "good", odd.all.size() * 10);
  std::vector<std::byte> read(odd.all.size() * 10);
  batch bad_ones;
  batch good_ones;
  for (std::size_t i = 0; i < odd.all.size(); ++i) {
    add(bad_ones, odd.all[i]);
    add(good_ones, read_request(good.get(), std::span(read).subspan(10 * i, 10), 10 * i));
    context().start(*bad_ones.back());
    context().start(*good_ones.back());
  }
  context().run();
  EXPECT_TRUE(all_answered(good_ones, 10));
  EXPECT_TRUE(holds_pattern(read, 0));
  for (const auto& op : bad_ones) EXPECT_EQ(op->completions, 1) << in_words(op->args);
}

// Invariant 3. io_submit(2) stops at the first operation that it refuses.
TEST_P(conformance, a_bad_descriptor_does_not_affect_direct_neighbours) {
  const descriptor direct = open_direct(directory_ / "file");
  if (!direct) GTEST_SKIP() << no_direct;
  buffer memory(64 * block);
  fill(memory.span(), 0);
  batch good;
  batch bad;
  for (std::size_t i = 0; i < 64; ++i) {
    request what = write_request(direct.get(), memory.span().subspan(i * block, block), i * block);
    what.hints = hint::direct;
    add(good, what);
    what.fd = closed_descriptor();
    add(bad, what);
    context().start(*bad.back());
    context().start(*good.back());
  }
  context().run();
  EXPECT_TRUE(all_answered(good, block));
  EXPECT_TRUE(all_answered(bad, -EBADF));
  EXPECT_TRUE(holds_pattern(contents_of(directory_ / "file"), 0));
}

// Invariant 2. io_uring waits on such a descriptor, read(2) does not: an operation does on every
// driver. request.hpp says so.
TEST_P(conformance, a_nonblocking_pipe_is_waited_for) {
  const pipe_ends pipe = make_pipe(O_NONBLOCK);
  std::array<std::byte, 10> memory{};
  for (int i = 1; i <= 3; ++i) {
    std::thread feeder([&] { pipe.feed(4); });
    EXPECT_EQ(answer_to(read_request(pipe.read.get(), memory)), 4);
    feeder.join();
  }
}

TEST_P(conformance, a_blocking_pipe_waits) {
  const pipe_ends pipe = make_pipe();
  std::array<std::byte, 10> memory{};
  std::thread feeder([&] { pipe.feed(4); });
  EXPECT_EQ(answer_to(read_request(pipe.read.get(), memory)), 4);
  feeder.join();
}

// Invariant 2
TEST_P(conformance, a_transfer_may_ask_not_to_wait) {
  for (const int flags : {0, O_NONBLOCK}) {
    const pipe_ends pipe = make_pipe(flags);
    std::array<std::byte, 10> memory{};
    request what = read_request(pipe.read.get(), memory);
    what.flags = RWF_NOWAIT;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(answer_to(what), -EAGAIN);
    pipe.feed(3);
    EXPECT_EQ(answer_to(what), 3);
  }
}

// Invariant 2. request.hpp: on a descriptor that cannot seek the offset is ignored.
TEST_P(conformance, a_pipe_ignores_offsets) {
  constexpr std::uint64_t biggest = INT64_MAX - transfer_max;
  const pipe_ends pipe = make_pipe();
  std::array<std::byte, 10> memory{};
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{5}, biggest}) {
    EXPECT_EQ(answer_to(write_request(pipe.write.get(), memory, offset)), 10) << offset;
    pipe.feed(10);
    EXPECT_EQ(answer_to(read_request(pipe.read.get(), memory, offset)), 10) << offset;
  }
  for (const std::uint64_t offset : {biggest + 1, std::uint64_t{INT64_MAX}, UINT64_MAX}) {
    EXPECT_EQ(answer_to(write_request(pipe.write.get(), memory, offset)), -EINVAL) << offset;
    EXPECT_EQ(answer_to(read_request(pipe.read.get(), memory, offset)), -EINVAL) << offset;
  }
}

// --- every opcode --------------------------------------------------------------------------------

TEST_P(conformance, carries_out_every_opcode) {
  std::string path = directory_ / "file";
  std::string empty_path;
  std::array<std::byte, 100> memory{};
  fill(memory, 0);
  EXPECT_EQ(answer_to({.op = opcode::nop}), 0);
  const std::int32_t fd = answer_to({.op = opcode::openat,
                                     .fd = AT_FDCWD,
                                     .flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                                     .mode = 0600,
                                     .address = path.data()});
  ASSERT_GE(fd, 0);
  EXPECT_EQ(answer_to(write_request(fd, memory, 0)), 100);
  memory.fill({});
  EXPECT_EQ(answer_to(read_request(fd, memory, 0)), 100);
  EXPECT_TRUE(holds_pattern(memory, 0));
  std::array<iovec, 1> vector{{{memory.data(), 50}}};
  EXPECT_EQ(
      answer_to(
          {.op = opcode::writev, .fd = fd, .address = vector.data(), .offset = 100, .length = 1}),
      50);
  EXPECT_EQ(answer_to({.op = opcode::readv, .fd = fd, .address = vector.data(), .length = 1}), 50);
  EXPECT_EQ(answer_to({.op = opcode::fsync, .fd = fd}), 0);
  EXPECT_EQ(answer_to({.op = opcode::fdatasync, .fd = fd}), 0);
  EXPECT_EQ(answer_to({.op = opcode::ftruncate, .fd = fd, .offset = 70}), 0);
  struct statx status{};
  const request look{.op = opcode::statx,
                     .fd = fd,
                     .flags = AT_EMPTY_PATH,
                     .mode = STATX_BASIC_STATS,
                     .address = empty_path.data(),
                     .offset = reinterpret_cast<std::uintptr_t>(&status)};
  EXPECT_EQ(answer_to(look), 0);
  EXPECT_EQ(status.stx_size, 70);
  EXPECT_EQ(status.stx_mode & 0777, 0600);
  const request reserve{.op = opcode::fallocate, .fd = fd, .offset = 0, .length = 200'000};
  if (const std::int32_t answer = answer_to(reserve); answer != -EOPNOTSUPP) {
    EXPECT_EQ(answer, 0);
    EXPECT_EQ(answer_to(look), 0);
    EXPECT_EQ(status.stx_size, 200'000);
  }
  EXPECT_EQ(answer_to({.op = opcode::close, .fd = fd}), 0);
  EXPECT_FALSE(is_open(fd));
  recorded never_started{request{}};
  EXPECT_EQ(answer_to(cancel_request(never_started)), -ENOENT);
}

// --- how many, and when --------------------------------------------------------------------------

// Invariant 13
TEST_P(conformance, has_no_more_in_flight_than_the_queue_depth) {
  const descriptor file = make_patterned_file(directory_ / "file", 1000);
  std::vector<std::byte> read(1000);
  std::size_t most = 0;
  context_on(std::make_unique<counting_driver>(open_driver_named(driver_name(), {.queue_depth = 4}),
                                               most));
  transfer(opcode::read, file.get(), read, 1);
  EXPECT_TRUE(holds_pattern(read, 0));
  EXPECT_EQ(most, 4);
}

// Invariant 13. None of these can finish before the last has been taken.
TEST_P(conformance, takes_no_more_than_the_queue_depth_while_all_are_blocked) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  std::size_t most = 0;
  context_on(std::make_unique<counting_driver>(open_driver_named(driver_name(), {.queue_depth = 4}),
                                               most));
  std::array<std::byte, 20> memory{};
  batch reads;
  for (std::byte& each : memory) add(reads, read_request(pipe.read.get(), {&each, 1}));
  start_all(context(), reads);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(context().dispatch(false), 0);
  EXPECT_EQ(most, 4);
  pipe.feed(memory.size());
  context().run();
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_EQ(most, 4);
}

// Invariants 1 and 13
TEST_P(conformance, any_number_may_be_outstanding_and_each_completes_once) {
  constexpr std::size_t count = 10'000;
  const descriptor file = make_patterned_file(directory_ / "file", count);
  std::vector<std::byte> read(count);
  batch reads;
  for (std::size_t i = 0; i < count; ++i) {
    add(reads, read_request(file.get(), std::span(read).subspan(i, 1), i));
  }
  context().flush();  // makes this thread the context's
  start_all(context(), reads);
  EXPECT_EQ(context().outstanding(), count);
  context().run();
  EXPECT_EQ(context().outstanding(), 0);
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_TRUE(holds_pattern(read, 0));
}

// Invariant 5. Were a completion run inside submit, the stack would grow with each.
TEST_P(conformance, a_completion_may_start_the_next_operation) {
  int left = 20'000;
  recorded op({}, [&](recorded& self) {
    if (--left > 0) context().start(self);
  });
  context().start(op);
  context().run();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(op.completions, 20'000);
}

// Invariants 1 and 5
TEST_P(conformance, completions_may_start_more_than_the_queue_holds) {
  context({.queue_depth = 2});
  batch second;
  for (int i = 0; i < 100; ++i) add(second, {});
  recorded first({}, [&](recorded&) { start_all(context(), second); });
  context().start(first);
  context().run();
  EXPECT_TRUE(answered(first, 0));
  EXPECT_TRUE(all_answered(second, 0));
}

// Invariants 1 and 5
TEST_P(conformance, operations_may_be_started_from_any_thread) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 3'000;
  const descriptor file = make_patterned_file(directory_ / "file", threads * each);
  std::vector<std::byte> read(threads * each);
  const auto own_thread = std::this_thread::get_id();
  std::size_t done = 0;
  std::size_t elsewhere = 0;
  batch reads;
  for (std::size_t i = 0; i < threads * each; ++i) {
    add(reads, read_request(file.get(), std::span(read).subspan(i, 1), i)).then = [&](recorded&) {
      ++done;
      if (std::this_thread::get_id() != own_thread) ++elsewhere;
    };
  }
  io_context& on = context();
  std::vector<std::thread> starters;
  for (std::size_t t = 0; t < threads; ++t) {
    starters.emplace_back([&, t] {
      for (std::size_t i = 0; i < each; ++i) on.start(*reads[t * each + i]);
    });
  }
  drive_until(on, [&] { return done == threads * each; });
  for (std::thread& starter : starters) starter.join();
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_TRUE(holds_pattern(read, 0));
  EXPECT_EQ(elsewhere, 0);
}

// Each operation is started after the one before it has completed: so mostly the context waits.
TEST_P(conformance, an_operation_from_another_thread_ends_the_wait) {
  std::atomic<int> rounds = 0;
  constexpr int all = 2'000;
  recorded op({}, [&](recorded&) {
    rounds.fetch_add(1);
    rounds.notify_one();
  });
  io_context& on = context();
  std::thread starter([&] {
    for (int i = 0; i < all; ++i) {
      on.start(op);
      rounds.wait(i);
    }
  });
  drive_until(on, [&] { return op.completions == all; });
  starter.join();
  EXPECT_EQ(on.outstanding(), 0);
}

// Invariant 16
TEST_P(conformance, a_blocked_operation_does_not_hold_up_the_others) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  std::byte byte{};
  recorded blocked(read_request(pipe.read.get(), {&byte, 1}));
  context().start(blocked);
  std::array<std::byte, 100> read{};
  batch reads;
  for (std::size_t i = 0; i < 100; ++i) {
    add(reads, read_request(file.get(), std::span(read).subspan(i, 1), i));
  }
  start_all(context(), reads);
  drive_until(context(), [&] { return context().outstanding() == 1; });
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_EQ(blocked.completions, 0);
  pipe.feed(1);
  context().run();
  EXPECT_TRUE(answered(blocked, 1));
}

// --- waiting, waking and fd() --------------------------------------------------------------------

TEST_P(conformance, wake_before_a_wait_ends_it) {
  const auto driver = open_driver_named(driver_name());
  operation_queue nothing;
  for (int i = 0; i < 100; ++i) {
    driver->wake();
    driver->wake();
    driver->reap(nothing, deadline::never());
    EXPECT_TRUE(nothing.empty());
  }
}

TEST_P(conformance, wake_during_a_wait_ends_it) {
  const auto driver = open_driver_named(driver_name());
  std::atomic<int> returned = 0;
  constexpr int all = 1'000;
  std::thread waker([&] {
    for (int i = 0; i < all; ++i) {
      driver->wake();
      returned.wait(i);
    }
  });
  operation_queue nothing;
  for (int i = 0; i < all; ++i) {
    driver->reap(nothing, deadline::never());
    returned.fetch_add(1);
    returned.notify_one();
  }
  waker.join();
  EXPECT_TRUE(nothing.empty());
}

TEST_P(conformance, a_wait_ends_when_its_deadline_has_passed) {
  using std::chrono::steady_clock;
  const auto driver = open_driver_named(driver_name());
  operation_queue nothing;
  driver->reap(nothing, deadline::now());
  driver->reap(nothing, {.monotonic_ns = 1});  // long ago
  const auto until = steady_clock::now() + std::chrono::milliseconds(20);
  while (steady_clock::now() < until) {
    const auto before = steady_clock::now();
    driver->reap(nothing, {std::chrono::nanoseconds(until.time_since_epoch()).count()});
    // Early by a wake-up of the driver's own, perhaps; but not by spinning.
    EXPECT_TRUE(steady_clock::now() >= until ||
                steady_clock::now() - before > std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(nothing.empty());
}

TEST_P(conformance, fd_is_readable_exactly_when_there_is_work) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded op(read_request(pipe.read.get(), {&byte, 1}));
  for (int i = 1; i <= 50; ++i) {
    op.completions = 0;
    context().start(op);
    context().flush();
    settle();
    ASSERT_FALSE(readable(context().fd(), 0));
    pipe.feed(1);
    ASSERT_TRUE(poll_until(context(), [&] { return op.completions == 1; }));
    ASSERT_TRUE(answered(op, 1));
    settle();
  }
}

TEST_P(conformance, fd_shows_what_was_started_before_a_flush) {
  const descriptor file = make_patterned_file(directory_ / "file", 1000);
  std::array<std::byte, 1000> read{};
  recorded op(read_request(file.get(), read));
  for (int i = 0; i < 200; ++i) {
    op.completions = 0;
    context().start(op);
    context().flush();
    ASSERT_TRUE(poll_until(context(), [&] { return op.completions == 1; }));
    ASSERT_TRUE(answered(op, 1000));
  }
  settle();
}

TEST_P(conformance, fd_shows_what_another_thread_has_started) {
  std::atomic<int> rounds = 0;
  constexpr int all = 500;
  recorded op({}, [&](recorded&) {
    rounds.fetch_add(1);
    rounds.notify_one();
  });
  io_context& on = context();
  on.flush();
  std::thread starter([&] {
    for (int i = 0; i < all; ++i) {
      on.start(op);
      rounds.wait(i);
    }
  });
  EXPECT_TRUE(poll_until(on, [&] { return op.completions == all; }));
  drive_until(on, [&] { return op.completions == all; });
  starter.join();
  settle();
}

// A program's event loop mostly sleeps when its file operations end.
TEST_P(conformance, fd_wakes_a_thread_that_sleeps_in_poll) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  const int polling = this_thread();
  std::byte byte{};
  recorded op(read_request(pipe.read.get(), {&byte, 1}));
  for (int i = 0; i < 20; ++i) {
    op.completions = 0;
    context().start(op);
    context().flush();
    settle();
    std::thread feeder([&] {
      EXPECT_TRUE(eventually([&] { return is_asleep(polling); }));
      pipe.feed(1);
    });
    const bool shown = poll_until(context(), [&] { return op.completions == 1; });
    feeder.join();
    context().run();
    ASSERT_TRUE(shown) << "poll(2) slept on";
    ASSERT_TRUE(answered(op, 1));
  }
}

TEST_P(conformance, fd_wakes_a_thread_that_sleeps_in_poll_when_another_starts_something) {
  const int polling = this_thread();
  io_context& on = context();
  recorded op{request{}};
  on.start(op);
  on.run();  // so that there has been a turn
  for (int i = 0; i < 20; ++i) {
    op.completions = 0;
    settle();
    std::thread starter([&] {
      EXPECT_TRUE(eventually([&] { return is_asleep(polling); }));
      on.start(op);
    });
    const bool shown = poll_until(on, [&] { return op.completions == 1; });
    starter.join();
    on.run();
    ASSERT_TRUE(shown) << "poll(2) slept on";
    ASSERT_TRUE(answered(op, 0));
  }
}

TEST_P(conformance, fd_of_a_context_that_was_never_driven_shows_what_was_started) {
  recorded op{request{}};
  io_context& on = context();
  std::thread([&] { on.start(op); }).join();
  EXPECT_TRUE(readable(on.fd(), 4'000));
  on.run();
  EXPECT_TRUE(answered(op, 0));
}

TEST_P(conformance, fd_shows_what_its_own_thread_has_started_if_asked_to) {
  io_context& on = context();
  recorded op{request{}};
  on.show_starts(true);
  for (int i = 0; i < 20; ++i) {
    op.completions = 0;
    settle();
    on.start(op);
    ASSERT_TRUE(poll_until(on, [&] { return op.completions == 1; }));
  }
  on.show_starts(false);
  settle();
  on.start(op);
  EXPECT_FALSE(readable(on.fd(), 0));
  on.run();
}

TEST_P(conformance, fd_shows_what_was_started_before_it_was_asked_to) {
  io_context& on = context();
  recorded op{request{}};
  settle();
  on.start(op);
  on.show_starts(true);
  EXPECT_TRUE(poll_until(on, [&] { return op.completions == 1; }));
  recorded second{request{}};
  recorded first({}, [&](recorded&) { on.start(second); });
  on.start(first);
  EXPECT_TRUE(poll_until(on, [&] { return second.completions == 1; }));
}

// More than fits at once, so that a turn leaves some behind.
TEST_P(conformance, fd_serves_an_epoll_loop_through_a_small_queue) {
  context({.queue_depth = 3});
  const descriptor poller(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event wanted{.events = EPOLLIN, .data = {}};
  ASSERT_EQ(::epoll_ctl(poller.get(), EPOLL_CTL_ADD, context().fd(), &wanted), 0);
  const descriptor file = make_patterned_file(directory_ / "file", 500);
  std::array<std::byte, 500> read{};
  std::size_t done = 0;
  batch reads;
  for (std::size_t i = 0; i < read.size(); ++i) {
    add(reads, read_request(file.get(), std::span(read).subspan(i, 1), i)).then = [&](recorded&) {
      ++done;
    };
  }
  start_all(context(), reads);
  context().flush();
  epoll_event event{};
  while (done < read.size()) {
    const int shown = ::epoll_wait(poller.get(), &event, 1, 4'000);
    EXPECT_TRUE(shown == 1 || (shown < 0 && errno == EINTR));
    if (shown == 0) break;
    context().dispatch(false);
  }
  EXPECT_EQ(done, read.size()) << "fd() does not show what there is to do";
  context().run();
  EXPECT_TRUE(all_answered(reads, 1));
  settle();
}

// Invariant 30
TEST_P(conformance, signals_do_not_disturb_a_waiting_context) {
  struct sigaction counting{};
  counting.sa_handler = [](int) {};  // and no SA_RESTART: system calls are interrupted
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &counting, &before), 0);
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded op(read_request(pipe.read.get(), {&byte, 1}));
  context().start(op);
  const pthread_t waiting = ::pthread_self();
  std::thread storm([&] {
    for (int i = 0; i < 20'000; ++i) ::pthread_kill(waiting, SIGUSR1);
    pipe.feed(1);
  });
  EXPECT_EQ(context().dispatch(true), 1);
  storm.join();
  EXPECT_TRUE(answered(op, 1));
  ::sigaction(SIGUSR1, &before, nullptr);
}

// Invariant 30
TEST_P(conformance, signals_do_not_disturb_transfers) {
  struct sigaction counting{};
  counting.sa_handler = [](int) {};
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGALRM, &counting, &before), 0);
  itimerval storm{.it_interval = {.tv_sec = 0, .tv_usec = 100},
                  .it_value = {.tv_sec = 0, .tv_usec = 100}};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &storm, nullptr), 0);
  const descriptor file = make_file(directory_ / "file");
  std::vector<std::byte> memory(1 << 20);
  fill(memory, 0);
  for (int i = 0; i < 10; ++i) {
    transfer(opcode::write, file.get(), memory, block);
    EXPECT_EQ(answer_to({.op = opcode::fdatasync, .fd = file.get()}), 0);
    transfer(opcode::read, file.get(), memory, block);
  }
  storm = {};
  ::setitimer(ITIMER_REAL, &storm, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_TRUE(holds_pattern(memory, 0));
}

// --- cancelling ----------------------------------------------------------------------------------

TEST_P(conformance, cancelling_what_was_never_started_answers_enoent) {
  recorded target{request{}};
  EXPECT_EQ(answer_to(cancel_request(target)), -ENOENT);
  EXPECT_EQ(target.completions, 0);
}

TEST_P(conformance, cancelling_what_has_completed_answers_enoent) {
  recorded target{request{}};
  context().start(target);
  context().run();
  EXPECT_EQ(answer_to(cancel_request(target)), -ENOENT);
  EXPECT_TRUE(answered(target, 0));
}

// Also on sync: the kernel never hears of it.
TEST_P(conformance, cancelling_what_is_staged_withdraws_it) {
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded target(read_request(pipe.read.get(), {&byte, 1}));
  recorded cancel(cancel_request(target));
  context().start(target);
  context().start(cancel);
  context().run();
  EXPECT_TRUE(answered(cancel, 0));
  EXPECT_TRUE(answered(target, -ECANCELED));
}

TEST_P(conformance, what_was_cancelled_may_be_started_again) {
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded target(read_request(pipe.read.get(), {&byte, 1}));
  recorded cancel(cancel_request(target));
  context().start(target);
  context().start(cancel);
  context().run();
  ASSERT_TRUE(answered(target, -ECANCELED));
  pipe.feed(1);
  target.completions = 0;
  context().start(target);
  context().run();
  EXPECT_TRUE(answered(target, 1));
}

// Where the kernel can stop it, it is stopped; a thread's system call goes on.
TEST_P(conformance, cancelling_a_blocked_read_stops_it_or_says_that_it_goes_on) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded target(read_request(pipe.read.get(), {&byte, 1}));
  recorded cancel(cancel_request(target));
  context().start(target);
  context().flush();
  context().start(cancel);
  drive_until(context(), [&] { return cancel.completions == 1; });
  if (cancel.answer() != 0) pipe.feed(1);
  context().run();
  expect_one_story(cancel, target, 1);
  EXPECT_TRUE(!can_stop_blocked() || cancel.answer() == 0);
}

TEST_P(conformance, a_target_may_be_cancelled_twice) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded target(read_request(pipe.read.get(), {&byte, 1}));
  recorded first(cancel_request(target));
  recorded second(cancel_request(target));
  context().start(target);
  context().flush();
  context().start(first);
  context().start(second);
  drive_until(context(), [&] { return first.completions + second.completions == 2; });
  const bool stopped = first.answer() == 0 || second.answer() == 0;
  if (!stopped) pipe.feed(1);
  context().run();
  EXPECT_TRUE(answered(target, stopped ? -ECANCELED : 1));
  EXPECT_EQ(first.completions, 1);
  EXPECT_EQ(second.completions, 1);
}

TEST_P(conformance, what_is_staged_may_be_cancelled_twice) {
  recorded target{request{}};
  recorded first(cancel_request(target));
  recorded second(cancel_request(target));
  for (recorded* each : {&target, &first, &second}) context().start(*each);
  context().run();
  EXPECT_TRUE(answered(target, -ECANCELED));
  EXPECT_TRUE(answered(first, 0));
  EXPECT_TRUE(answered(second, 0));
}

// Invariant 13. The cancel does not wait behind the queue that its target is stuck in.
// Nor what is to be heard of meanwhile: a deadline is there for a disk that does not answer.
TEST_P(conformance, a_full_queue_does_not_hold_up_a_timeout_or_a_poll) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends never = make_pipe();
  const pipe_ends fed = make_pipe();
  fed.feed(1);
  context({.queue_depth = 2, .threads = 2});
  std::array<std::byte, 8> memory{};
  batch reads;
  for (std::byte& each : memory) add(reads, read_request(never.read.get(), {&each, 1}));
  start_all(context(), reads);
  context().dispatch(false);
  recorded time({.op = opcode::timeout});
  recorded ready({.op = opcode::poll, .fd = fed.read.get(), .flags = POLLIN});
  context().start(time);
  context().start(ready);
  drive_until(context(), [&] { return time.completions == 1 && ready.completions == 1; });
  EXPECT_TRUE(answered(time, 0));
  EXPECT_TRUE(answered(ready, POLLIN));
  never.feed(memory.size());
  context().run();
  EXPECT_TRUE(all_answered(reads, 1));
}

TEST_P(conformance, a_full_queue_does_not_hold_up_a_cancel) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  context({.queue_depth = 4, .threads = 4});
  std::array<std::byte, 8> memory{};
  batch reads;
  for (std::byte& each : memory) add(reads, read_request(pipe.read.get(), {&each, 1}));
  start_all(context(), reads);
  context().flush();
  recorded cancel_waiting(cancel_request(*reads[7]));
  recorded cancel_blocked(cancel_request(*reads[0]));
  context().start(cancel_waiting);
  context().start(cancel_blocked);
  drive_until(context(),
              [&] { return cancel_waiting.completions + cancel_blocked.completions == 2; });
  EXPECT_TRUE(answered(cancel_waiting, 0));
  EXPECT_TRUE(answered(*reads[7], -ECANCELED));
  pipe.feed(memory.size());
  context().run();
  expect_one_story(cancel_blocked, *reads[0], 1);
  for (std::size_t i = 1; i < 7; ++i) EXPECT_TRUE(answered(*reads[i], 1));
}

TEST_P(conformance, any_number_of_cancels_may_be_started) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  context({.queue_depth = 4, .threads = 4});
  std::vector<std::byte> memory(300);
  batch reads;
  batch cancels;
  for (std::byte& each : memory) add(reads, read_request(pipe.read.get(), {&each, 1}));
  for (const auto& each : reads) add(cancels, cancel_request(*each));
  start_all(context(), reads);
  context().flush();
  start_all(context(), cancels);
  drive_until(context(), [&] {
    return std::ranges::all_of(cancels, [](const auto& each) { return each->completions == 1; });
  });
  pipe.feed(memory.size());
  context().run();
  for (std::size_t i = 0; i < reads.size(); ++i) expect_one_story(*cancels[i], *reads[i], 1);
}

TEST_P(conformance, a_cancel_may_come_from_another_thread) {
  const pipe_ends pipe = make_pipe();
  io_context& on = context();
  for (int i = 0; i < 300; ++i) {
    std::byte byte{};
    recorded target(read_request(pipe.read.get(), {&byte, 1}));
    recorded cancel(cancel_request(target), [&](recorded& self) {
      if (self.answer() != 0) pipe.feed(1);
    });
    // On sync nothing is in flight between turns: there the cancel has to come first.
    on.start(target);
    if (can_be_blocked()) on.flush();
    std::thread canceller([&] { on.start(cancel); });
    if (!can_be_blocked()) canceller.join();
    drive_until(on, [&] { return cancel.completions + target.completions == 2; });
    if (can_be_blocked()) canceller.join();
    expect_one_story(cancel, target, 1);
  }
}

// Invariant 4. Either the byte was read, or it is still in the pipe.
TEST_P(conformance, a_cancel_that_races_with_the_kernel_loses_nothing) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  const pipe_ends pipe = make_pipe();
  for (int i = 0; i < 500; ++i) {
    std::byte byte{};
    recorded target(read_request(pipe.read.get(), {&byte, 1}));
    recorded cancel(cancel_request(target));
    context().start(target);
    if (i % 2 == 0) context().flush();
    pipe.feed(1);
    context().start(cancel);
    context().run();
    expect_one_story(cancel, target, 1);
    const std::size_t left = bytes_in(pipe);
    ASSERT_EQ(left, target.answer() == 1 ? 0 : 1);
    ASSERT_EQ(left, left == 0 ? 0 : ::read(pipe.read.get(), &byte, 1));
  }
}

// Invariant 4. The pipe is full, and more is to follow, when the cancel comes.
TEST_P(conformance, a_cancelled_write_that_has_begun_says_how_much_it_wrote) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  pipe_ends pipe = make_pipe();
  std::vector<std::byte> memory(200'000);
  fill(memory, 0);
  recorded target(write_request(pipe.write.get(), memory));
  recorded cancel(cancel_request(target));
  context().start(target);
  context().flush();
  ASSERT_TRUE(eventually([&] {
    context().dispatch(false);
    return bytes_in(pipe) > 0;
  }));
  context().start(cancel);
  drive_until(context(), [&] { return cancel.completions == 1; });
  std::vector<std::byte> arrived(memory.size());
  std::size_t count = 0;
  while (target.completions == 0 || bytes_in(pipe) > 0) {
    if (readable(pipe.read.get(), 1)) {
      const auto more = ::read(pipe.read.get(), &arrived[count], arrived.size() - count);
      count += static_cast<std::size_t>(std::max<ssize_t>(more, 0));
    }
    context().dispatch(false);
  }
  EXPECT_TRUE(answered(target, static_cast<std::int32_t>(count)));
  EXPECT_NE(cancel.answer(), 0) << "it was not stopped before it had begun";
  EXPECT_TRUE(holds_pattern(std::span(arrived).first(count), 0));
}

// Invariant 4
TEST_P(conformance, cancelled_writes_have_been_done_whole_or_not_at_all) {
  const descriptor file = make_file(directory_ / "file", 400 * block);
  std::vector<std::byte> memory(400 * block);
  fill(memory, 0);
  batch writes;
  batch cancels;
  for (std::size_t i = 0; i < 400; ++i) {
    add(writes, write_request(file.get(), std::span(memory).subspan(i * block, block), i * block));
    add(cancels, cancel_request(*writes.back()));
  }
  start_all(context({.queue_depth = 32}), writes);
  context().flush();
  start_all(context(), cancels);
  context().run();
  const auto on_disk = contents_of(directory_ / "file");
  for (std::size_t i = 0; i < 400; ++i) {
    expect_one_story(*cancels[i], *writes[i], block);
    const auto part = std::span(on_disk).subspan(i * block, block);
    if (writes[i]->answer() == -ECANCELED) {
      EXPECT_TRUE(holds_only(part, std::byte{0}));
    } else {
      EXPECT_TRUE(holds_pattern(part, i * block));
    }
  }
}

// --- files ---------------------------------------------------------------------------------------

// Invariant 7
TEST_P(conformance, a_travelling_buffer_comes_back_whatever_happens) {
  file good(context(), make_patterned_file(directory_ / "file", block).release());
  file unreadable(context(), open_file(directory_ / "file", O_WRONLY).release());
  file closed;
  auto travel = [&]() -> task<> {
    for (file* each : {&good, &unreadable, &closed}) {
      buffer memory(block);
      const std::byte* const where = memory.data();
      buffer_result back = co_await each->read_at(std::move(memory), 0);
      EXPECT_EQ(back.data.data(), where);
      EXPECT_EQ(back.data.size(), block);
      EXPECT_EQ(back.transferred.has_value(), each == &good);
    }
    buffer memory(block);
    buffer_result read = co_await good.read_at(std::move(memory), 0);
    EXPECT_EQ(read.transferred, block);
    EXPECT_TRUE(holds_pattern(read.data.span(), 0));
    buffer_result written = co_await good.write_at(std::move(read.data), block);
    EXPECT_EQ(written.transferred, block);
    EXPECT_EQ(written.data.size(), block);
  };
  context().run(travel());
}

// Invariant 7. The context shuts down, and the buffer comes back to whoever waits for it.
TEST_P(conformance, a_travelling_buffer_comes_back_from_a_context_that_shuts_down) {
  const pipe_ends pipe = make_pipe();
  file source(context(), ::dup(pipe.read.get()));
  std::optional<buffer_result> back;
  auto travel = [&]() -> task<> {
    buffer memory(block);
    back.emplace(co_await source.read_at(std::move(memory), 0));
  };
  spawn(context(), travel());
  context_.reset();
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->data.size(), block);
  EXPECT_EQ(back->transferred.error(), std::errc::operation_canceled);
}

// Invariants 9 and 18
TEST_P(conformance, short_writes_are_resumed_within_their_range_and_synced_after) {
  std::vector<short_driver::event> log;
  context_on(std::make_unique<short_driver>(open_driver_named(driver_name()), 100, log));
  descriptor made = make_file(directory_ / "file");
  const std::vector<std::byte> old(3000, std::byte{0xee});
  ASSERT_EQ(::pwrite(made.get(), old.data(), old.size(), 0), 3000);
  file target(context(), made.release());
  std::vector<std::byte> memory(1234);
  fill(memory, 700);
  auto save = [&]() -> task<> {
    const transfer_result written = co_await target.write_all_at(memory, 700);
    EXPECT_EQ(written, 1234);
    EXPECT_EQ(written.transferred, 1234);
    const result<void> synced = co_await target.sync();
    EXPECT_TRUE(synced.has_value());
  };
  context().run(save());
  const auto now = contents_of(directory_ / "file");
  ASSERT_EQ(now.size(), 3000);
  EXPECT_TRUE(holds_only(std::span(now).first(700), std::byte{0xee}));
  EXPECT_TRUE(holds_pattern(std::span(now).subspan(700, 1234), 700));
  EXPECT_TRUE(holds_only(std::span(now).subspan(700 + 1234), std::byte{0xee}));

  // Thirteen writes, each ended before the next began; then the one fsync.
  using event = short_driver::event;
  std::vector<std::pair<int, opcode>> happened;
  for (const event& each : log) happened.emplace_back(each.what, each.op);
  std::vector<std::pair<int, opcode>> expected;
  for (int i = 0; i < 13; ++i) {
    expected.emplace_back(event::submitted, opcode::write);
    expected.emplace_back(event::completed, opcode::write);
  }
  expected.emplace_back(event::submitted, opcode::fsync);
  expected.emplace_back(event::completed, opcode::fsync);
  EXPECT_EQ(happened, expected);
}

// Invariant 9
TEST_P(conformance, short_reads_are_resumed_within_their_range) {
  std::vector<short_driver::event> log;
  context_on(std::make_unique<short_driver>(open_driver_named(driver_name()), 7, log));
  file source(context(), make_patterned_file(directory_ / "file", 2000).release());
  std::vector<std::byte> memory(1000, std::byte{0xee});
  const auto wanted = std::span(memory).subspan(100, 800);
  auto load = [&]() -> task<> {
    const transfer_result read = co_await source.read_exactly_at(wanted, 50);
    EXPECT_EQ(read, 800);
    EXPECT_EQ(read.transferred, 800);
  };
  context().run(load());
  EXPECT_TRUE(holds_only(std::span(memory).first(100), std::byte{0xee}));
  EXPECT_TRUE(holds_pattern(wanted, 50));
  EXPECT_TRUE(holds_only(std::span(memory).last(100), std::byte{0xee}));
}

// Invariants 2 and 9
TEST_P(conformance, a_file_that_ends_too_early_says_how_much_there_was) {
  file source(context(), make_patterned_file(directory_ / "file", 500).release());
  std::vector<std::byte> memory(1000, std::byte{0xee});
  auto load = [&]() -> task<transfer_result> {
    co_return co_await source.read_exactly_at(memory, 100);
  };
  const transfer_result read = context().run(load());
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error(), errc::short_read);
  EXPECT_EQ(read.transferred, 400);
  EXPECT_TRUE(holds_pattern(std::span(memory).first(400), 100));
  EXPECT_TRUE(holds_only(std::span(memory).subspan(400), std::byte{0xee}));
}

// Invariants 2 and 32. From an unaligned end O_DIRECT cannot read on, which is no error.
TEST_P(conformance, a_direct_file_that_ends_too_early_says_how_much_there_was) {
  make_patterned_file(directory_ / "file", block + 100);
  descriptor opened = open_direct(directory_ / "file");
  if (!opened) GTEST_SKIP() << no_direct;
  file source(context(), opened.release());
  buffer memory(4 * block);
  auto load = [&]() -> task<transfer_result> {
    co_return co_await source.read_exactly_at(memory.span(), 0);
  };
  const transfer_result read = context().run(load());
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error(), errc::short_read);
  EXPECT_EQ(read.transferred, block + 100);
  EXPECT_TRUE(holds_pattern(memory.first(block + 100), 0));
}

// A pipe gives what it has, and holds less than is written.
TEST_P(conformance, whole_transfers_pass_through_a_pipe) {
  pipe_ends pipe = make_pipe();
  constexpr std::size_t size = 300'000;
  std::vector<std::byte> written(size);
  std::vector<std::byte> read(size);
  fill(written, 0);
  auto other = open_context("sync");
  std::thread reader([&] {
    file source(*other, pipe.read.release());
    auto load = [&]() -> task<transfer_result> {
      co_return co_await source.read_exactly_at(read, 0);
    };
    EXPECT_EQ(other->run(load()), size);
  });
  file target(context(), pipe.write.release());
  auto save = [&]() -> task<transfer_result> {
    co_return co_await target.write_all_at(written, 0);
  };
  EXPECT_EQ(context().run(save()), size);
  reader.join();
  EXPECT_TRUE(holds_pattern(read, 0));
}

TEST_P(conformance, a_whole_read_goes_on_as_a_pipe_is_fed) {
  pipe_ends pipe = make_pipe();
  file source(context(), pipe.read.release());
  std::array<std::byte, 10> memory{};
  std::thread feeder([&] {
    for (int i = 0; i < 10; ++i) pipe.feed(1);
  });
  auto load = [&]() -> task<transfer_result> {
    co_return co_await source.read_exactly_at(memory, 0);
  };
  EXPECT_EQ(context().run(load()), 10);
  feeder.join();
}

// Invariant 19
TEST_P(conformance, a_write_that_fails_part_way_says_how_much_was_written) {
  constexpr std::size_t limit = 300'000;
  const std::string path = directory_ / "file";
  const child_outcome outcome = run_in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit most{.rlim_cur = limit, .rlim_max = limit};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &most), 0);
    file target(context(), make_file(path).release());
    std::vector<std::byte> memory(1 << 20);
    fill(memory, 0);
    auto save = [&]() -> task<transfer_result> {
      co_return co_await target.write_all_at(memory, 0);
    };
    const transfer_result written = context().run(save());
    EXPECT_FALSE(written.has_value());
    EXPECT_EQ(written.error(), std::errc::file_too_large);
    EXPECT_EQ(written.transferred, limit);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
  const auto acknowledged = contents_of(path);
  EXPECT_EQ(acknowledged.size(), limit);
  EXPECT_TRUE(holds_pattern(acknowledged, 0));
}

// Invariant 19
TEST_P(conformance, a_full_disk_is_reported) {
  file full(context(), open_file("/dev/full", O_RDWR).release());
  std::array<std::byte, 10> memory{};
  auto save = [&]() -> task<transfer_result> { co_return co_await full.write_all_at(memory, 0); };
  const transfer_result written = context().run(save());
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error(), std::errc::no_space_on_device);
  EXPECT_EQ(written.transferred, 0);
}

TEST_P(conformance, files_are_opened_changed_looked_at_and_closed) {
  auto live = [&]() -> task<> {
    const std::string path = directory_ / "file";
    const open_options options{.read = true, .write = true, .create = true, .mode = 0600};
    result<file> opened = co_await open(context(), path, options);
    if (!opened) {
      ADD_FAILURE() << opened.error().message();
      co_return;
    }
    const int fd = opened->native_handle();
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    const result<void> truncated = co_await opened->truncate(12'345);
    EXPECT_TRUE(truncated.has_value());
    const result<file_status> status = co_await opened->stat();
    EXPECT_EQ(status.value().size, 12'345);
    EXPECT_EQ(status.value().mode & 0777, 0600);
    const result<void> synced = co_await opened->datasync();
    EXPECT_TRUE(synced.has_value());
    const result<void> closed = co_await opened->close();
    EXPECT_TRUE(closed.has_value());
    EXPECT_FALSE(opened->is_open());
    EXPECT_FALSE(is_open(fd));
  };
  context().run(live());
}

// Invariant 12
TEST_P(conformance, closing_a_file_waits_for_its_operations) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  pipe_ends pipe = make_pipe();
  const int fd = pipe.read.get();
  file source(context(), pipe.read.release());
  std::array<std::byte, 2> memory{};
  std::vector<std::string> happened;
  auto read_one = [&](std::byte& into) -> task<> {
    const result<std::size_t> count = co_await source.read_at(std::span(&into, 1), 0);
    EXPECT_EQ(count, 1);
    happened.emplace_back("read");
  };
  auto close = [&]() -> task<> {
    const result<void> closed = co_await source.close();
    EXPECT_TRUE(closed.has_value());
    happened.emplace_back("closed");
  };
  context().flush();
  spawn(context(), read_one(memory[0]));
  spawn(context(), read_one(memory[1]));
  spawn(context(), close());
  EXPECT_FALSE(source.is_open());
  for (int i = 0; i < 10; ++i) context().dispatch(false);
  EXPECT_TRUE(is_open(fd));
  pipe.feed(1);
  drive_until(context(), [&] { return !happened.empty(); });
  EXPECT_TRUE(is_open(fd));
  pipe.feed(1);
  context().run();
  EXPECT_EQ(happened, (std::vector<std::string>{"read", "read", "closed"}));
  EXPECT_FALSE(is_open(fd));
}

// Invariants 8 and 12
TEST_P(conformance, a_file_destroyed_with_operations_in_flight_closes_after_them) {
  if (!can_be_blocked()) GTEST_SKIP() << sync_blocks;
  pipe_ends pipe = make_pipe();
  const int fd = pipe.read.get();
  std::optional<file> source(std::in_place, context(), pipe.read.release());
  std::byte byte{};
  bool done = false;
  auto read_one = [&]() -> task<> {
    const result<std::size_t> count = co_await source->read_at(std::span(&byte, 1), 0);
    EXPECT_EQ(count, 1);
    done = true;
  };
  context().flush();
  spawn(context(), read_one());
  source.reset();
  for (int i = 0; i < 10; ++i) context().dispatch(false);
  EXPECT_TRUE(is_open(fd)) << "another file could get its number, and the late read";
  pipe.feed(1);
  context().run();
  EXPECT_TRUE(done);
  EXPECT_FALSE(is_open(fd));
}

// Invariant 12. However far the opens had come, nobody is there to close what they opened.
TEST_P(conformance, an_open_that_was_cancelled_too_late_closes_its_descriptor) {
  make_file(directory_ / "file");
  const std::size_t before = count_descriptors();
  for (int i = 0; i < 60; ++i) {
    auto local = open_context(driver_name(), {.queue_depth = 8});
    int opened = 0;
    int cancelled = 0;
    io_context& on = *local;  // still there when `local` already says otherwise
    auto open_it = [&]() -> task<> {
      const result<file> got = co_await open(on, directory_ / "file");
      ++(got ? opened : cancelled);
      EXPECT_TRUE(got || got.error() == std::errc::operation_canceled);
    };
    if (i % 3 != 0) on.flush();
    for (int n = 0; n < 20; ++n) spawn(on, open_it());
    if (i % 3 == 2) on.flush();
    local.reset();
    EXPECT_EQ(opened + cancelled, 20);
  }
  EXPECT_EQ(count_descriptors(), before);
}

// --- the end -------------------------------------------------------------------------------------

// Invariants 1 and 29
TEST_P(conformance, destroying_a_busy_context_runs_every_completion) {
  pipe_ends pipe = make_pipe();
  context({.queue_depth = 4, .threads = 1});
  std::array<std::byte, 20> memory{};
  batch reads;
  for (std::byte& each : memory) {
    // What a thread is blocked in cannot be cancelled: the first that was ends it.
    add(reads, read_request(pipe.read.get(), {&each, 1})).then = [&](recorded& self) {
      if (self.answer() == -ECANCELED) pipe.write.reset();
    };
  }
  start_all(context(), reads);
  if (can_be_blocked()) context().flush();
  context_.reset();
  int stopped = 0;
  for (const auto& op : reads) {
    EXPECT_EQ(op->completions, 1);
    EXPECT_TRUE(op->answer() == -ECANCELED || op->answer() == 0) << op->answer();
    if (op->answer() == -ECANCELED) ++stopped;
  }
  // At most one was with a thread.
  EXPECT_GE(stopped, can_stop_blocked() || !can_be_blocked() ? 20 : 19);
}

// Invariants 1 and 29
TEST_P(conformance, what_completions_start_while_a_context_ends_is_cancelled) {
  io_context& ending = context();
  recorded late{request{}};
  recorded first({}, [&](recorded&) { ending.start(late); });
  ending.start(first);
  context_.reset();
  EXPECT_TRUE(answered(first, -ECANCELED));
  EXPECT_TRUE(answered(late, -ECANCELED));
}

// Invariants 1 and 29
TEST_P(conformance, what_was_posted_and_never_driven_is_cancelled) {
  recorded here{request{}};
  recorded there{request{}};
  context().start(here);
  std::thread([&] { context().start(there); }).join();
  context_.reset();
  EXPECT_TRUE(answered(here, -ECANCELED));
  EXPECT_TRUE(answered(there, -ECANCELED));
}

// Invariant 29
TEST_P(conformance, leaves_no_thread_and_no_descriptor_behind) {
  const descriptor file = make_patterned_file(directory_ / "file", 64 * block);
  std::vector<std::byte> memory(64 * block);
  const std::size_t threads = count_threads();
  const std::size_t descriptors = count_descriptors();
  open_context(driver_name()).reset();  // one that was never used
  EXPECT_EQ(count_descriptors(), descriptors);
  for (int i = 0; i < 5; ++i) {
    transfer(opcode::read, file.get(), memory, block);
    EXPECT_EQ(answer_to({.op = opcode::fsync, .fd = file.get()}), 0);
    EXPECT_EQ(answer_to({.op = opcode::ftruncate, .fd = file.get(), .offset = 64 * block}), 0);
    context_.reset();
    EXPECT_EQ(count_descriptors(), descriptors);
  }
  // The kernel ends its own workers in its own time.
  EXPECT_TRUE(eventually([&] { return count_threads() == threads; }));
}

// Invariant 8
TEST_P(conformance, destroying_an_operation_in_flight_aborts_with_a_sentence) {
  const pipe_ends pipe = make_pipe();
  const child_outcome outcome = run_in_child([&] {
    std::byte byte{};
    auto op = std::make_unique<recorded>(read_request(pipe.read.get(), {&byte, 1}));
    context().start(*op);
    if (can_be_blocked()) context().flush();
    op.reset();
  });
  EXPECT_TRUE(aborted_saying(outcome, "an operation was destroyed while it was in flight"));
}

// Invariant 31
TEST_P(conformance, a_forked_child_may_destroy_the_context) {
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  auto blocked = std::make_unique<recorded>(read_request(pipe.read.get(), {&byte, 1}));
  auto staged = std::make_unique<recorded>(request{});
  if (can_be_blocked()) {
    context().start(*blocked);
    context().flush();
  }
  context().start(*staged);
  const child_outcome outcome = run_in_child([&] {
    context_.reset();
    blocked.reset();
    staged.reset();
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
  pipe.feed(1);
  if (!can_be_blocked()) context().start(*blocked);
  context().run();
  EXPECT_TRUE(answered(*blocked, 1));
  EXPECT_TRUE(answered(*staged, 0));
  EXPECT_EQ(answer_to({}), 0);
}

// Invariant 31
TEST_P(conformance, a_forked_child_that_drives_the_context_aborts_with_a_sentence) {
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded op(read_request(pipe.read.get(), {&byte, 1}));
  context().start(op);
  if (can_be_blocked()) context().flush();
  for (const bool wait : {false, true}) {
    const child_outcome outcome = run_in_child([&] { context().dispatch(wait); });
    EXPECT_TRUE(aborted_saying(outcome, "an io_context was driven in a forked child"));
  }
  pipe.feed(1);
  context().run();
  EXPECT_TRUE(answered(op, 1));
}

// Invariant 31. A thread sanitizer that saw several threads before the fork allows none after it.
TEST_P(conformance, a_forked_child_may_have_a_context_of_its_own) {
  if (thread_sanitizer) GTEST_SKIP() << "the thread sanitizer forbids threads after such a fork";
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  std::array<std::byte, 100> memory{};
  EXPECT_EQ(answer_to(read_request(file.get(), memory)), 100);
  const child_outcome outcome = run_in_child([&] {
    context_.reset();
    memory.fill({});
    EXPECT_EQ(answer_to(read_request(file.get(), memory)), 100);
    EXPECT_TRUE(holds_pattern(memory, 0));
    context_.reset();
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
  EXPECT_EQ(answer_to(read_request(file.get(), memory)), 100);
}

}  // namespace
}  // namespace weir::testing
