#include "weir/buffer.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
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

TEST_F(adopted_buffer, is_freed_as_large_as_it_was_adopted) {
  {
    buffer memory = adopt();
    memory.resize(3);
  }
  ASSERT_EQ(freed_.size(), 1);
  EXPECT_EQ(freed_[0].second, memory_.size());
}

TEST_F(adopted_buffer, goes_back_to_its_owner) {
  struct owner {
    static void take_back(void* self, std::byte* data, std::size_t size) {
      static_cast<owner*>(self)->back.emplace_back(data, size);
    }
    std::vector<std::pair<std::byte*, std::size_t>> back;
  } lender;
  {
    buffer first = buffer::adopt(memory_, &owner::take_back, &lender);
    const buffer second = std::move(first);
  }
  ASSERT_EQ(lender.back.size(), 1);
  EXPECT_EQ(lender.back[0].first, memory_.data());
  EXPECT_EQ(lender.back[0].second, memory_.size());
}

TEST_F(adopted_buffer, that_has_an_owner_cannot_be_released) {
  const child_outcome outcome = run_in_child([&] {
    buffer owned = buffer::adopt(memory_, [](void*, std::byte*, std::size_t) {}, this);
    owned.release();
  });
  EXPECT_TRUE(aborted_saying(outcome, "released whose memory belongs to"));
}

// --- I-T7: what io-buffer's tests tested ---------------------------------------------------------

constexpr std::size_t thousand = 1000;

buffer patterned(std::size_t size, unsigned seed = 0) {
  buffer memory(size);
  fill(memory.span(), 0, seed);
  return memory;
}

TEST(buffer_as_io_buffer, i_t7_stays_small_enough_to_travel) {
  EXPECT_LE(sizeof(buffer), 5 * sizeof(void*));
}

TEST(buffer_as_io_buffer, i_t7_knows_whether_it_is_aligned) {
  EXPECT_TRUE(buffer(8192).is_aligned());
  EXPECT_TRUE(buffer(8192).is_aligned(4096));
  EXPECT_FALSE(buffer(8192 + 512).is_aligned(4096));
  EXPECT_TRUE(buffer(8192 + 512).is_aligned());
  buffer cut(8192);
  cut.resize(100);
  EXPECT_FALSE(cut.is_aligned());
  buffer whole(8192);
  EXPECT_FALSE(buffer::adopt(whole.span().subspan(1, 4096), nullptr).is_aligned());
}

TEST(buffer_as_io_buffer, i_t7_copies_and_zeroes_the_rest_at_every_place) {
  const buffer source = patterned(100, 1);
  for (const std::size_t at : {0uz, 450uz, 900uz, 950uz, 999uz, 1000uz, 2000uz}) {
    buffer memory = patterned(thousand);
    const std::size_t fits = at < thousand ? std::min<std::size_t>(100, thousand - at) : 0;
    EXPECT_EQ(memory.copy_and_zero_rest(source.span(), at), fits);
    const std::size_t before = std::min(at, thousand);
    EXPECT_TRUE(holds_only(memory.span().first(before), std::byte{0}));
    EXPECT_TRUE(holds_pattern(memory.span().subspan(before, fits), 0, 1));
    EXPECT_TRUE(holds_only(memory.span().subspan(before + fits), std::byte{0}));
  }
  buffer full = patterned(100);
  EXPECT_EQ(full.copy_and_zero_rest(source.span()), 100);
  EXPECT_TRUE(holds_pattern(full.span(), 0, 1));
}

TEST(buffer_as_io_buffer, i_t7_copies_what_fits_and_nothing_else) {
  const buffer source = patterned(100, 1);
  for (const std::size_t at : {0uz, 450uz, 950uz, 1000uz, SIZE_MAX}) {
    buffer memory = patterned(thousand);
    const std::size_t fits = at < thousand ? std::min<std::size_t>(100, thousand - at) : 0;
    EXPECT_EQ(memory.copy_from(source.span(), at), fits);
    const std::size_t before = std::min(at, thousand);
    EXPECT_TRUE(holds_pattern(memory.span().first(before), 0));
    EXPECT_TRUE(holds_pattern(memory.span().subspan(before, fits), 0, 1));
    EXPECT_TRUE(holds_pattern(memory.span().subspan(before + fits), before + fits));
  }
  buffer nothing;
  EXPECT_EQ(nothing.copy_from(source.span()), 0);
}

