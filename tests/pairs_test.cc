// What the benchmarks conclude from the slices that they have timed.

#include "support/pairs.hpp"

#include <string>
#include <vector>

#include "support/support.hpp"

namespace weir::bench {
namespace {

TEST(pairs, each_is_first_in_every_other_pair) {
  std::string order;
  const auto ours = [&] {
    order += 'A';
    return 1.0;
  };
  const auto peer = [&] {
    order += 'B';
    return 1.0;
  };
  compare_values(ours, peer, 3);
  EXPECT_EQ(order, "ABBAAB");
}

TEST(pairs, the_ratio_is_the_median_of_the_pairs_ratios_not_the_ratio_of_medians) {
  // The machine was ten times slower during the second pair, and three times during the third.
  std::vector<double> ours{3, 30, 12};
  std::vector<double> peer{2, 20, 6};
  std::size_t next_of_ours = 0;
  std::size_t next_of_peer = 0;
  const comparison found =
      compare_values([&] { return ours[next_of_ours++]; }, [&] { return peer[next_of_peer++]; }, 3);
  EXPECT_DOUBLE_EQ(found.median, 1.5);
  EXPECT_DOUBLE_EQ(found.least, 1.5);
  EXPECT_DOUBLE_EQ(found.most, 2);
  EXPECT_DOUBLE_EQ(found.ours, 12);
  EXPECT_DOUBLE_EQ(found.peers, 6);
}

TEST(pairs, the_median_of_an_even_number_lies_between_the_two_in_the_middle) {
  EXPECT_DOUBLE_EQ(median_of({4, 1, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(median_of({9, 1, 5}), 5);
  EXPECT_DOUBLE_EQ(median_of({7}), 7);
}

}  // namespace
}  // namespace weir::bench
