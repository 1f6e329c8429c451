// What a power failure takes of a simulated disk: one rule of docs/simulation.md a test.

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "simulated/simulated_machine.hpp"

namespace weir::testing {
namespace {

using outcomes = std::set<std::string>;

constexpr std::uint64_t seeds = 200;  // enough for whatever happens in one of ten

/// What may be found at a path after `work` and a power failure, over many seeds.
outcomes found_after(simulated_options options, const std::function<void(machine&)>& work,
                     const std::string& path = "/f") {
  outcomes found;
  for (options.seed = 1; options.seed <= seeds; ++options.seed) {
    machine one(options);
    work(one);
    found.insert(one.after_power_failure().contents(path));
  }
  return found;
}

TEST(power_failure, keeps_what_was_synced_with_its_directory) {
  const auto found = found_after({}, [](machine& one) {
    file f = one.opened("/f");
    EXPECT_EQ(one.write(f, "synced"), 6);
    EXPECT_EQ(one.sync(f), 0);
    EXPECT_FALSE(one.sync_root());
  });
  EXPECT_EQ(found, outcomes{"synced"});
}

TEST(power_failure, takes_a_name_whose_directory_was_not_synced) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.write(f, "synced");
    one.sync(f);
  });
  EXPECT_EQ(found, (outcomes{"-", "synced"}));
}

TEST(power_failure, takes_what_was_not_synced_and_leaves_it_at_times) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.write(f, "old");
    one.sync(f);
    one.sync_root();
    one.write(f, "new");
  });
  EXPECT_EQ(found, (outcomes{"new", "old"}));
}

TEST(power_failure, leaves_what_was_written_back_by_itself) {
  const simulated_options options{.loss = power_loss::all, .writeback = 0.5};
  const auto found = found_after(options, [](machine& one) {
    file f = one.opened("/f");
    one.sync_root();
    one.write(f, "written");
    one.write(f, "W");
  });
  EXPECT_EQ(found, (outcomes{"", "Written", "written"}));
}

TEST(power_failure, leaves_what_was_over_the_limit_of_what_waits) {
  machine one({.loss = power_loss::all, .dirty_limit = 2 * 4096, .writeback = 0});
  file f = one.opened("/f");
  one.sync_root();
  one.write(f, all('x', std::size_t{3} * 4096));
  EXPECT_EQ(one.after_power_failure().contents("/f").size(), std::size_t{3} * 4096);
}

TEST(power_failure, takes_all_or_nothing_where_that_is_asked_for) {
  for (const auto& [loss, left] : {std::pair(power_loss::all, "-"), {power_loss::none, "here"}}) {
    machine one({.loss = loss, .writeback = 0});
    file f = one.opened("/f");
    one.write(f, "here");
    EXPECT_EQ(one.after_power_failure().contents("/f"), left);
  }
}

TEST(power_failure, takes_all_from_a_moment_on_where_the_order_is_kept) {
  const simulated_options options{.loss = power_loss::in_order, .writeback = 0};
  const auto found = found_after(options, [](machine& one) {
    file f = one.opened("/f");
    one.sync_root();
    one.write(f, "1", 0);
    one.write(f, "2", 1);
    one.write(f, "3", 2);
  });
  EXPECT_EQ(found, (outcomes{"", "1", "12", "123"}));
}

TEST(power_failure, leaves_what_came_later_without_what_came_first) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.sync_root();
    one.write(f, all('1', 4096), 0);
    one.write(f, all('2', 4096), 4096);
  });
  EXPECT_TRUE(found.contains(all('\0', 4096) + all('2', 4096)));
}

TEST(power_failure, tears_a_page_between_its_sectors) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.write(f, all('o', 4096));
    one.sync(f);
    one.sync_root();
    one.write(f, all('n', 4096));
  });
  for (const std::string& each : found) {
    ASSERT_EQ(each.size(), 4096U);
    for (std::size_t at = 0; at < 4096; at += 512) {
      EXPECT_EQ(each.substr(at, 512), all(each[at], 512)) << "torn within a sector";
    }
  }
  EXPECT_GT(found.size(), 5U) << "old, new, and several between";
}

TEST(power_failure, leaves_zeros_in_a_torn_end_of_a_file) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.sync_root();
    one.write(f, all('n', 2048));
  });
  EXPECT_TRUE(std::ranges::any_of(found, [](const std::string& each) {
    return each.size() == 2048 && each.starts_with(all('\0', 512));
  }));
}

