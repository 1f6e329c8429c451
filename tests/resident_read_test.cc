#include "resident_read.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "support/support.hpp"
#include "weir/callback.hpp"
#include "weir/stop.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;
constexpr std::int32_t untouched = 12'345;

// --- one read ------------------------------------------------------------------------------------

class resident_read : public ::testing::Test {
 protected:
  at_once try_read(int fd, std::size_t length, std::uint64_t offset) {
    read_.args = read_request(fd, std::span(memory_).first(length), offset);
    read_.set_answer(untouched);
    return detail::read_resident(read_);
  }
  void expect_done(std::int32_t count, std::uint64_t offset) {
    EXPECT_EQ(read_.answer(), count);
    EXPECT_TRUE(holds_pattern(std::span(memory_).first(static_cast<std::size_t>(count)), offset));
  }

  /// Reads `length` bytes of which no more than the first `resident` are in the page cache.
  void expect_left_alone(std::size_t resident, std::size_t length) {
    const descriptor written = make_patterned_file(directory_ / "file", 64 * block);
    for (int attempt = 0; attempt < 100; ++attempt) {
      if (!drop_from_cache(written)) GTEST_SKIP() << "SKIPPED: its pages stay";
      ASSERT_EQ(::posix_fadvise(written.get(), 0, 0, POSIX_FADV_RANDOM), 0);
      ASSERT_EQ(::pread(written.get(), memory_.data(), resident, 0), resident);
      if (try_read(written.get(), length, 0) == at_once::would_wait) {
        EXPECT_EQ(read_.answer(), untouched);
        return;
      }
      expect_done(static_cast<std::int32_t>(length), 0);
    }
    GTEST_SKIP() << "SKIPPED: this disk answers while it is asked";
  }

  temp_directory directory_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(4 * block);
  operation read_{{}, [](operation&) noexcept {}};
};

TEST_F(resident_read, is_done_where_all_of_it_is_in_the_page_cache) {
  const descriptor written = make_patterned_file(directory_ / "file", 3 * block);
  if (!is_resident(written, 3 * block)) GTEST_SKIP() << "SKIPPED: no RWF_NOWAIT here";
  EXPECT_EQ(try_read(written.get(), block, block), at_once::done);
  expect_done(block, block);
  EXPECT_EQ(try_read(written.get(), 100, 4090), at_once::done);
  expect_done(100, 4090);
}

TEST_F(resident_read, knows_the_end_of_the_file) {
  const descriptor written = make_patterned_file(directory_ / "file", 1000);
  if (!is_resident(written, 1000)) GTEST_SKIP() << "SKIPPED: no RWF_NOWAIT here";
  EXPECT_EQ(try_read(written.get(), block, 0), at_once::done);
  expect_done(1000, 0);
  EXPECT_EQ(try_read(written.get(), block, 600), at_once::done);
  expect_done(400, 600);
  EXPECT_EQ(try_read(written.get(), block, 1000), at_once::done);
  expect_done(0, 1000);
}

// Being asked, the kernel begins to fetch, and a quick disk may have answered before it says that
// it would wait. So each is tried until it would: what is done instead must be whole.
TEST_F(resident_read, is_left_alone_where_the_disk_would_be_waited_for) {
  expect_left_alone(0, block);
}

// A short answer would be taken for the end of the file.
TEST_F(resident_read, is_left_alone_where_a_part_of_it_is_missing) {
  expect_left_alone(block, 3 * block);
}

