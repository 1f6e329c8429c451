#include "weir/buffer.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

// Invariant 10
TEST(buffer, is_zeroed_also_where_the_memory_was_used_before) {
  for (int i = 0; i < 10; ++i) {
    buffer memory(100'000);
    ASSERT_EQ(memory.size(), 100'000);
    ASSERT_TRUE(holds_only(memory.span(), std::byte{0}));
    fill(memory.span(), 0);
  }
}

TEST(buffer, lies_where_it_was_asked_to) {
  for (std::size_t alignment = 1; alignment <= 1 << 21; alignment *= 2) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{4097}}) {
      const buffer memory(size, alignment);
      EXPECT_EQ(memory.size(), size);
      EXPECT_GE(memory.alignment(), alignment);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % memory.alignment(), 0);
    }
  }
}

TEST(buffer, refuses_an_alignment_that_is_no_power_of_two) {
  for (const std::size_t alignment : {0uz, 3uz, 4095uz}) {
    EXPECT_EQ(buffer::allocate(1, alignment).error(), std::errc::invalid_argument);
    EXPECT_THROW(buffer(1, alignment), std::bad_alloc);
  }
}

TEST(buffer, says_when_there_is_no_memory) {
  if (address_sanitizer || thread_sanitizer) GTEST_SKIP() << "a sanitizer aborts instead";
  EXPECT_EQ(buffer::allocate(SIZE_MAX / 2).error(), std::errc::not_enough_memory);
  EXPECT_THROW(buffer(SIZE_MAX / 2), std::bad_alloc);
}

TEST(buffer, of_no_bytes_is_empty) {
  const buffer nothing(0);
  EXPECT_TRUE(nothing.empty());
  EXPECT_EQ(nothing.data(), nullptr);
  EXPECT_EQ(nothing.alignment(), 0);
  EXPECT_TRUE(nothing.first(10).empty());
}

TEST(buffer, gives_its_first_bytes_or_all_there_are) {
  buffer memory(10);
  EXPECT_EQ(memory.first(3).size(), 3);
  EXPECT_EQ(memory.first(3).data(), memory.data());
  EXPECT_EQ(memory.first(11).size(), 10);
}

TEST(buffer, is_empty_when_it_has_been_moved_from) {
  buffer first(100);
  std::byte* const where = first.data();
  buffer second(std::move(first));
  EXPECT_EQ(second.data(), where);
  EXPECT_EQ(second.size(), 100);
  EXPECT_EQ(first.data(), nullptr);
  EXPECT_EQ(first.size(), 0);
  first = std::move(second);
  EXPECT_EQ(first.data(), where);
  EXPECT_TRUE(second.empty());
}

TEST(buffer, released_belongs_to_the_caller) {
  buffer memory(100);
  std::byte* const released = memory.release();
  EXPECT_TRUE(memory.empty());
  std::free(released);  // the sanitizers see it if the buffer frees it, too
}

/// Memory that knows how often it was freed.
class adopted_buffer : public ::testing::Test {
 protected:
  void SetUp() override { freed_.clear(); }
  static void free_it(std::byte* data, std::size_t size) { freed_.emplace_back(data, size); }
  buffer adopt() { return buffer::adopt(memory_, &free_it); }

  std::array<std::byte, 10> memory_{};
  static inline std::vector<std::pair<std::byte*, std::size_t>> freed_;
};

TEST_F(adopted_buffer, is_freed_once_by_its_own_deleter) {
  {
    buffer first = adopt();
    EXPECT_EQ(first.data(), memory_.data());
    buffer second = std::move(first);
    first = buffer{};
    EXPECT_TRUE(freed_.empty());
  }
  ASSERT_EQ(freed_.size(), 1);
  EXPECT_EQ(freed_[0].first, memory_.data());
  EXPECT_EQ(freed_[0].second, memory_.size());
}

TEST_F(adopted_buffer, is_freed_when_another_takes_its_place) {
  buffer memory = adopt();
  memory = buffer(5);
  EXPECT_EQ(freed_.size(), 1);
}

TEST_F(adopted_buffer, survives_being_moved_to_itself) {
  buffer memory = adopt();
  buffer& same = memory;
  memory = std::move(same);
  EXPECT_EQ(memory.data(), memory_.data());
  EXPECT_TRUE(freed_.empty());
}

TEST_F(adopted_buffer, is_not_freed_when_it_was_released) {
  {
    EXPECT_EQ(adopt().release(), memory_.data());
  }
  EXPECT_TRUE(freed_.empty());
}

TEST_F(adopted_buffer, without_a_deleter_is_freed_by_nobody) {
  {
    const buffer memory = buffer::adopt(memory_, nullptr);
  }
  EXPECT_TRUE(freed_.empty());
}

}  // namespace
}  // namespace weir::testing
