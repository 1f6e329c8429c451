#include "daemon/client/block_map.hpp"

#include <cstdint>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using detail::daemon::block_map;

constexpr std::size_t block = block_map::block;

TEST(block_map, gives_whole_blocks_until_there_are_none) {
  block_map map(4 * block + 100);
  EXPECT_EQ(map.take(1), 0);
  EXPECT_EQ(map.take(block), block);
  EXPECT_EQ(map.take(block + 1), 2 * block);
  EXPECT_EQ(map.blocks_in_use(), 4);
  EXPECT_FALSE(map.take(1));
}

TEST(block_map, has_nothing_for_who_wants_nothing_or_too_much) {
  block_map map(4 * block);
  EXPECT_FALSE(map.take(0));
  EXPECT_FALSE(map.take(4 * block + 1));
  EXPECT_FALSE(block_map(block - 1).take(1));
}

TEST(block_map, gives_again_what_came_back) {
  block_map map(4 * block);
  const auto first = map.take(2 * block);
  ASSERT_TRUE(first);
  ASSERT_TRUE(map.take(2 * block));
  map.give_back(*first, 2 * block);
  EXPECT_FALSE(map.take(3 * block));
  EXPECT_EQ(map.take(2 * block), *first);
}

TEST(block_map, finds_what_lies_across_where_the_last_search_ended) {
  block_map map(4 * block);
  ASSERT_EQ(map.take(2 * block), 0);
  map.give_back(0, 2 * block);  // the search goes on at block 2
  EXPECT_EQ(map.take(3 * block), 0);
}

// Nothing is given twice, and everything is found again in the end.
TEST(block_map, never_gives_the_same_twice) {
  constexpr std::size_t blocks = 64;
  block_map map(blocks * block);
  std::map<std::uint64_t, std::size_t> given;
  std::minstd_rand random(1);
  for (int i = 0; i < 20'000; ++i) {
    if (given.empty() || random() % 2 == 0) {
      const std::size_t size = 1 + random() % (9 * block);
      const auto place = map.take(size);
      if (!place) continue;
      const auto next = given.lower_bound(*place);
      if (next != given.end()) {
        EXPECT_LE(*place + size, next->first);
      }
      if (next != given.begin()) {
        EXPECT_LE(std::prev(next)->first + std::prev(next)->second, *place);
      }
      EXPECT_LE(*place + size, blocks * block);
      given[*place] = size;
    } else {
      const auto some = std::next(given.begin(), static_cast<long>(random() % given.size()));
      map.give_back(some->first, some->second);
      given.erase(some);
    }
  }
  for (const auto& [place, size] : given) map.give_back(place, size);
  EXPECT_EQ(map.blocks_in_use(), 0);
  EXPECT_TRUE(map.take(blocks * block));
}

}  // namespace
}  // namespace weir::testing
