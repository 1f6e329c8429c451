#include "durability/real/cuts.hpp"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

namespace weir::real_disks {
namespace {

constexpr std::size_t disk_size = 65536;

/// A recorded disk that is written to by hand.
class cuts_test : public ::testing::Test {
 protected:
  cuts_test() { recorded_.start(); }

  void write(std::uint64_t offset, std::size_t length, unsigned char value) {
    const std::vector<std::byte> bytes(length, std::byte{value});
    ASSERT_TRUE(recorded_.write(offset, bytes));
  }
  void flush() { ASSERT_TRUE(recorded_.flush()); }
  unsigned at(std::uint64_t offset) const {
    return std::to_integer<unsigned>(recorded_.disk()[offset]);
  }
  disk_history history() {
    recorded_.stop();
    return recorded_.history();
  }

  recording recorded_{disk_size};
  prepared_contents empty_{disk_size, {}};
  ledger told_{[this] { return recorded_.position(); }};
};

TEST_F(cuts_test, after_a_flush_all_before_it_is_there_and_nothing_after_it) {
  write(0, 4096, 1);
  flush();
  write(0, 4096, 2);
  write(8192, 512, 3);
  const disk_history log = history();
  cut_disk disk(log, empty_, recorded_.disk());
  disk.go_to({.stable = 2, .position = 2, .rest = remainder::none, .seed = 0});
  EXPECT_EQ(at(0), 1U);
  EXPECT_EQ(at(4095), 1U);
  EXPECT_EQ(at(8192), 0U);
}

TEST_F(cuts_test, what_was_not_flushed_may_be_there_up_to_the_cut) {
  write(0, 4096, 1);
  flush();
  write(0, 4096, 2);
  write(8192, 512, 3);
  const disk_history log = history();
  cut_disk disk(log, empty_, recorded_.disk());
  disk.go_to({.stable = 2, .position = 3, .rest = remainder::all, .seed = 0});
  EXPECT_EQ(at(0), 2U);
  EXPECT_EQ(at(8192), 0U);
  disk.go_to({.stable = 2, .position = 4, .rest = remainder::none, .seed = 0});
  EXPECT_EQ(at(0), 1U);
  EXPECT_EQ(at(8192), 0U);
}

TEST_F(cuts_test, a_write_is_torn_at_sectors_and_nowhere_else) {
  write(0, 65536, 1);
  const disk_history log = history();
  cut_disk disk(log, empty_, recorded_.disk());
  disk.go_to({.stable = 0, .position = 1, .rest = remainder::shredded, .seed = 5});
  std::size_t kept = 0;
  for (std::uint64_t sector = 0; sector < disk_size; sector += sector_size) {
    const auto bytes = recorded_.disk().subspan(sector, sector_size);
    EXPECT_TRUE(std::ranges::all_of(bytes, [&](std::byte each) { return each == bytes[0]; }));
    kept += at(sector);
  }
  EXPECT_GT(kept, 20U);
  EXPECT_LT(kept, 108U);
}

TEST_F(cuts_test, what_somebody_has_written_after_a_cut_is_gone_at_the_next) {
  write(0, 512, 1);
  flush();
  write(512, 512, 1);
  flush();
  const disk_history log = history();
  cut_disk disk(log, empty_, recorded_.disk());
  disk.go_to({.stable = 2, .position = 2, .rest = remainder::none, .seed = 0});
  recorded_.start();
  write(0, 512, 9);
  write(30000, 512, 9);
  recorded_.stop();
  disk.was_written(recorded_.history());
  disk.go_to({.stable = 4, .position = 4, .rest = remainder::none, .seed = 0});
  EXPECT_EQ(at(0), 1U);
  EXPECT_EQ(at(512), 1U);
  EXPECT_EQ(at(30000), 0U);
}

TEST_F(cuts_test, in_the_end_the_disk_is_as_it_was_before) {
  write(0, 512, 1);
  flush();
  write(512, 512, 1);
  const disk_history log = history();
  {
    cut_disk disk(log, empty_, recorded_.disk());
    disk.go_to({.stable = 2, .position = 3, .rest = remainder::all, .seed = 0});
  }
  EXPECT_TRUE(std::ranges::equal(recorded_.disk(), empty_.base.span()));
  EXPECT_TRUE(std::ranges::equal(empty_.stable.span(), empty_.base.span()));
}

TEST_F(cuts_test, are_chosen_at_flushes_and_between_in_the_order_of_the_log) {
  for (unsigned round = 0; round < 10; ++round) {
    write(std::uint64_t{round} * 512, 512, 1);
    write(std::uint64_t{round} * 512, 512, 2);
    flush();
    told_.promise("it", round + 1, scenarios::survives::power_loss);
  }
  const std::vector<cut> chosen = choose_cuts(history(), told_, 40, 1);
  EXPECT_EQ(chosen.size(), 40U);
  EXPECT_TRUE(std::ranges::is_sorted(chosen, {}, &cut::stable));
  EXPECT_EQ(std::ranges::count_if(chosen, &cut::is_at_flush), 10);
  std::set<remainder> rests;
  for (const cut& each : chosen) {
    EXPECT_EQ(each.stable % 3, 0U);
    EXPECT_LE(each.position, each.stable + 2);
    if (!each.is_at_flush()) rests.insert(each.rest);
  }
  EXPECT_EQ(rests.size(), 5U);
}

TEST_F(cuts_test, a_promise_holds_from_the_moment_on_at_which_it_was_given) {
  write(0, 512, 1);
  flush();
  told_.promise("it", 1, scenarios::survives::power_loss);
  write(0, 512, 2);
  told_.promise("it", 2, scenarios::survives::process_end);
  EXPECT_EQ(told_.durable_at(1).version_of("it"), 0U);
  EXPECT_EQ(told_.durable_at(2).version_of("it"), 1U);
  EXPECT_EQ(told_.durable_at(3).version_of("it"), 1U);
}

}  // namespace
}  // namespace weir::real_disks