TEST_F(resident_read, is_given_up_where_there_is_no_page_cache) {
  const pipe_ends pipe = make_pipe();
  pipe.feed(10);
  EXPECT_EQ(try_read(pipe.read.get(), 10, 0), at_once::never);
  EXPECT_EQ(try_read(-1, 10, 0), at_once::never);
  const descriptor directory(::open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(try_read(directory.get(), 10, 0), at_once::never);
  EXPECT_EQ(read_.answer(), untouched);
  std::array<std::byte, 20> rest{};
  EXPECT_EQ(::read(pipe.read.get(), rest.data(), rest.size()), 10);
}

TEST_F(resident_read, knows_what_is_memory) {
  const descriptor memory(::memfd_create("file", MFD_CLOEXEC));
  ASSERT_EQ(::write(memory.get(), "ten bytes.", 10), 10);
  EXPECT_TRUE(detail::is_memory(memory.get()));
  EXPECT_FALSE(detail::is_memory(make_pipe().read.get()));
  EXPECT_FALSE(detail::is_memory(-1));
  read_.args = read_request(memory.get(), std::span(memory_).first(20), 4);
  read_.args.hints = hint::memory;
  EXPECT_EQ(detail::read_resident(read_), at_once::done);
  EXPECT_EQ(read_.answer(), 6);
}

TEST_F(resident_read, leaves_what_the_request_is_to_blame_for_to_the_queue) {
  const descriptor written = make_patterned_file(directory_ / "file", block);
  if (!is_resident(written, block)) GTEST_SKIP() << "SKIPPED: no RWF_NOWAIT here";
  read_.args = {.op = opcode::read, .fd = written.get(), .address = nullptr, .length = 10};
  EXPECT_EQ(detail::read_resident(read_), at_once::would_wait);
  // Not "the current position".
  const std::uint64_t beyond = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(try_read(written.get(), 10, beyond), at_once::would_wait);
}

// --- on a context --------------------------------------------------------------------------------

/// Sees what is queued; what is read at once passes by.
class counting_driver : public wrapping_driver {
 public:
  counting_driver(std::unique_ptr<driver> inner, std::size_t& queued)
      : wrapping_driver(std::move(inner)), queued_(queued) {}
  void submit(operation_queue& staged) noexcept override {
    queued_ += staged.size();
    wrapping_driver::submit(staged);
    queued_ -= staged.size();
  }
  bool context_may_read() const noexcept override { return true; }

 private:
  std::size_t& queued_;
};

class reads_at_once : public driver_test {
 protected:
  void SetUp() override {
    driver_test::SetUp();
    if (IsSkipped()) return;
    written_ = make_patterned_file(directory_ / "file", size);
    if (!is_resident(written_, size)) GTEST_SKIP() << "SKIPPED: no RWF_NOWAIT here";
    context_ = std::make_unique<io_context>(
        std::make_unique<counting_driver>(open_driver_named(GetParam()), queued_));
    file_ = file(*context_, ::dup(written_.get()));
  }
  void TearDown() override { file_ = file(); }

  /// Runs it, and answers how many operations were queued meanwhile.
  template <class Work>
  std::size_t queued_by(Work work) {
    const std::size_t before = queued_;
    context_->run(work());
    return queued_ - before;
  }

  static constexpr std::size_t size = 8 * block;
  temp_directory directory_;
  std::size_t queued_ = 0;
  descriptor written_;
  std::unique_ptr<io_context> context_;
  file file_;
  std::array<std::byte, block> memory_{};
};

INSTANTIATE_TEST_SUITE_P(drivers, reads_at_once, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(reads_at_once, of_what_is_resident) {
  EXPECT_EQ(queued_by([&]() -> task<> {
              for (std::uint64_t offset = 0; offset < size; offset += block) {
                EXPECT_EQ(co_await file_.read_at(memory_, offset), block);
                EXPECT_TRUE(holds_pattern(memory_, offset));
              }
              EXPECT_EQ(co_await file_.read_at(memory_, size), 0);
            }),
            0);
}

// But for the first, by which it is found out.
TEST_P(reads_at_once, of_files_in_memory) {
  file_ = file(*context_, ::memfd_create("file", MFD_CLOEXEC));
  std::array<std::byte, block> content{};
  fill(content, 0);
  ASSERT_EQ(::pwrite(file_.native_handle(), content.data(), block, 0), block);
  EXPECT_LE(queued_by([&]() -> task<> {
              for (int i = 0; i < 100; ++i) {
                memory_ = {};
                EXPECT_EQ(co_await file_.read_at(memory_, 0), block);
                EXPECT_TRUE(holds_pattern(memory_, 0));
              }
            }),
            1);
}

TEST_P(reads_at_once, whole_ranges_and_travelling_buffers) {
  EXPECT_EQ(queued_by([&]() -> task<> {
              const transfer_result whole = co_await file_.read_exactly_at(memory_, block);
              EXPECT_EQ(whole.transferred, block);
              EXPECT_TRUE(holds_pattern(memory_, block));
              buffer_result travelled = co_await file_.read_at(buffer(block), 100);
              EXPECT_EQ(travelled.transferred, block);
              EXPECT_TRUE(holds_pattern(travelled.data.span(), 100));
            }),
            0);
}

TEST_P(reads_at_once, but_says_that_a_whole_range_is_short) {
  queued_by([&]() -> task<> {
    const transfer_result whole = co_await file_.read_exactly_at(memory_, size - 100);
    EXPECT_EQ(error_of(whole), errc::short_read);
    EXPECT_EQ(whole.transferred, 100);
  });
}

TEST_P(reads_at_once, also_with_a_stop_or_a_deadline) {
  std::stop_source stop;
  EXPECT_EQ(queued_by([&]() -> task<> {
              EXPECT_EQ(co_await with_stop(file_.read_at(memory_, 0), stop.get_token()), block);
              EXPECT_EQ(co_await with_deadline(file_.read_at(memory_, 0), std::chrono::hours(1)),
                        block);
            }),
            0);
  stop.request_stop();
  queued_by([&]() -> task<> {
    const auto stopped = co_await with_stop(file_.read_at(memory_, 0), stop.get_token());
    EXPECT_EQ(error_of(stopped), std::errc::operation_canceled);
  });
}

TEST_P(reads_at_once, but_what_has_a_policy_is_queued) {
  EXPECT_EQ(queued_by([&]() -> task<> {
              const io_options now{.nowait = true};
              EXPECT_EQ(co_await file_.read_at(std::span(memory_), 0, now), block);
            }),
            1);
}

TEST_P(reads_at_once, but_other_threads_queue) {
  EXPECT_GE(queued_by([&]() -> task<> {
              std::size_t heard = 0;
              std::thread([&] {
                start(file_.read_at(memory_, 0), [&](const auto& count) { heard = *count; });
              }).join();
              while (heard == 0) EXPECT_TRUE((co_await context_->schedule()).has_value());
              EXPECT_EQ(heard, block);
            }),
            1);
}

// Invariant 16: whoever finds everything in memory does not keep the loop from the others.
TEST_P(reads_at_once, but_not_for_ever) {
  constexpr int reads = 10'000;
  int done = 0;
  int done_when_called = 0;
  const auto read_all = [&]() -> task<> {
    for (; done < reads; ++done) EXPECT_EQ(co_await file_.read_at(memory_, 0), block);
  };
  const auto be_called = [&]() -> task<> {
    EXPECT_TRUE((co_await context_->schedule()).has_value());
    done_when_called = done;
  };
  queued_by([&]() -> task<> { co_await when_all(be_called(), read_all()); });
  EXPECT_EQ(done, reads);
  EXPECT_LE(done_when_called, 1000);
}

// Who has had a share waits for the queue, which some drivers take longer over than a share lasts;
// but nobody starves.
TEST_P(reads_at_once, in_shares) {
  constexpr std::size_t readers = 8;
  constexpr int reads = 5'000;
  std::array<int, readers> done{};
  int least_at_the_end = reads;
  const auto read_all = [&](std::size_t who) -> task<> {
    std::array<std::byte, block> memory{};
    for (; done[who] < reads; ++done[who]) EXPECT_EQ(co_await file_.read_at(memory, 0), block);
    least_at_the_end = std::min(least_at_the_end, *std::ranges::min_element(done));
  };
  for (std::size_t who = 0; who < readers; ++who) spawn(*context_, read_all(who));
  context_->run();
  EXPECT_GE(least_at_the_end, reads / 10);
}

// In an event loop of somebody else's: whoever is called for a socket after a turn reads at once,
// too, though the turn's own have used up what was theirs.
TEST_P(reads_at_once, after_a_turn_that_has_spent_its_share) {
  bool stop = false;
  const auto read_until_stopped = [&]() -> task<> {
    while (!stop) EXPECT_EQ(co_await file_.read_at(memory_, 0), block);
  };
  int read = 0;
  const auto read_a_few = [&]() -> task<> {
    std::array<std::byte, block> memory{};
    for (; read < 10; ++read) EXPECT_EQ(co_await file_.read_at(memory, 0), block);
  };
  spawn(*context_, read_until_stopped());
  context_->dispatch(false);
  spawn(*context_, read_a_few());
  EXPECT_EQ(read, 10);
  stop = true;
  context_->run();
}

}  // namespace
}  // namespace weir::testing