TEST(buffer_as_io_buffer, i_t7_zeroes_a_range_or_everything) {
  buffer memory = patterned(thousand);
  memory.zero(100, 50);
  EXPECT_TRUE(holds_pattern(memory.span().first(100), 0));
  EXPECT_TRUE(holds_only(memory.span().subspan(100, 50), std::byte{0}));
  EXPECT_TRUE(holds_pattern(memory.span().subspan(150), 150));
  EXPECT_FALSE(memory.is_zero());
  memory.zero(900, SIZE_MAX);
  EXPECT_TRUE(holds_pattern(memory.span().subspan(150, 750), 150));
  EXPECT_TRUE(holds_only(memory.span().subspan(900), std::byte{0}));
  memory.zero(5000, 1);
  memory.zero();
  EXPECT_TRUE(memory.is_zero());
  EXPECT_TRUE(buffer().is_zero());
}

TEST(buffer_as_io_buffer, i_t7_keeps_its_capacity_when_it_is_resized) {
  buffer memory = patterned(thousand);
  memory.resize(300);
  EXPECT_EQ(memory.size(), 300);
  EXPECT_EQ(memory.span().size(), 300);
  EXPECT_EQ(memory.capacity(), thousand);
  memory.resize(thousand);
  EXPECT_TRUE(holds_pattern(memory.span(), 0));
  const child_outcome outcome = run_in_child([&] { memory.resize(thousand + 1); });
  EXPECT_TRUE(aborted_saying(outcome, "beyond its capacity"));
}

TEST(buffer_as_io_buffer, i_t7_clones_bytes_size_capacity_and_alignment) {
  buffer memory = patterned(8192);
  memory.resize(5000);
  buffer copy = memory.clone().value();
  EXPECT_NE(copy.data(), memory.data());
  EXPECT_EQ(copy.size(), 5000);
  EXPECT_EQ(copy.capacity(), 8192);
  EXPECT_GE(copy.alignment(), 4096);
  EXPECT_TRUE(holds_pattern(copy.span(), 0));
  memory.zero();
  EXPECT_TRUE(holds_pattern(copy.span(), 0));
  EXPECT_EQ(buffer(100, 64).clone()->size(), 100);
  EXPECT_TRUE(buffer().clone()->empty());
}

TEST(buffer_as_io_buffer, i_t7_takes_a_vector_and_gives_it_back) {
  std::vector<std::byte> bytes;
  bytes.reserve(thousand);
  bytes.resize(500);
  fill(bytes, 0);
  const std::byte* const where = bytes.data();

  buffer memory = buffer::from(std::move(bytes));
  EXPECT_EQ(memory.data(), where);
  EXPECT_EQ(memory.size(), 500);
  EXPECT_EQ(memory.capacity(), thousand);
  memory.resize(thousand);
  EXPECT_TRUE(holds_only(memory.span().subspan(500), std::byte{0}));
  memory.resize(500);
  buffer moved = std::move(memory);

  const auto back = std::move(moved).to<std::vector<std::byte>>();
  EXPECT_EQ(back.data(), where);
  EXPECT_EQ(back.size(), 500);
  EXPECT_EQ(back.capacity(), thousand);
  EXPECT_TRUE(holds_pattern(back, 0));
  EXPECT_EQ(moved.data(), nullptr);
}

TEST(buffer_as_io_buffer, i_t7_gives_a_vector_back_as_long_as_it_was_resized) {
  for (const std::size_t size : {0uz, 20uz, 64uz}) {
    buffer memory = buffer::from(std::vector<char>(64, 'x'));
    memory.resize(size);
    EXPECT_EQ(std::move(memory).to<std::vector<char>>(), std::vector<char>(size, 'x'));
  }
}

TEST(buffer_as_io_buffer, i_t7_copies_into_a_vector_what_came_from_none) {
  buffer memory = patterned(thousand);
  memory.resize(700);
  const auto bytes = std::move(memory).to<std::vector<std::byte>>();
  EXPECT_EQ(bytes.size(), 700);
  EXPECT_TRUE(holds_pattern(bytes, 0));
  EXPECT_EQ(memory.data(), nullptr);
  // Of another type than it came from: also a copy.
  const std::vector<char> from(3, 'a');
  EXPECT_EQ(buffer::from(std::vector<char>(from)).to<std::string>(), "aaa");
  EXPECT_TRUE(buffer().to<std::vector<std::byte>>().empty());
}

