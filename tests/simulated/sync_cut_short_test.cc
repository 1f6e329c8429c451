// A sync, or a write that carries one, during which the power fails.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "simulated/faults.hpp"
#include "weir/simulated.hpp"
#include "weir/weir.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;
const std::string old_page(page, 'a');
const std::string new_page(page, 'b');

enum class how : bool { durable_write, write_and_sync };

/// A file that durably holds the old page is given the new one.
task<void> overwrite(io_context& context, how way) {
  result<file> made = co_await create_durably(context, "/file");
  if (!made) co_return;
  const auto bytes = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  if (!co_await commit(*made, bytes(old_page), 0)) co_return;
  if (way == how::durable_write) {
    [[maybe_unused]] const auto written =
        co_await made->write_at(bytes(new_page), 0, {.sync = durability::data});
  } else {
    [[maybe_unused]] const auto written = co_await made->write_at(bytes(new_page), 0);
    [[maybe_unused]] const auto synced = co_await made->sync();
  }
}

task<std::string> contents(io_context& context) {
  result<file> opened = co_await open(context, "/file");
  if (!opened) co_return opened.error().message();
  std::string found(page, ' ');
  const auto read = co_await opened->read_exactly_at(std::as_writable_bytes(std::span(found)), 0);
  co_return read ? found : read.error().message();
}

/// The number of the last operation, which is the sync.
std::uint64_t operations_of(how way) {
  simulated_disk disk = simulated_disk::make().value();
  io_context context(disk.open_driver().value());
  context.run(overwrite(context, way));
  return disk.operations();
}

struct outcome {
  std::string contents;
  std::vector<simulated_fault_at> faults;
};

outcome fail_after(how way, std::uint64_t operations, const simulated_options& options) {
  simulated_disk disk = simulated_disk::make(options).value();
  disk.power_off_after(operations);
  {
    io_context context(disk.open_driver().value());
    context.run(overwrite(context, way));
  }
  simulated_disk after = disk.power_on();
  io_context context(after.open_driver().value());
  return {context.run(contents(context)), disk.faults_met()};
}

class sync_cut_short : public ::testing::TestWithParam<how> {};

INSTANTIATE_TEST_SUITE_P(ways, sync_cut_short,
                         ::testing::Values(how::durable_write, how::write_and_sync));

TEST_P(sync_cut_short, may_have_done_all_or_nothing_or_some) {
  const std::uint64_t last = operations_of(GetParam());
  bool nothing = false;
  bool all = false;
  bool some = false;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const std::string found = fail_after(GetParam(), last, {.seed = seed}).contents;
    ASSERT_EQ(found.size(), page);
    nothing |= found == old_page;
    all |= found == new_page;
    some |= found != old_page && found != new_page;
  }
  EXPECT_TRUE(nothing);
  EXPECT_TRUE(all);
  EXPECT_TRUE(some) << "no page was torn";
}

TEST_P(sync_cut_short, has_done_all_once_it_was_answered) {
  const std::uint64_t last = operations_of(GetParam());
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    EXPECT_EQ(fail_after(GetParam(), last + 1, {.seed = seed}).contents, new_page);
  }
}

TEST_P(sync_cut_short, has_done_all_where_that_fault_is_left_out_of_a_replay) {
  const std::uint64_t last = operations_of(GetParam());
  const simulated_fault_at its_sync{last, detail::simulated::its_sync, simulated_fault::lost};
  int cut_short = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    outcome first = fail_after(GetParam(), last, {.seed = seed});
    cut_short += static_cast<int>(std::erase(first.faults, its_sync));
    const simulated_options again{.seed = seed, .replay = first.faults};
    EXPECT_EQ(fail_after(GetParam(), last, again).contents, new_page);
  }
  EXPECT_GT(cut_short, 5);
}

}  // namespace
}  // namespace weir::testing
