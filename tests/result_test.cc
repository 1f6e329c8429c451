#include "weir/result.hpp"

#include <cerrno>
#include <set>
#include <string>

#include "support/support.hpp"

namespace weir::testing {
namespace {

TEST(result, every_error_of_weir_has_a_sentence_of_its_own) {
  std::set<std::string> sentences;
  for (const errc each :
       {errc::short_read, errc::daemon_lost, errc::no_driver, errc::no_progress, errc::too_long}) {
    const std::error_code code = each;
    EXPECT_STREQ(code.category().name(), "weir");
    EXPECT_EQ(code.message().find("unknown"), std::string::npos) << code.message();
    EXPECT_TRUE(sentences.insert(code.message()).second) << code.message();
  }
}

TEST(result, an_unknown_error_of_weir_says_its_number) {
  EXPECT_EQ(error_category().message(4711), "unknown weir error 4711");
}

TEST(result, errors_of_weir_and_of_the_system_are_told_apart) {
  const std::error_code eperm(EPERM, std::system_category());
  ASSERT_EQ(eperm.value(), static_cast<int>(errc::short_read));
  EXPECT_NE(eperm, errc::short_read);
  EXPECT_EQ(make_error_code(errc::short_read), errc::short_read);
}

// Invariant 2
TEST(result, an_answer_is_a_count_or_a_negative_errno) {
  EXPECT_EQ(detail::to_result<std::size_t>(0), 0);
  EXPECT_EQ(detail::to_result<std::size_t>(INT32_MAX), INT32_MAX);
  EXPECT_EQ(detail::to_result<std::size_t>(-ENOSPC).error(), std::errc::no_space_on_device);
  EXPECT_TRUE(detail::to_result<void>(0).has_value());
  EXPECT_EQ(detail::to_result<void>(-EIO).error(), std::errc::io_error);
}

TEST(result, a_transfer_result_says_how_far_it_came_when_it_failed) {
  const result<std::size_t> failure = std::unexpected(make_error_code(errc::short_read));
  const transfer_result outcome(failure, 100);
  EXPECT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error(), errc::short_read);
  EXPECT_EQ(outcome.transferred, 100);
}

}  // namespace
}  // namespace weir::testing