TEST(buffer_as_io_buffer, i_t7_wraps_foreign_memory_and_clones_it) {
  std::array<std::byte, 100> foreign{};
  fill(foreign, 0);
  buffer copy;
  {
    const buffer wrapped = buffer::adopt(foreign, nullptr);
    EXPECT_EQ(wrapped.data(), foreign.data());
    copy = wrapped.clone().value();
  }
  EXPECT_TRUE(holds_pattern(foreign, 0));
  EXPECT_TRUE(holds_pattern(copy.span(), 0));
  EXPECT_NE(copy.data(), foreign.data());
}

// io-buffer panics in debug builds where constant memory is written to; here it does not compile.
static_assert(memory_handle<std::shared_ptr<const std::string>>);
static_assert(!writable_memory_handle<std::shared_ptr<const std::string>>);

// --- handles -------------------------------------------------------------------------------------

static_assert(writable_memory_handle<buffer>);
static_assert(writable_memory_handle<std::vector<std::byte>>);
static_assert(writable_memory_handle<std::vector<char>>);
static_assert(writable_memory_handle<std::string>);
static_assert(writable_memory_handle<std::array<std::byte, 10>>);
static_assert(writable_memory_handle<std::unique_ptr<std::vector<std::byte>>>);
static_assert(writable_memory_handle<std::optional<buffer>>);
// What owns nothing is borrowed, and what is not memory is nothing at all.
static_assert(!memory_handle<std::span<std::byte>>);
static_assert(!memory_handle<std::string_view>);
static_assert(!memory_handle<std::vector<std::byte>*>);
static_assert(!memory_handle<std::vector<std::byte>&>);
static_assert(!memory_handle<std::vector<std::string>>);
static_assert(!memory_handle<int>);

/// A page of a cache: locked while somebody has it.
struct page {
  std::array<std::byte, 512> bytes{};
  int locks = 0;
  int unlocks = 0;
};

/// A user's smart pointer, which unlocks its page.
class locked_page {
 public:
  explicit locked_page(page& of) noexcept : page_(&of) { ++of.locks; }
  locked_page(locked_page&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  locked_page& operator=(locked_page&&) = delete;
  ~locked_page() {
    if (page_ != nullptr) ++page_->unlocks;
  }
  std::byte* data() noexcept { return page_->bytes.data(); }
  std::size_t size() const noexcept { return page_->bytes.size(); }

 private:
  page* page_;
};

TEST(handle, lives_in_a_buffer_and_goes_with_it) {
  page cached;
  {
    buffer memory = buffer::from(locked_page(cached));
    EXPECT_EQ(memory.data(), cached.bytes.data());
    EXPECT_EQ(memory.size(), 512);
    const buffer moved = std::move(memory);
    EXPECT_EQ(cached.unlocks, 0);
  }
  EXPECT_EQ(cached.locks, 1);
  EXPECT_EQ(cached.unlocks, 1);
}

TEST(handle, whose_memory_moves_with_it_comes_to_rest_in_the_buffer) {
  std::array<std::byte, 100> bytes{};
  fill(bytes, 0);
  buffer memory = buffer::from(std::move(bytes));
  EXPECT_TRUE(holds_pattern(memory.span(), 0));
  const buffer text = buffer::from(std::string("short"));
  EXPECT_EQ(std::memcmp(text.data(), "short", 5), 0);
}

class travelling_handle : public driver_test {
 protected:
  static constexpr std::size_t size = 512;

