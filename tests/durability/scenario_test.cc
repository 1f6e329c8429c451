#include "durability/scenario.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "durability/contents.hpp"
#include "support/support.hpp"

namespace weir::scenarios {
namespace {

using testing::driver_names;
using testing::driver_test;
using testing::open_context;
using testing::open_driver_named;
using testing::temp_directory;

/// Keeps what was promised to outlive the process's end, and that is everything.
class noted_promises : public promises {
 public:
  void promise(std::string_view subject, std::uint64_t version, survives what) override {
    all.add(subject, version);
    if (what == survives::power_loss) durable.add(subject, version);
  }

  promise_book all;
  promise_book durable;
};

surroundings in(io_context& context, const std::string& directory, std::string_view driver) {
  return {.context = context,
          .directory = directory,
          .seed = 7,
          .rounds = 4,
          .another_driver = [driver] { return open_driver_named(driver); }};
}

std::string joined(const violations& all) {
  std::string words;
  for (const std::string& each : all) words += each + '\n';
  return words;
}

class scenario_test : public driver_test {};

TEST_P(scenario_test, what_was_promised_is_found_where_nothing_was_cut) {
  for (const scenario& each : portable_scenarios()) {
    SCOPED_TRACE(each.name);
    const temp_directory directory;
    noted_promises told;
    const auto context = open_context(GetParam());
    const surroundings where = in(*context, directory.path(), GetParam());
    const result<void> done = context->run(each.run(where, told));
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_GT(told.durable.size(), 0U);
    const violations wrong = context->run(each.check(where, told.all));
    EXPECT_TRUE(wrong.empty()) << joined(wrong);
  }
}

TEST_P(scenario_test, a_disk_that_has_lost_everything_is_found_out) {
  for (const scenario& each : portable_scenarios()) {
    SCOPED_TRACE(each.name);
    const temp_directory directory;
    const temp_directory empty;
    noted_promises told;
    const auto context = open_context(GetParam());
    const result<void> done =
        context->run(each.run(in(*context, directory.path(), GetParam()), told));
    ASSERT_TRUE(done) << done.error().message();
    const surroundings lost = in(*context, empty.path(), GetParam());
    EXPECT_FALSE(context->run(each.check(lost, told.durable)).empty());
  }
}

TEST_P(scenario_test, where_nothing_was_promised_an_empty_disk_will_do) {
  for (const scenario& each : portable_scenarios()) {
    SCOPED_TRACE(each.name);
    const temp_directory directory;
    const auto context = open_context(GetParam());
    const surroundings where = in(*context, directory.path(), GetParam());
    const violations wrong = context->run(each.check(where, promise_book()));
    EXPECT_TRUE(wrong.empty()) << joined(wrong);
  }
}

INSTANTIATE_TEST_SUITE_P(drivers, scenario_test, ::testing::ValuesIn(driver_names),
                         testing::name_of_driver);

TEST(contents, a_version_is_known_whole_and_not_in_part) {
  for (const std::size_t size : {0U, 16U, 17U, 5000U}) {
    std::vector<std::byte> bytes = make_version(1, "name", 3, size);
    EXPECT_EQ(version_in(bytes, 1, "name"), 3U);
    EXPECT_EQ(version_in(std::span(bytes).first(bytes.size() - 1), 1, "name"), std::nullopt);
    bytes.back() ^= std::byte{1};
    EXPECT_EQ(version_in(bytes, 1, "name"), std::nullopt);
  }
}

TEST(contents, a_version_of_another_seed_or_name_is_none) {
  const std::vector<std::byte> bytes = make_version(1, "name", 3, 100);
  EXPECT_EQ(version_in(bytes, 2, "name"), std::nullopt);
  EXPECT_EQ(version_in(bytes, 1, "other"), std::nullopt);
}

TEST(contents, a_place_has_the_same_byte_however_it_is_filled) {
  std::vector<std::byte> whole(1000);
  fill(whole, 1, "name");
  std::vector<std::byte> part(100);
  fill(part, 1, "name", 333);
  EXPECT_TRUE(std::ranges::equal(part, std::span(whole).subspan(333, 100)));
  EXPECT_TRUE(is_filled(part, 1, "name", 333));
  EXPECT_FALSE(is_filled(part, 1, "name", 334));
}

TEST(promise_book, keeps_the_latest_version_of_each_subject) {
  promise_book book;
  book.add("a", 2);
  book.add("a", 1);
  EXPECT_EQ(book.version_of("a"), 2U);
  EXPECT_EQ(book.version_of("b"), 0U);
}

}  // namespace
}  // namespace weir::scenarios
