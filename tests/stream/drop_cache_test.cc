// What streams with `drop_cache` leave in the page cache, on every driver: little while they run,
// nothing when all is read or written and closed. What others have there stays where reading is
// here and there. And that writing back, which is part of it, loses no error.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "stream/stream_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t mib = std::size_t{1} << 20;
// Far more than may stay: what is dropped, or written back, at once, and what is in flight.
constexpr std::size_t size = 96 * mib;
constexpr std::size_t bound = size / 2;

class drop_cache_test : public stream_test {
 protected:
  /// Looked at without touching it, by mincore(2).
  std::size_t cached_bytes() const {
    const descriptor looked = open_file(path(), O_RDONLY);
    const auto length = static_cast<std::size_t>(::lseek(looked.get(), 0, SEEK_END));
    if (length == 0) return 0;
    void* mapped = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, looked.get(), 0);
    EXPECT_NE(mapped, MAP_FAILED);
    std::vector<unsigned char> pages((length + page - 1) / page);
    EXPECT_EQ(::mincore(mapped, length, pages.data()), 0);
    ::munmap(mapped, length);
    return static_cast<std::size_t>(
               std::ranges::count_if(pages, [](unsigned char each) { return (each & 1) != 0; })) *
           page;
  }
  /// The same mebibyte again and again: to compare with in one call, since sanitizers are slow.
  static const std::vector<std::byte>& chunk() {
    static const std::vector<std::byte> made = [] {
      std::vector<std::byte> bytes(mib);
      fill(bytes, 0);
      return bytes;
    }();
    return made;
  }
  static bool is_chunk(std::span<const std::byte> bytes) {
    return std::memcmp(bytes.data(), chunk().data(), mib) == 0;
  }
  void make_cold_file() const {
    const descriptor made = make_file(path());
    for (std::size_t at = 0; at < size; at += mib) {
      ASSERT_EQ(::write(made.get(), chunk().data(), mib), static_cast<ssize_t>(mib));
    }
    ASSERT_TRUE(drop_from_cache(made));
  }
  bool can_be_dropped() const {
    return drop_from_cache(make_patterned_file(path(), 16 * page));  // tmpfs cannot
  }
  support how_it_drops() {
    auto ask = [&]() -> task<support> {
      file target = open_for(O_RDONLY);
      co_return (co_await target.capabilities()).value().drop_cache;
    };
    return context_->run(ask());
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, drop_cache_test, ::testing::ValuesIn(driver_names),
                         name_of_driver);

TEST_P(drop_cache_test, a_file_that_is_read_in_order_is_never_cached_as_a_whole) {
  if (!can_be_dropped()) GTEST_SKIP() << "nothing leaves this file system's cache";
  make_cold_file();
  auto work = [&]() -> task<void> {
    reader in(open_for(O_RDONLY), {.drop_cache = true});
    std::vector<std::byte> memory(mib);
    std::size_t most = 0;
    for (std::size_t at = 0; at < size; at += mib) {
      EXPECT_TRUE((co_await in.read_exactly(memory)).has_value());
      EXPECT_TRUE(is_chunk(memory));
      if (at % (4 * mib) == 0) most = std::max(most, cached_bytes());
    }
    EXPECT_LT(most, bound);
    EXPECT_EQ(co_await in.read(memory), 0U);
    EXPECT_TRUE((co_await in.close()).has_value());
  };
  context_->run(work());
  EXPECT_LT(cached_bytes(), mib);
}

// What the kernel reads ahead by itself at the end of each of the two runs, nobody can call back.
TEST_P(drop_cache_test, a_reader_left_in_the_middle_leaves_little_behind) {
  if (!can_be_dropped()) GTEST_SKIP() << "nothing leaves this file system's cache";
  make_cold_file();
  const std::size_t open_before = count_descriptors();
  auto work = [&]() -> task<void> {
    reader in(open_for(O_RDONLY), {.drop_cache = true});
    std::vector<std::byte> memory(20 * mib + 1);
    EXPECT_TRUE((co_await in.read_exactly(memory)).has_value());
    in.seek(50 * mib);  // what was read ahead is on its way still
    EXPECT_TRUE((co_await in.read_exactly(memory)).has_value());
    EXPECT_TRUE(is_chunk(std::span(memory).last(mib + 1)));
  };
  context_->run(work());
  context_->run();
  EXPECT_LT(cached_bytes(), 24 * mib);  // of more than 40
  EXPECT_EQ(count_descriptors(), open_before);
}

TEST_P(drop_cache_test, reads_here_and_there_leave_cached_what_others_have_cached) {
  const descriptor made = make_patterned_file(path(), 64 * page);
  if (how_it_drops() != support::native) GTEST_SKIP() << "the kernel cannot tell whose pages";
  const std::size_t before = cached_bytes();
  auto work = [&]() -> task<void> {
    reader in(open_for(O_RDONLY), {.block_size = 4 * page, .drop_cache = true});
    std::vector<std::byte> memory(100);
    for (const std::uint64_t at : {40U, 10U, 60U, 3U, 30U, 50U, 20U}) {
      in.seek(at * page + 7);
      EXPECT_TRUE((co_await in.read_exactly(memory)).has_value());
      EXPECT_TRUE(holds_pattern(memory, at * page + 7));
    }
  };
  context_->run(work());
  context_->run();
  EXPECT_EQ(cached_bytes(), before);
}

TEST_P(drop_cache_test, a_file_that_is_written_is_never_cached_as_a_whole) {
  if (!can_be_dropped()) GTEST_SKIP() << "nothing leaves this file system's cache";
  auto work = [&]() -> task<void> {
    writer out(open_for(O_WRONLY | O_TRUNC), {.drop_cache = true});
    std::size_t most = 0;
    for (std::size_t at = 0; at < size; at += mib) {
      EXPECT_TRUE((co_await out.write(chunk())).has_value());
      if (at % (4 * mib) == 0) most = std::max(most, cached_bytes());
    }
    EXPECT_LT(most, bound);
    EXPECT_EQ(co_await out.close(durability::data), size);
  };
  context_->run(work());
  EXPECT_LT(cached_bytes(), 2 * mib);
  const std::vector<std::byte> written = contents_of(path());
  ASSERT_EQ(written.size(), size);
  for (std::size_t at = 0; at < size; at += mib) {
    ASSERT_TRUE(is_chunk(std::span(written).subspan(at, mib))) << at;
  }
}

// Invariant 17: the kernel tells of a lost page once, to whoever waits for it first.
TEST_P(drop_cache_test, an_error_of_writing_back_is_told_and_stays) {
  make_file(path());
  if (how_it_drops() != support::native) GTEST_SKIP() << "each transfer writes back by itself";
  use_faults({.decide = [](const request& what) -> std::optional<std::int32_t> {
    return what.op == opcode::sync_file_range ? std::optional(-EIO) : std::nullopt;
  }});
  auto work = [&]() -> task<void> {
    writer out(open_for(O_WRONLY), {.drop_cache = true});
    const std::vector<std::byte> memory(9 * mib);
    [[maybe_unused]] const transfer_result accepted = co_await out.write(memory);
    const transfer_result closed = co_await out.close();
    EXPECT_EQ(error_of<std::size_t>(closed), std::errc::io_error);
    EXPECT_EQ(error_of<std::size_t>(co_await out.write({})), std::errc::io_error);
  };
  context_->run(work());
}

}  // namespace
}  // namespace weir::testing
