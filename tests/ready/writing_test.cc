// Writing a ready file: accepted at once up to a bound, written behind the caller, never lost
// without a word.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <random>

#include "ready/ready_support.hpp"
#include "weir/faulty.hpp"

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class writing_ready_files : public ready_test {};
INSTANTIATE_TEST_SUITE_P(drivers, writing_ready_files,
                         ::testing::ValuesIn(driver_names_and_wrapped), name_of_driver);

// E17, E-D7
TEST_P(writing_ready_files, accepts_at_once_and_writes_behind) {
  const auto files = make();
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", for_writing);
  const auto bytes = patterned(100'000);
  EXPECT_EQ(files->try_write(handle, bytes).value_or(0), bytes.size());
  EXPECT_TRUE(files->close(handle));
  EXPECT_EQ(log.wait(handle, ready::closed), std::error_code{});
  EXPECT_EQ(contents_of(directory_ / "file"), bytes);
}

// Invariants 14 and 21; E-D6.
TEST_P(writing_ready_files, accepts_to_the_byte_what_the_bound_allows) {
  constexpr std::size_t bound = 100'001;
  gate writes;
  const auto files = make_behind(writes, {.write_behind = bound, .block_size = 8192});
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", for_writing);
  writes.close_for({opcode::write});
  const auto bytes = patterned(3 * bound);
  std::size_t accepted = 0;
  for (;;) {
    const auto put = files->try_write(handle, std::span(bytes).subspan(accepted, 777));
    if (says(put, EAGAIN)) break;
    ASSERT_TRUE(put) << put.error().message();
    accepted += *put;
    ASSERT_LE(accepted, bound);
  }
  EXPECT_EQ(accepted, bound);
  EXPECT_TRUE(says(files->try_write(handle, std::span(bytes).first(1)), EAGAIN));
  EXPECT_EQ(files->poll(handle).value(), 0U);
  EXPECT_EQ(log.count(handle, ready::writable), 0U);
  writes.open();
  EXPECT_EQ(log.wait(handle, ready::writable), std::error_code{});
  EXPECT_EQ(files->poll(handle).value(), ready::writable);
  EXPECT_TRUE(write_all(*files, log, handle, std::span(bytes).subspan(accepted)));
  EXPECT_EQ(log.count(handle, ready::writable), 0U);
  EXPECT_TRUE(files->close_and_wait(handle));
  EXPECT_EQ(contents_of(directory_ / "file"), bytes);
}

TEST_P(writing_ready_files, knows_no_bound_if_asked_to) {
  gate writes;
  const auto files = make_behind(writes, {.write_behind = ready_options::unbounded});
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", for_writing);
  writes.close_for({opcode::write});
  const auto bytes = patterned(20 << 20);
  EXPECT_EQ(files->try_write(handle, bytes).value_or(0), bytes.size());
  writes.open();
  EXPECT_TRUE(files->close_and_wait(handle));
  EXPECT_EQ(contents_of(directory_ / "file"), bytes);
}

// Invariant 21
TEST_P(writing_ready_files, writes_after_a_while_by_itself) {
  const auto files = make({.flush_after = 20ms});
  event_log log(*files);
  std::vector<int> handles;
  for (int i = 0; i < 3; ++i) {
    const auto path = directory_ / std::to_string(i);
    handles.push_back(opened(*files, log, path, for_writing));
    EXPECT_EQ(files->try_write(handles.back(), patterned(100)).value_or(0), 100U);
  }
  for (int i = 0; i < 3; ++i) {
    const auto path = directory_ / std::to_string(i);
    EXPECT_TRUE(eventually([&] { return size_of(path) == 100; }));
    EXPECT_EQ(files->try_write(handles[static_cast<std::size_t>(i)], patterned(50, 100)), 50U);
    EXPECT_TRUE(eventually([&] { return size_of(path) == 150; })) << "the second time";
    EXPECT_EQ(contents_of(path), patterned(150));
  }
}

TEST_P(writing_ready_files, writes_nothing_before_it_must) {
  gate seen;
  const auto files = make_behind(seen, {.flush_after = 1h});
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", for_writing);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(files->try_write(handle, patterned(100, static_cast<std::uint64_t>(i) * 100)), 100U);
  }
  EXPECT_EQ(seen.count(opcode::write), 0U);
  ASSERT_TRUE(files->sync(handle));
  EXPECT_EQ(log.wait(handle, ready::synced), std::error_code{});
  EXPECT_LE(seen.count(opcode::write), 2U);
  EXPECT_EQ(contents_of(directory_ / "file"), patterned(100'000));
}

// Invariant 17; E-D4, E-D13.
TEST_P(writing_ready_files, syncs_after_what_was_written_before) {
  std::atomic<int> writes_seen = 0;
  std::vector<std::pair<opcode, int>> order;
  gate seen;
  seen.look = [&](const request& what) {
    if (what.op == opcode::write) ++writes_seen;
    if (what.op == opcode::fsync || what.op == opcode::fdatasync)
      order.emplace_back(what.op, writes_seen.load());
  };
  const auto files = make_behind(seen, {.block_size = 4096});
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", for_writing);
  EXPECT_TRUE(files->sync(handle)) << "with nothing written";
  EXPECT_EQ(log.wait(handle, ready::synced), std::error_code{});
  EXPECT_TRUE(write_all(*files, log, handle, patterned(40'000)));
  EXPECT_TRUE(files->sync(handle, durability::full));
  EXPECT_TRUE(says(files->sync(handle), EALREADY));
  EXPECT_EQ(log.wait(handle, ready::synced), std::error_code{});
  EXPECT_EQ(contents_of(directory_ / "file"), patterned(40'000));
  EXPECT_TRUE(files->sync(handle, durability::none));
  EXPECT_EQ(log.wait(handle, ready::synced), std::error_code{});
  EXPECT_TRUE(files->close_and_wait(handle));
  ASSERT_EQ(order.size(), 2U);
  EXPECT_EQ(order[0], std::pair(opcode::fdatasync, 0));
  EXPECT_EQ(order[1].first, opcode::fsync);
  EXPECT_GE(order[1].second, 10);
}

/// Answers what it is told to the operations of one kind.
struct breaker {
  opcode kind;
  std::int32_t answer;
  std::uint64_t from = 0;  // what lies before that is spared
  std::atomic<int> hits{0};

  std::unique_ptr<driver> around(std::unique_ptr<driver> inner) {
    auto made = make_faulty(std::move(inner), {.decide = [this](const request& what) {
                              const bool hit = what.op == kind && what.offset >= from;
                              if (hit) ++hits;
                              return hit ? std::optional(answer) : std::nullopt;
                            }});
    return std::move(made).value();
  }
};

// Invariants 17, 19 and 21; E-D5.
TEST_P(writing_ready_files, never_forgets_the_first_error_of_a_write) {
  breaker broken{.kind = opcode::write, .answer = -ENOSPC, .from = 8192};
  ready_files files({.block_size = 4096}, broken.around(open_driver_named(GetParam())));
  event_log log(files);
  const int handle = opened(files, log, directory_ / "file", for_writing);
  const auto bytes = patterned(64 << 10);
  EXPECT_TRUE(files.try_write(handle, bytes));
  EXPECT_TRUE(eventually([&] { return says(files.try_write(handle, bytes), ENOSPC); }));
  EXPECT_TRUE(says(files.try_write(handle, bytes), ENOSPC));
  EXPECT_EQ(files.poll(handle).value_or(0), ready::writable);
  EXPECT_TRUE(says(files.sync(handle), ENOSPC));
  EXPECT_TRUE(files.close(handle));
  EXPECT_EQ(log.wait(handle, ready::closed), errno_of(ENOSPC));
  // What was written before is there.
  const auto there = contents_of(directory_ / "file");
  EXPECT_EQ(there.size(), 8192U);
  EXPECT_TRUE(holds_pattern(there, 0));
}

TEST_P(writing_ready_files, tells_who_waits_for_room_of_the_error) {
  breaker broken{.kind = opcode::write, .answer = -EIO};
  gate writes;
  ready_files files({.write_behind = 8192, .block_size = 4096},
                    writes.around(broken.around(open_driver_named(GetParam()))));
  event_log log(files);
  const int handle = opened(files, log, directory_ / "file", for_writing);
  writes.close_for({opcode::write});
  EXPECT_EQ(files.try_write(handle, patterned(8192)).value_or(0), 8192U);
  EXPECT_TRUE(says(files.try_write(handle, patterned(1)), EAGAIN));
  writes.open();
  EXPECT_EQ(log.wait(handle, ready::writable), std::error_code{});
  EXPECT_TRUE(says(files.try_write(handle, patterned(1)), EIO));
  EXPECT_TRUE(says(files.close_and_wait(handle), EIO));
}

TEST_P(writing_ready_files, tells_at_sync_what_failed_on_the_way) {
  breaker broken{.kind = opcode::write, .answer = -EIO};
  ready_files files({}, broken.around(open_driver_named(GetParam())));
  event_log log(files);
  const int handle = opened(files, log, directory_ / "file", for_writing);
  EXPECT_EQ(files.try_write(handle, patterned(10)).value_or(0), 10U);
  EXPECT_TRUE(files.sync(handle));
  EXPECT_EQ(log.wait(handle, ready::synced), errno_of(EIO));
  EXPECT_TRUE(says(files.close_and_wait(handle), EIO));
}

// Invariant 17: the kernel tells of lost writes once.
TEST_P(writing_ready_files, fails_for_good_after_a_sync_that_lost_writes) {
  breaker broken{.kind = opcode::fdatasync, .answer = -EIO};
  ready_files files({}, broken.around(open_driver_named(GetParam())));
  event_log log(files);
  const int handle = opened(files, log, directory_ / "file", for_writing);
  EXPECT_EQ(files.try_write(handle, patterned(10)).value_or(0), 10U);
  EXPECT_TRUE(files.sync(handle));
  EXPECT_EQ(log.wait(handle, ready::synced), errno_of(EIO));
  EXPECT_TRUE(says(files.sync(handle), EIO));
  EXPECT_TRUE(says(files.try_write(handle, patterned(10)), EIO));
  EXPECT_TRUE(says(files.close_and_wait(handle), EIO));
  EXPECT_EQ(broken.hits, 1);
}

TEST_P(writing_ready_files, syncs_what_is_closed_right_after) {
  breaker broken{.kind = opcode::fdatasync, .answer = -EIO};
  ready_files files({}, broken.around(open_driver_named(GetParam())));
  event_log log(files);
  const int handle = opened(files, log, directory_ / "file", for_writing);
  EXPECT_EQ(files.try_write(handle, patterned(10)).value_or(0), 10U);
  EXPECT_TRUE(files.sync(handle));
  EXPECT_TRUE(says(files.close_and_wait(handle), EIO));
  EXPECT_EQ(broken.hits, 1);
}

/// Writes pieces of any size to any place, and does the same to a model.
void write_here_and_there(ready_files& files, event_log& log, int handle,
                          std::vector<std::byte>& model, unsigned seed) {
  std::mt19937 random(seed);
  std::uint64_t at = 0;
  bool syncing = false;
  for (int i = 0; i < 200; ++i) {
    if (random() % 3 == 0) {
      at = random() % (model.size() + 3000);
      ASSERT_TRUE(files.seek_write(handle, at));
    }
    const std::size_t size = 1 + random() % (random() % 8 == 0 ? 30'000 : 700);
    const auto bytes = patterned(size, at, seed * 1000 + static_cast<unsigned>(i));
    ASSERT_TRUE(write_all(files, log, handle, bytes));
    if (model.size() < at + size) model.resize(at + size);
    std::ranges::copy(bytes, model.begin() + static_cast<std::ptrdiff_t>(at));
    at += size;
    if (random() % 10 == 0) {
      if (std::exchange(syncing, true)) {
        ASSERT_EQ(log.wait(handle, ready::synced), std::error_code{});
      }
      ASSERT_TRUE(files.sync(handle, durability::none));
    }
  }
}

// Invariant 10; E-D3: what is beside a small write stays.
TEST_P(writing_ready_files, keeps_what_is_beside_what_it_writes) {
  for (const bool direct : {false, true}) {
    const auto path = directory_ / (direct ? "direct" : "buffered");
    make_patterned_file(path, 50'000);
    auto model = contents_of(path);
    const auto files = make({.write_behind = 60'000, .block_size = 8192, .flush_after = 5ms});
    event_log log(*files);
    const int handle = opened(*files, log, path, {.read = false, .write = true, .direct = direct});
    write_here_and_there(*files, log, handle, model, direct ? 1 : 2);
    EXPECT_TRUE(files->close_and_wait(handle));
    EXPECT_TRUE(contents_of(path) == model) << path;
  }
}

TEST_P(writing_ready_files, resumes_what_came_short) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    auto driver = make_faulty(open_driver_named(GetParam()), {.seed = seed,
                                                              .short_transfer = 0.5,
                                                              .delay = 0.3,
                                                              .reorder = 0.3,
                                                              .partial_submit = 0.3,
                                                              .early_completion = 0.3});
    ASSERT_TRUE(driver);
    const auto path = directory_ / std::to_string(seed);
    ready_files files({.write_behind = 60'000, .block_size = 4096, .flush_after = 5ms},
                      std::move(*driver));
    event_log log(files);
    const int handle = opened(
        files, log, path, {.read = false, .write = true, .create = true, .direct = seed % 2 == 0});
    std::vector<std::byte> model;
    write_here_and_there(files, log, handle, model, seed);
    EXPECT_TRUE(files.close_and_wait(handle));
    EXPECT_TRUE(contents_of(path) == model) << "seed " << seed;
  }
}

// E21, E-D16: no padding, at no time.
TEST_P(writing_ready_files, never_makes_a_file_longer_than_its_data) {
  const auto path = directory_ / "file";
  std::atomic<std::uint64_t> accepted = 0;
  std::atomic<bool> longer = false;
  gate seen;
  seen.look = [&](const request&) { longer = longer || size_of(path) > accepted; };
  const auto files = make_behind(seen, {.block_size = 8192, .flush_after = 1ms});
  event_log log(*files);
  const int handle =
      opened(*files, log, path, {.read = false, .write = true, .create = true, .direct = true});
  std::vector<std::byte> all;
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    const auto bytes = patterned(1 + random() % 3000, all.size());
    all.insert(all.end(), bytes.begin(), bytes.end());
    accepted = all.size();
    ASSERT_TRUE(write_all(*files, log, handle, bytes));
    if (i % 10 != 0) continue;
    ASSERT_TRUE(files->sync(handle, durability::none));
    ASSERT_EQ(log.wait(handle, ready::synced), std::error_code{});
    ASSERT_EQ(size_of(path), all.size());
  }
  EXPECT_TRUE(files->close_and_wait(handle));
  EXPECT_FALSE(longer);
  EXPECT_TRUE(contents_of(path) == all);
}

// Invariant 21: ordered per file.
TEST_P(writing_ready_files, lets_the_last_of_overlapping_writes_win) {
  const auto files = make({.write_behind = 4 << 20, .block_size = 4096});
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file", for_writing);
  for (unsigned round = 0; round < 50; ++round) {
    ASSERT_TRUE(files->seek_write(handle, 0));
    ASSERT_TRUE(write_all(*files, log, handle, patterned(20'000, 0, round)));
  }
  EXPECT_TRUE(files->close_and_wait(handle));
  EXPECT_TRUE(holds_pattern(contents_of(directory_ / "file"), 0, 49));
}

TEST_P(writing_ready_files, appends_in_order_behind_what_others_wrote) {
  const auto path = directory_ / "file";
  const descriptor other = make_patterned_file(path, 11);
  for (const bool direct : {false, true}) {
    const auto before = contents_of(path);
    const auto files = make({.block_size = 4096});
    event_log log(*files);
    const int handle =
        opened(*files, log, path, {.read = false, .write = true, .append = true, .direct = direct});
    const auto bytes = patterned(300'000, 0, 3);
    ASSERT_TRUE(write_all(*files, log, handle, bytes, 5000));
    EXPECT_TRUE(files->close_and_wait(handle));
    auto expected = before;
    expected.insert(expected.end(), bytes.begin(), bytes.end());
    EXPECT_TRUE(contents_of(path) == expected);
  }
}

// Invariant 22; E-D10, E15.
TEST_P(writing_ready_files, reads_what_it_has_written_itself) {
  for (const bool direct : {false, true}) {
    const auto path = directory_ / (direct ? "direct" : "buffered");
    make_patterned_file(path, 100'000);
    auto model = contents_of(path);
    const auto files = make({.flush_after = 1h});
    event_log log(*files);
    const int handle = opened(*files, log, path, {.write = true, .direct = direct});
    std::mt19937 random(7);
    for (unsigned i = 0; i < 100; ++i) {
      const std::uint64_t to = random() % 99'000;
      const auto bytes = patterned(1 + random() % 1000, to, i);
      ASSERT_TRUE(files->seek_write(handle, to));
      ASSERT_TRUE(write_all(*files, log, handle, bytes));
      std::ranges::copy(bytes, model.begin() + static_cast<std::ptrdiff_t>(to));
      const std::uint64_t from = to - std::min<std::uint64_t>(to, random() % 2000);
      ASSERT_TRUE(files->seek_read(handle, from));
      std::vector<std::byte> memory(std::min<std::size_t>(3000, model.size() - from));
      ASSERT_EQ(read_all(*files, log, handle, memory), memory.size());
      ASSERT_TRUE(std::ranges::equal(memory, std::span(model).subspan(from, memory.size())))
          << "step " << i << (direct ? " direct" : "");
    }
    EXPECT_TRUE(files->close_and_wait(handle));
    EXPECT_TRUE(contents_of(path) == model);
  }
}

TEST_P(writing_ready_files, sees_its_own_file_grow) {
  const auto files = make();
  event_log log(*files);
  for (const bool append : {false, true}) {
    auto how = for_both;
    how.append = append;
    const int handle = opened(*files, log, directory_ / (append ? "a" : "w"), how);
    std::vector<std::byte> memory(1000);
    EXPECT_EQ(read_all(*files, log, handle, memory), 0U);
    for (std::uint64_t at = 0; at < 10'000; at += 1000) {
      ASSERT_TRUE(write_all(*files, log, handle, patterned(1000, at)));
      EXPECT_EQ(read_all(*files, log, handle, memory), 1000U) << at;
      EXPECT_TRUE(holds_pattern(memory, at));
      EXPECT_EQ(read_all(*files, log, handle, memory), 0U);
    }
    EXPECT_TRUE(files->close_and_wait(handle));
  }
}

TEST_P(writing_ready_files, refuses_what_was_not_opened_for_it) {
  make_patterned_file(directory_ / "file", 10);
  const auto files = make();
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  EXPECT_TRUE(says(files->try_write(handle, patterned(10)), EBADF));
  EXPECT_TRUE(says(files->seek_write(handle, std::uint64_t{1} << 63), EINVAL));
  EXPECT_TRUE(files->sync(handle)) << "fsync(2) does not ask how a file was opened";
  EXPECT_EQ(log.wait(handle, ready::synced), std::error_code{});
}

// What was synced is there, whatever becomes of the program.
TEST_P(writing_ready_files, keeps_what_was_synced_when_the_program_is_killed) {
  const auto path = directory_ / "file";
  const pipe_ends synced = make_pipe();
  const child_outcome outcome = run_in_child([&] {
    ready_files files({.flush_after = 1ms}, open_driver_named(GetParam()));
    event_log log(files);
    const int handle = opened(files, log, path, for_writing);
    std::mt19937 random(static_cast<unsigned>(::getpid()));
    std::uint64_t at = 0;
    const std::uint64_t end = 50'000 + random() % 200'000;
    while (at < end) {
      const auto bytes = patterned(1 + random() % 20'000, at);
      ASSERT_TRUE(write_all(files, log, handle, bytes));
      at += bytes.size();
      ASSERT_TRUE(files.sync(handle));
      ASSERT_EQ(log.wait(handle, ready::synced), std::error_code{});
      ASSERT_EQ(::write(synced.write.get(), &at, sizeof at), ssize_t{sizeof at});
      ASSERT_TRUE(files.try_write(handle, patterned(random() % 5000, at, 9)));
      ASSERT_TRUE(files.seek_write(handle, at));
    }
    ::kill(::getpid(), SIGKILL);
  });
  EXPECT_EQ(outcome.signal, SIGKILL) << outcome;
  std::uint64_t kept = 0;
  while (bytes_in(synced) != 0) {
    ASSERT_EQ(::read(synced.read.get(), &kept, sizeof kept), ssize_t{sizeof kept});
  }
  const auto there = contents_of(path);
  ASSERT_GT(kept, 0U);
  ASSERT_GE(there.size(), kept);
  EXPECT_TRUE(holds_pattern(std::span(there).first(kept), 0));
}

}  // namespace
}  // namespace weir::testing