TEST(power_failure, takes_a_rename_whole) {
  const auto work = [](machine& one) {
    for (const char* path : {"/f", "/new"}) {
      file f = one.opened(path);
      one.write(f, path);
      one.sync(f);
    }
    one.sync_root();
    EXPECT_TRUE(one.wait_for(rename(one.context, "/new", "/f")));
  };
  EXPECT_EQ(found_after(quiet(), work), (outcomes{"/f", "/new"}));
  EXPECT_EQ(found_after(quiet(), work, "/new"), (outcomes{"-", "/new"}));
}

TEST(power_failure, leaves_an_empty_file_where_one_was_renamed_before_it_was_synced) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/new");
    one.write(f, "contents");
    EXPECT_TRUE(one.wait_for(rename(one.context, "/new", "/f")));
    EXPECT_FALSE(one.sync_root());
  });
  EXPECT_EQ(found, (outcomes{"", "contents"}));
}

TEST(power_failure, leaves_names_that_a_journal_has_with_any_file) {
  const simulated_options options{.names = name_order::journal, .writeback = 0};
  const auto found = found_after(options, [](machine& one) {
    one.opened("/f");
    file other = one.opened("/other");
    one.sync(other);
  });
  EXPECT_EQ(found, outcomes{""});
}

TEST(power_failure, brings_back_a_removed_file) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.write(f, "there");
    one.sync(f);
    one.sync_root();
    EXPECT_TRUE(one.wait_for(f.close()));
    EXPECT_TRUE(one.wait_for(remove_file(one.context, "/f")));
    EXPECT_EQ(one.contents("/f"), "-");
  });
  EXPECT_EQ(found, (outcomes{"-", "there"}));
}

TEST(power_failure, does_not_mix_what_was_cut_off_with_what_came_after) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.write(f, all('o', 1024));
    one.sync(f);
    one.sync_root();
    one.resize(f, 0);
    one.write(f, all('n', 512));
  });
  EXPECT_EQ(found, (outcomes{"", all('n', 512), all('o', 1024)}));
}

TEST(power_failure, leaves_what_was_written_with_dsync) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.sync_root();
    constexpr std::string_view text = "durable";
    auto what = write_request(f.native_handle(), std::as_bytes(std::span(text)));
    what.flags = RWF_DSYNC;
    EXPECT_EQ(one.answer_to(what), 7);
  });
  EXPECT_EQ(found, outcomes{"durable"});
}

TEST(power_failure, has_let_some_of_what_was_in_flight_happen) {
  const auto found = found_after(quiet(), [](machine& one) {
    file f = one.opened("/f");
    one.sync_root();
    constexpr std::string_view text = "in flight";
    auto what = write_request(f.native_handle(), std::as_bytes(std::span(text)));
    what.flags = RWF_SYNC;
    recorded at_once({.op = opcode::nop});
    recorded op(what);
    one.context.start(at_once);
    one.context.start(op);
    one.context.flush();
    one.disk.power_off();
    one.context.run();
    EXPECT_EQ(op.answer(), -ENODEV);
  });
  EXPECT_EQ(found, (outcomes{"", "in flight"}));
}

TEST(power_failure, leaves_the_same_each_time_the_power_is_back) {
  machine one(quiet());
  file f = one.opened("/f");
  one.sync_root();
  one.write(f, all('x', 8192));
  const std::string once = one.after_power_failure().contents("/f");
  EXPECT_EQ(one.after_power_failure().contents("/f"), once);
  EXPECT_EQ(one.write(f, "late"), -ENODEV);
  EXPECT_FALSE(one.disk.is_on());
}

TEST(power_failure, comes_after_an_operation_that_nobody_hears_of) {
  machine one(quiet());
  file f = one.opened("/f");
  one.sync_root();
  one.disk.power_off_after(one.disk.operations() + 2);
  EXPECT_EQ(one.write(f, "one"), 3);
  EXPECT_EQ(one.write(f, "two"), -ENODEV);
  EXPECT_FALSE(one.disk.is_on());
}

TEST(power_failure, may_be_taken_back) {
  machine one(quiet());
  file f = one.opened("/f");
  one.disk.power_off_after(one.disk.operations() + 1);
  one.disk.power_off_after(0);
  EXPECT_EQ(one.write(f, "one"), 3);
}

}  // namespace
}  // namespace weir::testing
