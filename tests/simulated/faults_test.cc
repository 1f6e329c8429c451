// The faults of a simulated disk, each by itself.

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "simulated/simulated_machine.hpp"

namespace weir::testing {
namespace {

/// Only this, and only there.
simulated_options with_fault(std::uint64_t operation, simulated_fault what) {
  simulated_options options{.loss = power_loss::all, .writeback = 0};
  options.replay = {{.operation = operation, .what = what}};
  return options;
}

simulated_options always(double simulated_faults::* rate) {
  simulated_options options = quiet();
  options.faults.*rate = 1;
  return options;
}

// Opening is the first operation, and syncing the root three more.
constexpr std::uint64_t operations_before = 4;

file synced_file(machine& on) {
  file f = on.opened("/f");
  EXPECT_FALSE(on.sync_root());
  EXPECT_EQ(on.disk.operations(), operations_before);
  return f;
}

TEST(simulated_faults, a_failed_sync_forgets_what_it_was_to_make_durable) {
  machine one(with_fault(operations_before + 2, simulated_fault::sync_failed));
  file f = synced_file(one);
  EXPECT_EQ(one.write(f, "lost"), 4);
  EXPECT_EQ(one.sync(f), -EIO);
  EXPECT_EQ(one.sync(f), 0) << "it is told once";
  EXPECT_EQ(one.contents("/f"), "lost") << "it is still in memory";
  EXPECT_EQ(one.after_power_failure().contents("/f"), "");
}

TEST(simulated_faults, a_page_written_again_after_a_failed_sync_is_whole) {
  machine one(with_fault(operations_before + 2, simulated_fault::sync_failed));
  file f = synced_file(one);
  one.write(f, "lost?");
  EXPECT_EQ(one.sync(f), -EIO);
  one.write(f, "!", 5);
  EXPECT_EQ(one.sync(f), 0);
  EXPECT_EQ(one.after_power_failure().contents("/f"), "lost?!");
}

TEST(simulated_faults, a_bad_sector_stays_bad_until_it_is_written) {
  machine one(always(&simulated_faults::bad_sector));
  file f = synced_file(one);
  one.write(f, all('x', 512));
  EXPECT_EQ(one.contents("/f"), all('x', 512)) << "it is in memory";
  one.sync(f);
  std::array<std::byte, 512> memory{};
  EXPECT_EQ(one.answer_to(read_request(f.native_handle(), memory)), -EIO);

  machine later = one.after_power_failure();  // where no new faults come
  file g = later.opened("/f");
  const auto read = read_request(g.native_handle(), memory);
  EXPECT_EQ(later.answer_to(read), -EIO);
  EXPECT_EQ(later.write(g, all('y', 512)), 512);
  EXPECT_EQ(later.sync(g), 0);
  EXPECT_EQ(later.answer_to(read), 512);
}

TEST(simulated_faults, what_is_before_a_bad_sector_can_be_read) {
  machine one(always(&simulated_faults::bad_sector));
  file f = synced_file(one);
  one.write(f, all('x', 8192));
  one.sync(f);
  std::vector<std::byte> memory(8192);
  const std::int32_t count = one.answer_to(read_request(f.native_handle(), memory));
  EXPECT_TRUE(count == -EIO || (count > 0 && count < 8192 && count % 512 == 0)) << count;
}

TEST(simulated_faults, a_rotten_bit_stays_so) {
  machine one(always(&simulated_faults::bit_rot));
  file f = synced_file(one);
  one.write(f, all('\0', 1000));
  one.sync(f);
  const std::string found = one.contents("/f");
  EXPECT_EQ(std::ranges::count(found, '\0'), 999);
  EXPECT_EQ(one.after_power_failure().contents("/f"), found);
}

TEST(simulated_faults, a_misdirected_page_is_elsewhere) {
  machine one(with_fault(operations_before + 3, simulated_fault::misdirected));
  file f = synced_file(one);
  one.write(f, all('a', 8192));
  one.sync(f);
  one.write(f, all('b', 4096));
  EXPECT_EQ(one.sync(f), 0);
  EXPECT_EQ(one.contents("/f"), all('a', 4096) + all('b', 4096));
}

TEST(simulated_faults, an_error_has_had_no_effect) {
  const std::array<std::pair<double simulated_faults::*, std::int32_t>, 3> errors = {
      {{&simulated_faults::io_error, -EIO},
       {&simulated_faults::would_block, -EAGAIN},
       {&simulated_faults::interrupted, -EINTR}}};
  for (const auto& [rate, error] : errors) {
    simulated_faults faults;
    faults.*rate = 1;
    machine sound(quiet());
    file f = sound.opened("/f");
    sound.write(f, "before");
    sound.sync(f);
    sound.sync_root();
    machine one(sound.disk.power_on(faults));
    recorded opening({.op = opcode::openat,
                      .fd = AT_FDCWD,
                      .flags = O_RDWR,
                      .address = const_cast<char*>("/f")});
    one.context.start(opening);
    one.context.run();
    if (error == -EINTR) {
      EXPECT_EQ(opening.answer(), error);
      continue;
    }
    constexpr std::string_view text = "after";
    const auto what = write_request(opening.answer(), std::as_bytes(std::span(text)));
    EXPECT_EQ(one.answer_to(what), error);
    EXPECT_EQ(machine(one.disk.power_on()).contents("/f"), "before");
  }
}

TEST(simulated_faults, a_short_transfer_ends_where_it_can_be_resumed) {
  machine one(always(&simulated_faults::short_transfer));
  file f = synced_file(one);
  const std::int32_t count = one.write(f, all('x', 8192));
  EXPECT_GT(count, 0);
  EXPECT_LT(count, 8192);
  EXPECT_EQ(count % 512, 0);
}

TEST(simulated_faults, a_stalled_operation_takes_its_time) {
  simulated_options options = always(&simulated_faults::stalled);
  options.latency = {simulated_latency::shape::constant, 1000, 5000, 77};
  machine one(options);
  one.wait_for(open(one.context, "/f", {.write = true, .create = true})).value();
  EXPECT_EQ(one.disk.now_ns(), 1077);
}

TEST(simulated_faults, a_disk_is_full_at_its_capacity) {
  for (const auto& [options, error] : {std::pair(simulated_options{.capacity = 8192}, -ENOSPC),
                                       {simulated_options{.quota = 8192}, -EDQUOT}}) {
    machine one(options);
    file f = one.opened("/f");
    EXPECT_EQ(one.write(f, all('x', 10000)), 8192);
    EXPECT_EQ(one.write(f, "more", 8192), error);
    EXPECT_EQ(one.write(f, "over", 4000), 4) << "what is there can be overwritten";
    EXPECT_EQ(one.resize(f, 4096), 0);
    EXPECT_EQ(one.write(f, "more", 4096), 4) << "and what was given back, taken again";
  }
}

TEST(simulated_faults, are_replayed_and_nothing_else) {
  simulated_options options{.faults = {.short_transfer = 0.5, .stalled = 0.3}};
  const auto work = [](machine& on) {
    file f = on.opened("/f");
    for (int i = 0; i < 20; ++i) on.write(f, all('x', 3000), 1000 * static_cast<unsigned>(i));
    return on.disk.faults_met();
  };
  machine first(options);
  const auto met = work(first);
  ASSERT_GT(met.size(), 4U);
  options.replay = met;
  machine second(options);
  EXPECT_EQ(work(second), met);
  options.replay->resize(1);
  machine third(options);
  EXPECT_EQ(work(third), *options.replay);
}

TEST(simulated_faults, rates_that_are_none_are_refused) {
  simulated_options rate;
  rate.faults.bit_rot = 1.5;
  const auto refused = [](const simulated_options& options) {
    return error_of(simulated_disk::make(options)).value() == EINVAL;
  };
  EXPECT_TRUE(refused(rate));
  EXPECT_TRUE(refused({.latency = {.typical_ns = -1}}));
  EXPECT_TRUE(refused({.sector_size = 500}));
  EXPECT_TRUE(refused({.sector_size = 8192}));
  EXPECT_TRUE(refused({.writeback = -1}));
}

}  // namespace
}  // namespace weir::testing
