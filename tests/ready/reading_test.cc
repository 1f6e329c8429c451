// Reading a ready file: from memory at once, else EAGAIN, one event, and progress.

#include <fcntl.h>
#include <unistd.h>

#include <random>

#include "ready/ready_support.hpp"
#include "weir/faulty.hpp"

namespace weir::testing {
namespace {

class reading_ready_files : public ready_test {};
INSTANTIATE_TEST_SUITE_P(drivers, reading_ready_files,
                         ::testing::ValuesIn(driver_names_and_wrapped), name_of_driver);

// Invariant 20; E14. No operation, so no other thread.
TEST_P(reading_ready_files, answers_at_once_what_is_in_memory) {
  constexpr std::size_t size = 1 << 20;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  if (!is_resident(file, size)) GTEST_SKIP() << "SKIPPED: this file system has no RWF_NOWAIT";
  gate seen;
  const auto files = make_behind(seen);
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  std::vector<std::byte> memory(size);
  std::size_t moved = 0;
  while (moved < size) {
    const auto got = files->try_read(
        handle, std::span(memory).subspan(moved).first(std::min<std::size_t>(3000, size - moved)));
    ASSERT_TRUE(got) << got.error().message();
    ASSERT_GT(*got, 0U);
    moved += *got;
  }
  EXPECT_TRUE(holds_pattern(memory, 0));
  EXPECT_EQ(files->try_read(handle, memory).value_or(1), 0U);
  EXPECT_EQ(seen.count(opcode::read), 0U);
  EXPECT_EQ(log.count(handle, ready::readable), 0U);
}

// Invariant 20; E-D2, E-D12.
TEST_P(reading_ready_files, says_try_again_and_tells_once_when_to) {
  constexpr std::size_t size = 8192;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  gate reads;
  const auto files = make_behind(reads);
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  if (!drop_from_cache(file)) GTEST_SKIP() << "SKIPPED: the page cache keeps this file";
  reads.close_for({opcode::read});
  std::vector<std::byte> memory(size);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(says(files->try_read(handle, memory), EAGAIN));
  }
  EXPECT_EQ(files->poll(handle).value_or(99) & ready::readable, 0U);
  EXPECT_EQ(log.count(handle, ready::readable), 0U);
  reads.open();
  EXPECT_EQ(log.wait(handle, ready::readable), std::error_code{});
  EXPECT_EQ(files->poll(handle).value_or(99) & ready::readable, ready::readable);
  EXPECT_EQ(files->try_read(handle, memory).value_or(0), size);
  EXPECT_TRUE(holds_pattern(memory, 0));
  EXPECT_EQ(log.count(handle, ready::readable), 0U);
}

TEST_P(reading_ready_files, reads_a_cold_file_to_its_end) {
  constexpr std::size_t size = (3 << 20) + 777;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  const auto files = make();
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  (void)drop_from_cache(file);
  std::vector<std::byte> memory(size + 100);
  EXPECT_EQ(read_all(*files, log, handle, memory, 9999), size);
  EXPECT_TRUE(holds_pattern(std::span(memory).first(size), 0));
}

TEST_P(reading_ready_files, reads_no_more_at_once_than_it_says) {
  const descriptor file = make_patterned_file(directory_ / "file", 1 << 20);
  const auto files = make();
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  std::vector<std::byte> memory(1 << 20);
  auto got = files->try_read(handle, memory);
  while (says(got, EAGAIN)) {
    ASSERT_EQ(log.wait(handle, ready::readable), std::error_code{});
    got = files->try_read(handle, memory);
  }
  ASSERT_TRUE(got);
  EXPECT_LE(*got, ready_files::most_at_once);
}

// Invariant 22; E16.
TEST_P(reading_ready_files, sees_a_file_grow) {
  const descriptor file = make_patterned_file(directory_ / "file", 100);
  const auto files = make();
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  std::vector<std::byte> memory(1000);
  EXPECT_EQ(read_all(*files, log, handle, memory), 100U);
  EXPECT_EQ(read_all(*files, log, handle, memory), 0U);
  for (std::size_t end = 100; end < 100'000; end += 9900) {
    const auto more = patterned(9900, end);
    ASSERT_EQ(::pwrite(file.get(), more.data(), more.size(), static_cast<off_t>(end)), 9900);
    std::vector<std::byte> grown(9901);
    EXPECT_EQ(read_all(*files, log, handle, grown), 9900U) << "at " << end;
    EXPECT_TRUE(holds_pattern(std::span(grown).first(9900), end));
  }
}

/// From anywhere, as much as ever, of a file that falls out of the page cache now and then.
void read_here_and_there(ready_files& files, event_log& log, int handle, const descriptor& file,
                         std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> memory(100'000);
  std::uint64_t at = 0;
  for (int i = 0; i < 150; ++i) {
    if (random() % 3 == 0) {
      at = random() % (size + 5000);
      ASSERT_TRUE(files.seek_read(handle, at));
    }
    if (random() % 20 == 0) (void)drop_from_cache(file);
    const std::size_t wanted = 1 + random() % (random() % 4 == 0 ? memory.size() : 5000);
    const std::size_t there = at < size ? std::min<std::size_t>(wanted, size - at) : 0;
    ASSERT_EQ(read_all(files, log, handle, std::span(memory).first(wanted)), there) << at;
    ASSERT_TRUE(holds_pattern(std::span(memory).first(there), at)) << "step " << i;
    at += there;
  }
}

TEST_P(reading_ready_files, reads_from_anywhere) {
  constexpr std::size_t size = (1 << 20) + 4097;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  const auto files = make({.read_ahead = 64 << 10});
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  read_here_and_there(*files, log, handle, file, size, 1);
}

// Invariant 32; E21: alignment never shows.
TEST_P(reading_ready_files, reads_from_anywhere_past_the_page_cache) {
  constexpr std::size_t size = (1 << 20) + 4097;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  ASSERT_EQ(::fsync(file.get()), 0);
  const auto files = make({.read_ahead = 64 << 10});
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", {.direct = true});
  read_here_and_there(*files, log, handle, file, size, 2);
}

TEST_P(reading_ready_files, goes_on_where_the_reader_went_while_it_waited) {
  constexpr std::size_t size = 1 << 20;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  gate reads;
  const auto files = make_behind(reads);
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  if (!drop_from_cache(file)) GTEST_SKIP() << "SKIPPED: the page cache keeps this file";
  reads.close_for({opcode::read});
  std::vector<std::byte> memory(100);
  // More places than are read ahead for.
  for (const std::uint64_t place : {0U, 300'000U, 600'000U, 900'000U}) {
    ASSERT_TRUE(files->seek_read(handle, place));
    EXPECT_TRUE(says(files->try_read(handle, memory), EAGAIN));
  }
  reads.open();
  EXPECT_EQ(read_all(*files, log, handle, memory), 100U);
  EXPECT_TRUE(holds_pattern(memory, 900'000));
}

TEST_P(reading_ready_files, tells_an_error_once_and_tries_again) {
  constexpr std::size_t size = 10'000;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  std::atomic<bool> broken = true;
  auto driver = make_faulty(open_driver_named(GetParam()), {.decide = [&](const request& what) {
                              const bool fails = what.op == opcode::read && broken;
                              return fails ? std::optional(-EIO) : std::nullopt;
                            }});
  ASSERT_TRUE(driver);
  ready_files files({}, std::move(*driver));
  event_log log(files);
  const int handle = opened(files, log, directory_ / "file", {.direct = true});
  std::vector<std::byte> memory(size);
  EXPECT_TRUE(says(files.try_read(handle, memory), EAGAIN));
  EXPECT_EQ(log.wait(handle, ready::readable), std::error_code{});
  if (auto got = files.try_read(handle, memory); got) {
    GTEST_SKIP() << "SKIPPED: this file system has no O_DIRECT";
  } else {
    EXPECT_TRUE(says(got, EIO));
  }
  broken = false;
  EXPECT_EQ(read_all(files, log, handle, memory), size);
  EXPECT_TRUE(holds_pattern(memory, 0));
}

TEST_P(reading_ready_files, resumes_what_came_short) {
  constexpr std::size_t size = 300'001;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  for (unsigned seed = 1; seed <= 5; ++seed) {
    auto driver = make_faulty(open_driver_named(GetParam()), {.seed = seed,
                                                              .short_transfer = 0.5,
                                                              .delay = 0.3,
                                                              .reorder = 0.3,
                                                              .partial_submit = 0.3,
                                                              .early_completion = 0.3});
    ASSERT_TRUE(driver);
    ready_files files({}, std::move(*driver));
    event_log log(files);
    const int handle = opened(files, log, directory_ / "file", {.direct = seed % 2 == 0});
    (void)drop_from_cache(file);
    std::vector<std::byte> memory(size + 1);
    EXPECT_EQ(read_all(files, log, handle, memory, 7001), size) << "seed " << seed;
    EXPECT_TRUE(holds_pattern(std::span(memory).first(size), 0));
  }
}

// E8: nothing can be asked of what is not open yet; who asks is told.
TEST_P(reading_ready_files, waits_for_the_file_to_be_opened) {
  const descriptor file = make_patterned_file(directory_ / "file", 1000);
  gate opens;
  opens.close_for({opcode::openat});
  const auto files = make_behind(opens);
  event_log log(*files);
  const auto handle = files->open(directory_ / "file");
  ASSERT_TRUE(handle);
  EXPECT_EQ(files->status(*handle).value(), ready_status::opening);
  EXPECT_EQ(files->poll(*handle).value(), 0U);
  std::vector<std::byte> memory(2000);
  EXPECT_TRUE(says(files->try_read(*handle, memory), EAGAIN));
  opens.open();
  EXPECT_EQ(log.wait(*handle, ready::readable), std::error_code{});
  EXPECT_EQ(log.count(*handle, ready::opened), 1U);
  EXPECT_EQ(files->status(*handle).value(), ready_status::open);
  EXPECT_EQ(read_all(*files, log, *handle, memory), 1000U);
}

TEST_P(reading_ready_files, refuses_what_was_not_opened_for_it) {
  const descriptor file = make_patterned_file(directory_ / "file", 1000);
  const auto files = make();
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", for_writing);
  std::vector<std::byte> memory(10);
  EXPECT_TRUE(says(files->try_read(handle, memory), EBADF));
  EXPECT_EQ(files->poll(handle).value(), ready::writable);
  EXPECT_TRUE(says(files->seek_read(handle, std::uint64_t{1} << 63), EINVAL));
  for (const int none : {-1, 1, 1023, 1024, 1 << 30}) {
    EXPECT_TRUE(says(files->try_read(none, memory), EBADF)) << none;
    EXPECT_TRUE(says(files->status(none), EBADF)) << none;
  }
}

}  // namespace
}  // namespace weir::testing
