// What the predecessors' tests copied, copied by streams, under the names by which their list
// counts them: the same sizes, appended to files that hold something already.

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "stream/stream_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t source_size = 5'352'871;
constexpr std::string_view seed = "hello world";  // 11 bytes
// Of many copies; looking at each byte of all takes the thread sanitizer minutes.
constexpr int looked_at_each = thread_sanitizer ? 10 : 1;

class stream_copy : public stream_test {
 protected:
  std::string target(int number) const { return directory_ / std::to_string(number); }

  void make_target(int number) const {
    const descriptor made = make_file(target(number));
    ASSERT_EQ(::write(made.get(), seed.data(), seed.size()), static_cast<ssize_t>(seed.size()));
  }

  void expect_copied(int number) const {
    const std::vector<std::byte> bytes = contents_of(target(number));
    ASSERT_EQ(bytes.size(), seed.size() + source_size) << "file " << number;
    EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(seed.size()), 0)) << "file " << number;
  }

  /// Reads of 9999 bytes, each written.
  static task<void> copy_all(reader& in, writer& out) {
    std::vector<std::byte> memory(9999);
    for (;;) {
      const result<std::size_t> got = co_await in.read(memory);
      EXPECT_TRUE(got.has_value());
      if (got.value_or(0) == 0) break;
      EXPECT_EQ(co_await out.write(std::span(memory).first(*got)), *got);
    }
  }

  /// The same between two files; with `closes`, both are closed in the end, or else only
  /// destroyed.
  static task<void> copy(io_context& context, std::string from, std::string to, int flags,
                         bool closes) {
    reader in(file(context, open_file(from, O_RDONLY).release()));
    writer out(file(context, open_file(to, flags | O_APPEND).release()));
    co_await copy_all(in, out);
    if (!closes) co_return;
    EXPECT_TRUE((co_await in.close()).has_value());
    EXPECT_EQ(co_await out.close(), source_size);
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, stream_copy, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(stream_copy, e_t1_copy_and_append) {
  make_patterned_file(path(), source_size);
  make_target(1);
  context_->run(copy(*context_, path(), target(1), O_WRONLY, true));
  expect_copied(1);
}

// Each end of an opening, of reading and of closing is heard of by a callback.
TEST_P(stream_copy, e_t2_copy_and_append_by_callbacks) {
  make_patterned_file(path(), source_size);
  make_target(1);
  int opened = 0;
  std::vector<file> files(2);
  const auto keep = [&](std::size_t which) {
    return [&, which](result<file> came) {
      ++opened;
      files[which] = std::move(came).value();
    };
  };
  start(open(*context_, path()), keep(0));
  start(open(*context_, target(1), {.read = false, .write = true, .append = true}), keep(1));
  context_->run();
  ASSERT_EQ(opened, 2);

  reader in(std::move(files[0]));
  writer out(std::move(files[1]));
  int closed = 0;
  spawn(*context_, [](reader& from, writer& to, int& over) -> task<void> {
    co_await copy_all(from, to);
    EXPECT_EQ(co_await to.close(), source_size);
    ++over;
  }(in, out, closed));
  context_->run();
  start(in.close(), [&](result<void> came) { closed += came.has_value() ? 1 : 0; });
  context_->run();
  EXPECT_EQ(closed, 2);
  expect_copied(1);
}

TEST_P(stream_copy, e_t5_copy_and_append_to_a_file_that_can_be_read) {
  make_patterned_file(path(), source_size);
  make_target(1);
  context_->run(copy(*context_, path(), target(1), O_RDWR, true));
  expect_copied(1);
}

// Nobody closes: what was accepted is written all the same.
TEST_P(stream_copy, e_t3_fifty_at_once_and_none_is_closed) {
  make_patterned_file(path(), source_size);
  for (int number = 0; number < 50; ++number) {
    make_target(number);
    spawn(*context_, copy(*context_, path(), target(number), O_RDWR, false));
  }
  context_->run();
  for (int number = 0; number < 50; number += looked_at_each) expect_copied(number);
}

TEST_P(stream_copy, e_t4_four_threads_with_ten_pairs_each) {
  make_patterned_file(path(), source_size);
  for (int number = 0; number < 40; ++number) make_target(number);
  std::vector<std::thread> threads;
  for (int first = 0; first < 40; first += 10) {
    threads.emplace_back([this, first] {
      const std::unique_ptr<io_context> context = open_context(GetParam());
      for (int number = first; number < first + 10; ++number) {
        spawn(*context, copy(*context, path(), target(number), O_RDWR, false));
      }
      context->run();
    });
  }
  for (std::thread& each : threads) each.join();
  for (int number = 0; number < 40; number += looked_at_each) expect_copied(number);
}

}  // namespace
}  // namespace weir::testing