  io_context& context() { return *context_; }
  file patterned_file() {
    return {context(), make_patterned_file(directory_ / "file", 64 * size).release()};
  }
  template <class Sender>
  auto wait_for(Sender sender) {
    auto wait = [&]() -> task<typename Sender::value_type> {
      co_return co_await std::move(sender);
    };
    return context().run(wait());
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, travelling_handle, ::testing::ValuesIn(driver_names),
                         name_of_driver);

// Invariant 7, and T4 of the predecessors: a smart pointer that unlocks a page when it comes back
TEST_P(travelling_handle, comes_back_from_success_and_unlocks_once) {
  file f = patterned_file();
  page cached;
  {
    auto [n, back] = wait_for(f.read_at(locked_page(cached), 100));
    EXPECT_EQ(n, size);
    EXPECT_EQ(back.data(), cached.bytes.data());
    EXPECT_EQ(cached.unlocks, 0);
    auto [written, again] = wait_for(f.write_at(std::move(back), 2000));
    EXPECT_EQ(written, size);
    EXPECT_EQ(cached.unlocks, 0);
  }
  EXPECT_EQ(cached.unlocks, 1);
  EXPECT_TRUE(holds_pattern(cached.bytes, 100));
  const std::vector<std::byte> all = contents_of(directory_ / "file");
  EXPECT_TRUE(holds_pattern(std::span(all).subspan(2000, size), 100));
}

TEST_P(travelling_handle, comes_back_from_failure_and_unlocks_once) {
  file directory(context(), open_file(directory_.path(), O_RDONLY | O_DIRECTORY).release());
  file closed;
  page cached;
  {
    auto [n, back] = wait_for(directory.read_at(locked_page(cached), 0));
    EXPECT_EQ(error_of(n), std::errc::is_a_directory);
    auto [m, again] = wait_for(closed.write_at(std::move(back), 0));
    EXPECT_EQ(error_of(m), std::errc::bad_file_descriptor);
    EXPECT_EQ(again.data(), cached.bytes.data());
    EXPECT_EQ(cached.unlocks, 0);
  }
  EXPECT_EQ(cached.unlocks, 1);
}

TEST_P(travelling_handle, comes_back_from_a_stop) {
  file f = patterned_file();
  std::stop_source source;
  source.request_stop();
  page cached;
  {
    auto [n, back] = wait_for(with_stop(f.read_at(locked_page(cached), 0), source.get_token()));
    EXPECT_EQ(error_of(n), std::errc::operation_canceled);
    EXPECT_EQ(cached.unlocks, 0);
  }
  EXPECT_EQ(cached.unlocks, 1);
}

TEST_P(travelling_handle, may_be_a_vector_a_string_or_an_array) {
  file f = patterned_file();
  auto [n, vector] = wait_for(f.read_at(std::vector<std::byte>(size), 7));
  EXPECT_EQ(n, size);
  EXPECT_TRUE(holds_pattern(vector, 7));
  auto [m, array] = wait_for(f.read_at(std::array<std::byte, 40>{}, 8));
  EXPECT_EQ(m, 40U);
  EXPECT_TRUE(holds_pattern(array, 8));
  auto [l, text] = wait_for(f.write_at(std::string("short"), 0));
  EXPECT_EQ(l, 5U);
  EXPECT_EQ(text, "short");
  const std::vector<std::byte> all = contents_of(directory_ / "file");
  EXPECT_EQ(std::memcmp(all.data(), "short", 5), 0);
}

TEST_P(travelling_handle, may_be_a_pointer_to_memory_or_to_nothing) {
  file f = patterned_file();
  auto [n, owned] = wait_for(f.read_at(std::make_unique<std::vector<std::byte>>(size), 9));
  EXPECT_EQ(n, size);
  EXPECT_TRUE(holds_pattern(*owned, 9));
  const auto shared = std::make_shared<const std::string>("shared");
  auto [m, back] = wait_for(f.write_at(std::shared_ptr(shared), 0));
  EXPECT_EQ(m, 6U);
  EXPECT_EQ(back, shared);
  auto [l, nothing] = wait_for(f.read_at(std::unique_ptr<std::vector<std::byte>>(), 0));
  EXPECT_EQ(l, 0U);
}

TEST_P(travelling_handle, moves_no_more_than_its_buffer_was_resized_to) {
  file f = patterned_file();
  buffer memory(4096);
  memory.resize(100);
  auto [n, back] = wait_for(f.read_at(std::move(memory), 0));
  EXPECT_EQ(n, 100U);
  back.resize(4096);
  EXPECT_TRUE(holds_pattern(back.first(100), 0));
  EXPECT_TRUE(holds_only(back.span().subspan(100), std::byte{0}));
}

}  // namespace
}  // namespace weir::testing
