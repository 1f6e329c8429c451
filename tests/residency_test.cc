#include "residency.hpp"

#include <random>

#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::residency;

/// Of `reads` reads, of which this fraction is resident, how many were tried.
int tries_of(residency& file, int reads, double resident) {
  std::mt19937 random(1);
  std::bernoulli_distribution hits(resident);
  int tries = 0;
  for (int i = 0; i < reads; ++i) {
    if (!file.worth_trying()) continue;
    ++tries;
    file.learn(hits(random) ? at_once::done : at_once::would_wait);
  }
  return tries;
}

TEST(residency_test, a_new_file_is_worth_trying) { EXPECT_TRUE(residency().worth_trying()); }

TEST(residency_test, what_is_resident_is_tried_always) {
  residency file;
  EXPECT_EQ(tries_of(file, 1000, 1), 1000);
}

TEST(residency_test, a_miss_now_and_then_changes_nothing) {
  residency file;
  EXPECT_GE(tries_of(file, 10'000, 0.97), 9'900);
}

TEST(residency_test, what_is_not_resident_is_tried_ever_more_rarely) {
  residency file;
  const int first = tries_of(file, 1'000, 0);
  EXPECT_LE(first, 16);
  EXPECT_LE(tries_of(file, 1'000'000, 0), 1'100);
}

TEST(residency_test, as_many_hits_as_misses_are_not_worth_it) {
  residency file;
  EXPECT_LE(tries_of(file, 100'000, 0.5), 20'000);
}

TEST(residency_test, a_file_that_becomes_resident_is_found_out) {
  residency file;
  tries_of(file, 1'000'000, 0);
  tries_of(file, 1'100, 1);
  EXPECT_EQ(tries_of(file, 1'000, 1), 1'000);
}

TEST(residency_test, what_has_been_given_up_is_never_tried) {
  residency file;
  file.give_up();
  EXPECT_EQ(tries_of(file, 10'000, 1), 0);
  residency other;
  other.learn(at_once::never);
  EXPECT_EQ(tries_of(other, 10'000, 1), 0);
}

}  // namespace
}  // namespace weir::testing
