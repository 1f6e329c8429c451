#include "weir/commit.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "support/support.hpp"

namespace weir::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t page = 4096;

/// What a driver was given, and gave back.
struct event {
  enum { submitted, completed, answered } what;
  opcode op = opcode::nop;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint32_t flags = 0;
  std::int32_t answer = 0;
  int fd = -1;
  int caller = -1;  ///< that was answered
};

/// What happens on a disk: remembered, or scripted.
struct script {
  std::vector<event> log;
  /// The most bytes that one write moves.
  std::uint64_t most = UINT64_MAX;
  /// An answer instead of carrying it out.
  std::function<std::optional<std::int32_t>(const request&)> decide;
  /// Writes at this offset take until `released`, and are then said to be done.
  std::optional<std::uint64_t> slow;
  bool released = false;

  std::size_t count(opcode op) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        log, [&](const event& each) { return each.what == event::submitted && each.op == op; }));
  }
  std::size_t syncs() const { return count(opcode::fsync) + count(opcode::fdatasync); }
  /// What was submitted, in order.
  std::vector<opcode> order() const {
    std::vector<opcode> found;
    for (const event& each : log) {
      if (each.what == event::submitted) found.push_back(each.op);
    }
    return found;
  }
};

class scripted_driver final : public wrapping_driver {
 public:
  scripted_driver(std::unique_ptr<driver> inner, script& follow)
      : wrapping_driver(std::move(inner)), script_(follow) {}

  void submit(operation_queue& staged) noexcept override {
    operation_queue passed;
    while (!staged.empty()) {
      operation& op = staged.pop_front();
      note(event::submitted, op);
      if (const auto answer = script_.decide ? script_.decide(op.args) : std::nullopt) {
        op.set_answer(*answer);
        decided_.push_back(op);
        continue;
      }
      if (op.args.op == opcode::write && script_.slow == op.args.offset) {
        op.set_answer(static_cast<std::int32_t>(op.args.length));
        slow_.push_back(op);
        continue;
      }
      if (op.args.op == opcode::write && op.args.length > script_.most) {
        asked_[&op] = op.args.length;
        op.args.length = script_.most;
      }
      passed.push_back(op);
    }
    wrapping_driver::submit(passed);
    EXPECT_TRUE(passed.empty()) << "these tests start no more than there is room for";
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    if (script_.released) decided_.append(std::move(slow_));
    operation_queue finished = std::move(decided_);
    wrapping_driver::reap(finished, finished.empty() ? until : deadline::now());
    while (!finished.empty()) {
      operation& op = finished.pop_front();
      note(event::completed, op);
      if (const auto found = asked_.find(&op); found != asked_.end()) {
        op.args.length = found->second;
        asked_.erase(found);
      }
      completed.push_back(op);
    }
  }

 private:
  void note(decltype(event::what) what, const operation& op) {
    if (op.args.op == opcode::timeout || op.args.op == opcode::cancel) return;
    script_.log.push_back({.what = what,
                           .op = op.args.op,
                           .offset = op.args.offset,
                           .length = op.args.length,
                           .flags = op.args.flags,
                           .answer = op.answer(),
                           .fd = op.args.fd});
  }

  script& script_;
  operation_queue decided_;
  operation_queue slow_;
  std::unordered_map<operation*, std::uint64_t> asked_;
};

class durable : public driver_test {
 protected:
  void SetUp() override {
    driver_test::SetUp();
    context_ = std::make_unique<io_context>(
        std::make_unique<scripted_driver>(open_driver_named(GetParam()), script_));
    context_->run(warm_up());
  }
  // What a driver opens when it is first used is open by now.
  task<void> warm_up() {
    auto listed = co_await list_directory(context(), directory_.path());
    EXPECT_TRUE(listed.has_value());
    script_.log.clear();
  }

  io_context& context() { return *context_; }
  std::string at(std::string_view name) const { return directory_ / name; }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_.path()), fs::directory_iterator{}));
  }

  temp_directory directory_;
  script script_;
  std::unique_ptr<io_context> context_;
};

class commits : public durable {
 protected:
  void SetUp() override {
    durable::SetUp();
    file_.emplace(context(), make_file(path()).release());
    data_.resize(200 * page);
    fill(data_, 0);
  }
  std::string path() const { return at("file"); }
  file& target() { return *file_; }
  std::span<const std::byte> piece(std::size_t offset, std::size_t length) const {
    return std::span<const std::byte>(data_).subspan(offset, length);
  }
  /// A write of what belongs there.
  pending_write write(std::size_t offset, std::size_t length = page) const {
    return {piece(offset, length), offset};
  }
  /// Answers that nobody has been given are none.
  task<void> commit_and_note(int caller, std::vector<pending_write> writes,
                             durability how = durability::data) {
    const transfer_result outcome = co_await commit(target(), std::move(writes), how);
    script_.log.push_back({.what = event::answered,
                           .answer = outcome ? 0 : -outcome.error().value(),
                           .caller = caller});
  }
  task<void> commit_rounds(int number, int rounds, int& ended) {
    const std::size_t offset = static_cast<std::size_t>(number) * 2 * page;
    for (int round = 0; round < rounds; ++round) {
      std::vector writes = {write(offset), write(offset + page)};
      co_await commit_and_note(number, std::move(writes));
    }
    ++ended;
  }
  std::vector<std::int32_t> answers() const {
    std::vector<std::int32_t> found;
    for (const event& each : script_.log) {
      if (each.what == event::answered) found.push_back(each.answer);
    }
    return found;
  }
  transfer_result commit_now(std::vector<pending_write> writes, durability how = durability::data) {
    return context().run(commit(target(), std::move(writes), how));
  }
  ::testing::AssertionResult holds(std::size_t size) const {
    const std::vector<std::byte> found = contents_of(path());
    if (found.size() != size) {
      return ::testing::AssertionFailure() << "it is " << found.size() << " bytes long";
    }
    return holds_pattern(found, 0);
  }

  std::optional<file> file_;
  std::vector<std::byte> data_;
};

INSTANTIATE_TEST_SUITE_P(drivers, commits, ::testing::ValuesIn(driver_names), name_of_driver);

// --- one commit ----------------------------------------------------------------------------------

TEST_P(commits, of_one_write_carry_their_barrier) {
  EXPECT_EQ(commit_now({write(0)}), page);
  EXPECT_EQ(context().run(commit(target(), piece(page, 100), page)), 100);
  EXPECT_EQ(commit_now({write(page)}, durability::full), page);
  EXPECT_EQ(commit_now({write(2 * page)}, durability::none), page);
  EXPECT_TRUE(holds(3 * page));
  EXPECT_EQ(script_.syncs(), 0);
  std::vector<std::uint32_t> flags;
  for (const event& each : script_.log) {
    if (each.what == event::submitted) flags.push_back(each.flags);
  }
  EXPECT_EQ(flags, (std::vector<std::uint32_t>{RWF_DSYNC, RWF_DSYNC, RWF_SYNC, 0}));
}

// Invariant 18
TEST_P(commits, of_several_writes_end_with_one_barrier) {
  constexpr opcode write_op = opcode::write;
  EXPECT_EQ(commit_now({write(0), write(page), write(2 * page)}), 3 * page);
  EXPECT_EQ(script_.order(), (std::vector{write_op, write_op, write_op, opcode::fdatasync}));
  std::size_t done = 0;
  for (const event& each : script_.log) {
    if (each.op == opcode::write) {
      EXPECT_EQ(each.flags, 0);
    }
    if (each.what == event::completed && each.op == opcode::write) ++done;
    if (each.what == event::submitted && each.op == opcode::fdatasync) {
      EXPECT_EQ(done, 3);
    }
  }
  script_.log.clear();
  EXPECT_EQ(commit_now({write(0), write(page)}, durability::full), 2 * page);
  EXPECT_EQ(script_.order(), (std::vector{write_op, write_op, opcode::fsync}));
  script_.log.clear();
  EXPECT_EQ(commit_now({write(0), write(page)}, durability::none), 2 * page);
  EXPECT_EQ(script_.order(), (std::vector{write_op, write_op}));
  EXPECT_TRUE(holds(3 * page));
}

TEST_P(commits, of_no_writes_are_a_barrier) {
  EXPECT_EQ(commit_now({}), 0);
  EXPECT_EQ(script_.order(), std::vector{opcode::fdatasync});
  EXPECT_EQ(commit_now({}, durability::none), 0);
  EXPECT_EQ(script_.log.size(), 2);
}

// Invariant 18
TEST_P(commits, resume_short_writes_before_the_barrier) {
  script_.most = 1000;
  EXPECT_EQ(commit_now({write(0, 2500), write(2500, 3500)}), 6000);
  EXPECT_TRUE(holds(6000));
  EXPECT_EQ(script_.count(opcode::write), 3 + 4);
  EXPECT_EQ(script_.syncs(), 1);
  EXPECT_EQ(script_.log.back().op, opcode::fdatasync);
  EXPECT_EQ(script_.order().back(), opcode::fdatasync);
  std::uint64_t moved = 0;
  for (const event& each : script_.log) {
    if (each.op == opcode::write && each.what == event::completed) {
      moved += static_cast<std::uint64_t>(each.answer);
    }
    if (each.op == opcode::fdatasync) {
      EXPECT_EQ(moved, 6000);
    }
  }
}

TEST_P(commits, of_one_write_resume_it_with_its_barrier) {
  script_.most = 1000;
  EXPECT_EQ(commit_now({write(0, 3500)}), 3500);
  EXPECT_TRUE(holds(3500));
  EXPECT_EQ(script_.order(), std::vector(4, opcode::write));
  for (const event& each : script_.log) EXPECT_EQ(each.flags, RWF_DSYNC);
}

// Invariant 19
TEST_P(commits, say_how_much_was_written_when_the_disk_is_full) {
  script_.most = page;
  script_.decide = [](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::write && what.offset >= 2 * page) return -ENOSPC;
    return std::nullopt;
  };
  const transfer_result several = commit_now({write(page, 3 * page), write(0)});
  ASSERT_FALSE(several.has_value());
  EXPECT_EQ(several.error(), std::errc::no_space_on_device);
  EXPECT_EQ(several.transferred, 2 * page);
  EXPECT_EQ(script_.syncs(), 0);
  EXPECT_TRUE(holds(2 * page));
  // Only a sync that fails poisons: there is a barrier again where there is room.
  EXPECT_EQ(commit_now({write(0), write(page)}), 2 * page);

  const transfer_result one = commit_now({write(0, 5 * page)});
  ASSERT_FALSE(one.has_value());
  EXPECT_EQ(one.error(), std::errc::no_space_on_device);
  EXPECT_EQ(one.transferred, 2 * page);
  // That write carried a barrier, and nobody knows what failed.
  EXPECT_EQ(commit_now({write(0)}).error(), std::errc::no_space_on_device);
}

TEST_P(commits, need_an_open_file_and_offsets) {
  file closed;
  const transfer_result nothing = context().run(commit(closed, piece(0, 10), 0));
  EXPECT_EQ(nothing.error(), std::errc::bad_file_descriptor);
  EXPECT_EQ(nothing.transferred, 0);
  file log(context(), open_file(path(), O_WRONLY | O_APPEND).release());
  EXPECT_EQ(context().run(commit(log, piece(0, 10), 0)).error(), std::errc::invalid_argument);
  EXPECT_TRUE(script_.log.empty());
}

// --- several commits -----------------------------------------------------------------------------

/// For each caller that was told of success: a barrier began after its writes were done, and ended
/// before it was told. Each caller commits once, from `offset_of` on.
void expect_served(const std::vector<event>& log, const std::function<bool(int, const event&)>& is,
                   const std::function<bool(int, opcode)>& suffices) {
  for (std::size_t told = 0; told < log.size(); ++told) {
    if (log[told].what != event::answered || log[told].answer != 0) continue;
    const int caller = log[told].caller;
    std::optional<std::size_t> written;
    bool began = false;
    bool served = false;
    bool carried = false;
    for (std::size_t i = 0; i < told; ++i) {
      const event& each = log[i];
      if (each.op == opcode::write && each.what == event::completed && is(caller, each)) {
        written = i;
        began = served = false;
        carried = (each.flags & RWF_DSYNC) != 0;
      }
      const bool barrier = each.op == opcode::fsync || each.op == opcode::fdatasync;
      if (!barrier || !written || !suffices(caller, each.op)) continue;
      if (each.what == event::submitted) began = true;
      if (each.what == event::completed && began && each.answer == 0) served = true;
    }
    EXPECT_TRUE(written) << "caller " << caller;
    EXPECT_TRUE(served || carried) << "caller " << caller;
  }
}

bool any_barrier(int, opcode) { return true; }

// Invariant 17
TEST_P(commits, that_are_concurrent_share_barriers) {
  constexpr int callers = 64;
  std::vector<task<void>> all;
  for (int i = 0; i < callers; ++i) {
    all.push_back(commit_and_note(i, {write(static_cast<std::size_t>(i) * page)}));
  }
  context().run([&]() -> task<void> { co_await when_all(std::move(all)); }());
  EXPECT_EQ(answers(), std::vector<std::int32_t>(callers, 0));
  EXPECT_TRUE(holds(callers * page));
  EXPECT_GE(script_.syncs(), 1);
  EXPECT_LE(script_.syncs(), callers / 4);
  // Where all writes are done in one turn, they need but one.
  if (GetParam() == "sync") {
    EXPECT_EQ(script_.syncs(), 1);
  }
  const auto wrote = [](int caller, const event& each) {
    return each.offset == static_cast<std::uint64_t>(caller) * page;
  };
  expect_served(script_.log, wrote, any_barrier);
}

// Invariant 17. Each is given its own bytes of the file over and over, so that commits meet
// barriers in every state.
TEST_P(commits, that_come_again_and_again_are_each_served_by_a_later_barrier) {
  constexpr int callers = 16;
  constexpr int rounds = 20;
  const auto caller = [&](int number) -> task<void> {
    for (int round = 0; round < rounds; ++round) {
      const std::size_t offset = static_cast<std::size_t>(number) * page;
      std::vector<pending_write> writes = {write(offset, 1000)};
      // Lengths tell rounds apart.
      writes.push_back(write(offset + 2000, 1000 + static_cast<std::size_t>(round)));
      co_await commit_and_note(number * rounds + round, std::move(writes));
    }
  };
  std::vector<task<void>> all;
  for (int i = 0; i < callers; ++i) all.push_back(caller(i));
  context().run([&]() -> task<void> { co_await when_all(std::move(all)); }());
  EXPECT_EQ(answers(), std::vector<std::int32_t>(callers * rounds, 0));
  EXPECT_LE(script_.syncs(), callers * rounds / 2);
  const auto wrote = [](int call, const event& each) {
    const std::uint64_t offset = static_cast<std::uint64_t>(call / rounds) * page;
    return each.offset == offset + 2000 &&
           each.length == 1000 + static_cast<std::uint64_t>(call % rounds);
  };
  expect_served(script_.log, wrote, any_barrier);
  bool in_flight = false;
  for (const event& each : script_.log) {
    if (each.op != opcode::fdatasync) continue;
    EXPECT_NE(in_flight, each.what == event::submitted) << "two barriers at once";
    in_flight = each.what == event::submitted;
  }
}

TEST_P(commits, that_want_more_get_more) {
  std::vector<task<void>> all;
  for (int i = 0; i < 10; ++i) {
    const std::size_t offset = static_cast<std::size_t>(i) * 2 * page;
    const durability how = i == 7 ? durability::full : durability::data;
    all.push_back(commit_and_note(i, {write(offset), write(offset + page)}, how));
  }
  context().run([&]() -> task<void> { co_await when_all(std::move(all)); }());
  EXPECT_EQ(answers(), std::vector<std::int32_t>(10, 0));
  const auto wrote = [](int caller, const event& each) {
    return each.offset / (2 * page) == static_cast<std::uint64_t>(caller);
  };
  const auto suffices = [](int caller, opcode op) { return caller != 7 || op == opcode::fsync; };
  expect_served(script_.log, wrote, suffices);
}

// Invariant 3
TEST_P(commits, are_not_affected_by_others_that_fail) {
  script_.decide = [](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::write && what.offset == 5 * page) return -EFBIG;
    return std::nullopt;
  };
  std::vector<task<void>> all;
  for (int i = 0; i < 10; ++i) {
    all.push_back(commit_and_note(i, {write(static_cast<std::size_t>(i) * page)}));
  }
  context().run([&]() -> task<void> { co_await when_all(std::move(all)); }());
  for (const event& each : script_.log) {
    if (each.what == event::answered) {
      EXPECT_EQ(each.answer, each.caller == 5 ? -EFBIG : 0);
    }
  }
  EXPECT_EQ(answers().size(), 10);
}

// Invariant 16
TEST_P(commits, are_not_held_up_by_another_whose_write_is_slow) {
  script_.slow = 100 * page;
  spawn(context(), commit_and_note(0, {write(100 * page), write(101 * page)}));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(commit_now({write(0), write(page)}), 2 * page);
  }
  EXPECT_EQ(script_.syncs(), 3);
  EXPECT_TRUE(answers().empty());
  script_.released = true;
  context().run();
  EXPECT_EQ(answers(), std::vector<std::int32_t>(1, 0));
  EXPECT_EQ(script_.syncs(), 4);
}

// Invariant 17
TEST_P(commits, all_hear_of_a_barrier_that_failed_and_nothing_is_written_after_it) {
  bool failed = false;
  script_.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op != opcode::fdatasync || std::exchange(failed, true)) return std::nullopt;
    return -EIO;
  };
  std::vector<task<void>> all;
  for (int i = 0; i < 16; ++i) {
    const std::size_t offset = static_cast<std::size_t>(i) * 2 * page;
    all.push_back(commit_and_note(i, {write(offset), write(offset + page)}));
  }
  context().run([&]() -> task<void> { co_await when_all(std::move(all)); }());
  EXPECT_EQ(answers(), std::vector<std::int32_t>(16, -EIO));
  EXPECT_EQ(script_.syncs(), 1);
  script_.log.clear();
  for (const auto& writes : {std::vector{write(0)}, {write(0), write(page)}, {}}) {
    const transfer_result later = commit_now(writes);
    EXPECT_EQ(later.error(), std::errc::io_error);
    EXPECT_EQ(later.transferred, 0);
  }
  const result<void> synced =
      context().run([&]() -> task<result<void>> { co_return co_await target().sync(); }());
  EXPECT_EQ(error_of(synced), std::errc::io_error);
  EXPECT_TRUE(script_.log.empty());
}

// Invariant 17
TEST_P(commits, all_hear_of_a_write_that_failed_to_sync) {
  bool failed = false;
  script_.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op != opcode::write || std::exchange(failed, true)) return std::nullopt;
    EXPECT_EQ(what.flags, RWF_DSYNC);
    return -EIO;
  };
  std::vector<task<void>> all;
  for (int i = 0; i < 5; ++i) {
    all.push_back(commit_and_note(i, {write(static_cast<std::size_t>(i) * page)}));
  }
  context().run([&]() -> task<void> { co_await when_all(std::move(all)); }());
  EXPECT_EQ(answers(), std::vector<std::int32_t>(5, -EIO));
  EXPECT_EQ(commit_now({write(0)}).error(), std::errc::io_error);
}

TEST_P(commits, go_on_after_a_barrier_that_was_cancelled) {
  int cancelled = 0;
  script_.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op != opcode::fdatasync || cancelled++ != 0) return std::nullopt;
    return -ECANCELED;
  };
  const transfer_result first = commit_now({write(0), write(page)});
  EXPECT_EQ(first.error(), std::errc::operation_canceled);
  EXPECT_EQ(first.transferred, 2 * page);
  EXPECT_EQ(commit_now({write(0), write(page)}), 2 * page);
}

// --- lifetimes and threads -----------------------------------------------------------------------

// Invariant 12
TEST_P(commits, keep_a_file_open_that_is_closed_meanwhile) {
  const int fd = target().native_handle();
  int ended = 0;
  for (int i = 0; i < 4; ++i) {
    spawn(context(), commit_rounds(i, 1, ended));
  }
  file_.reset();
  EXPECT_TRUE(is_open(fd));
  context().run();
  EXPECT_EQ(ended, 4);
  EXPECT_EQ(answers(), std::vector<std::int32_t>(4, 0));
  EXPECT_FALSE(is_open(fd));
  EXPECT_TRUE(holds(8 * page));
}

// Invariant 1
TEST_P(commits, all_end_when_the_context_is_destroyed) {
  int ended = 0;
  for (int i = 0; i < 8; ++i) {
    spawn(context(), commit_rounds(i, 3, ended));
  }
  context().dispatch(false);
  context_.reset();
  EXPECT_EQ(ended, 8);
}

TEST_P(commits, may_be_begun_on_any_thread) {
  std::atomic<int> ended = 0;
  const std::thread::id own = std::this_thread::get_id();
  const auto begin = [&](int number) -> detail::detached {
    const transfer_result outcome =
        co_await commit(target(), piece(static_cast<std::size_t>(number) * page, page),
                        static_cast<std::size_t>(number) * page);
    EXPECT_EQ(outcome, page);
    EXPECT_EQ(std::this_thread::get_id(), own);
    ++ended;
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { begin(i); });
  drive_until(context(), [&] { return ended == 4; });
  EXPECT_TRUE(holds(4 * page));
}

// --- replacing -----------------------------------------------------------------------------------

class replacing : public durable {
 protected:
  std::span<const std::byte> bytes(std::size_t size, unsigned seed = 1) {
    data_.resize(size);
    fill(data_, 0, seed);
    return data_;
  }
  void make_old() { make_patterned_file(at("file"), 1000); }
  bool has_old() const {
    const auto found = contents_of(at("file"));
    return found.size() == 1000 && holds_pattern(found, 0);
  }
  bool has_new() const {
    const auto found = contents_of(at("file"));
    return found.size() == 5000 && holds_pattern(found, 0, 1);
  }
  replace_result replace(std::string_view name, std::span<const std::byte> with,
                         replace_options options = {}) {
    return context().run(replace_file(context(), at(name), with, options));
  }
  task<void> replace_and_note(std::optional<replace_result>& outcome) {
    outcome = co_await replace_file(context(), at("file"), bytes(5000));
  }
  int errno_of_replacing(path_view path, replace_options options = {}) {
    const replace_result outcome =
        context().run(replace_file(context(), path, bytes(5000), options));
    EXPECT_FALSE(outcome.replaced);
    return outcome ? 0 : outcome.error().value();
  }
  /// Lets the operation of that number fail. A close that fails has closed.
  void fail_step(std::size_t number, std::int32_t answer = -EIO) {
    script_.log.clear();
    script_.decide = [this, number, answer,
                      seen = 0uz](const request& what) mutable -> std::optional<std::int32_t> {
      if (seen++ != number) return std::nullopt;
      failed_ = what.op;
      if (what.op == opcode::close) ::close(what.fd);
      return answer;
    };
  }

  std::vector<std::byte> data_;
  opcode failed_ = opcode::nop;
};

INSTANTIATE_TEST_SUITE_P(drivers, replacing, ::testing::ValuesIn(driver_names), name_of_driver);

// Invariant 18
TEST_P(replacing, a_file_syncs_it_before_and_its_directory_after_the_name_changes) {
  using enum opcode;
  make_old();
  const replace_result outcome = replace("file", bytes(5000));
  EXPECT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome.replaced);
  EXPECT_TRUE(has_new());
  EXPECT_EQ(files(), 1);
  EXPECT_EQ(script_.order(), (std::vector{openat, openat, write, fsync, close, renameat, fsync}));
  const auto& log = script_.log;
  for (std::size_t i = 1; i < log.size(); ++i) EXPECT_NE(log[i].what, log[i - 1].what);
  const int directory = log[1].answer;
  EXPECT_EQ(log.back().fd, directory);
  EXPECT_NE(log[6].fd, directory);
}

TEST_P(replacing, makes_a_file_where_there_was_none) {
  EXPECT_TRUE(replace("file", bytes(5000), {.mode = 0600}).has_value());
  EXPECT_TRUE(has_new());
  EXPECT_EQ(fs::status(at("file")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_TRUE(replace("empty", {}).has_value());
  EXPECT_EQ(fs::file_size(at("empty")), 0);
}

TEST_P(replacing, resumes_short_writes) {
  script_.most = 777;
  EXPECT_TRUE(replace("file", bytes(5000)).has_value());
  EXPECT_TRUE(has_new());
  EXPECT_EQ(script_.count(opcode::write), 7);
}

// Invariants 17 and 19
TEST_P(replacing, leaves_the_old_file_and_nothing_else_whatever_fails) {
  const std::size_t descriptors = count_descriptors();
  for (std::size_t number = 0;; ++number) {
    make_old();
    fail_step(number);
    failed_ = opcode::nop;
    const replace_result outcome = replace("file", bytes(5000));
    if (failed_ == opcode::nop) {
      EXPECT_TRUE(outcome.has_value());
      EXPECT_EQ(number, 7);
      break;
    }
    EXPECT_EQ(error_of(outcome), std::errc::io_error) << number;
    const bool last = number == 6;
    EXPECT_EQ(outcome.replaced, last) << number;
    EXPECT_TRUE(last ? has_new() : has_old()) << number;
    EXPECT_EQ(files(), 1) << number;
    EXPECT_EQ(count_descriptors(), descriptors) << number;
  }
}

TEST_P(replacing, cleans_up_also_where_the_context_no_longer_does) {
  make_old();
  script_.decide = [](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::renameat) return -EXDEV;
    if (what.op == opcode::unlinkat) return -ECANCELED;
    return std::nullopt;
  };
  EXPECT_EQ(error_of(replace("file", bytes(5000))), std::errc::cross_device_link);
  EXPECT_TRUE(has_old());
  EXPECT_EQ(files(), 1);
}

// Invariant 29
TEST_P(replacing, leaves_the_old_or_the_new_file_when_the_context_is_destroyed) {
  bool ended = false;
  for (int turns = 0; !ended; ++turns) {
    make_old();
    std::optional<replace_result> outcome;
    spawn(context(), replace_and_note(outcome));
    for (int i = 0; i < turns && !outcome; ++i) context().dispatch(true);
    ended = outcome.has_value();
    context_.reset();
    ASSERT_TRUE(outcome.has_value());
    if (ended) {
      EXPECT_TRUE(outcome->has_value());
    }
    EXPECT_TRUE(outcome->replaced ? has_new() : has_old()) << turns;
    EXPECT_EQ(files(), 1) << turns;
    context_ = std::make_unique<io_context>(
        std::make_unique<scripted_driver>(open_driver_named(GetParam()), script_));
  }
}

TEST_P(replacing, a_link_leaves_alone_what_it_led_to) {
  make_patterned_file(at("target"), 1000);
  ASSERT_EQ(::symlink("target", at("file").c_str()), 0);
  fs::create_hard_link(at("target"), at("second"));
  EXPECT_TRUE(replace("file", bytes(5000)).has_value());
  EXPECT_TRUE(replace("second", bytes(5000)).has_value());
  EXPECT_FALSE(fs::is_symlink(at("file")));
  EXPECT_TRUE(has_new());
  EXPECT_EQ(fs::file_size(at("target")), 1000);
}

TEST_P(replacing, names_what_it_cannot_replace) {
  fs::create_directory(at("directory"));
  EXPECT_EQ(errno_of_replacing(at("directory")), EISDIR);
  EXPECT_EQ(errno_of_replacing(at("directory/")), EINVAL);
  EXPECT_EQ(errno_of_replacing(""), EINVAL);
  EXPECT_EQ(errno_of_replacing(at("file") + '\0' + "x"), EINVAL);
  EXPECT_EQ(errno_of_replacing(at("none/file")), ENOENT);
  make_patterned_file(at("plain"), 10);
  EXPECT_EQ(errno_of_replacing(at("plain/file")), ENOTDIR);
  EXPECT_EQ(errno_of_replacing("file", {.directory = closed_descriptor()}), EBADF);
  EXPECT_EQ(files(), 2);
}

TEST_P(replacing, begins_at_a_directory) {
  fs::create_directory(at("inner"));
  const descriptor here = open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
  const replace_options options{.directory = here.get()};
  for (const std::string_view path : {"file", "inner/file"}) {
    const auto outcome = context().run(replace_file(context(), path, bytes(5000), options));
    EXPECT_TRUE(outcome.has_value()) << path;
  }
  EXPECT_TRUE(has_new());
  EXPECT_EQ(fs::file_size(at("inner/file")), 5000);
}

TEST_P(replacing, the_same_file_at_once_ends_with_one_of_them_whole) {
  constexpr int callers = 8;
  std::deque<std::vector<std::byte>> versions;
  std::vector<task<replace_result>> all;
  for (unsigned i = 0; i < callers; ++i) {
    fill(versions.emplace_back(3000 + i), 0, i);
    all.push_back(replace_file(context(), at("file"), versions.back()));
  }
  const auto run = [&]() -> task<void> {
    for (const replace_result& each : co_await when_all(std::move(all))) EXPECT_TRUE(each);
  };
  context().run(run());
  const auto found = contents_of(at("file"));
  ASSERT_GE(found.size(), 3000);
  EXPECT_TRUE(holds_pattern(found, 0, static_cast<unsigned>(found.size() - 3000)));
  EXPECT_EQ(files(), 1);
}

// --- directories and creation --------------------------------------------------------------------

TEST_P(replacing, nothing_a_directory_is_synced_by_itself) {
  using enum opcode;
  const auto sync = [&](path_view path) { return context().run(sync_directory(context(), path)); };
  EXPECT_TRUE(sync(directory_.path()).has_value());
  EXPECT_EQ(script_.order(), (std::vector{openat, fsync, close}));
  make_old();
  EXPECT_EQ(error_of(sync(at("file"))), std::errc::not_a_directory);
  EXPECT_EQ(error_of(sync(at("none"))), std::errc::no_such_file_or_directory);
  fail_step(1);
  EXPECT_EQ(error_of(sync(directory_.path())), std::errc::io_error);
  EXPECT_EQ(failed_, fsync);
}

class creating_durably : public replacing {
 protected:
  result<file> create(std::string_view name) {
    return context().run(create_durably(context(), at(name)));
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, creating_durably, ::testing::ValuesIn(driver_names),
                         name_of_driver);

TEST_P(creating_durably, syncs_the_file_and_then_its_directory) {
  using enum opcode;
  result<file> created = create("file");
  ASSERT_TRUE(created.has_value()) << created.error().message();
  EXPECT_EQ(script_.order(), (std::vector{openat, openat, fsync, fsync}));
  EXPECT_EQ(script_.log.back().fd, script_.log[1].answer);
  EXPECT_EQ(context().run(commit(*created, bytes(100), 0)), 100);
  EXPECT_EQ(fs::file_size(at("file")), 100);
}

TEST_P(creating_durably, leaves_what_is_there) {
  make_old();
  EXPECT_EQ(error_of(create("file")), std::errc::file_exists);
  EXPECT_TRUE(has_old());
  ASSERT_EQ(::symlink("elsewhere", at("way").c_str()), 0);
  EXPECT_EQ(error_of(create("way")), std::errc::file_exists);
  EXPECT_EQ(error_of(create("none/file")), std::errc::no_such_file_or_directory);
  EXPECT_EQ(error_of(create("way/")), std::errc::invalid_argument);
  EXPECT_EQ(files(), 2);
}

TEST_P(creating_durably, leaves_nothing_when_it_fails) {
  const std::size_t descriptors = count_descriptors();
  for (std::size_t number = 0; number < 4; ++number) {
    fail_step(number);
    EXPECT_EQ(error_of(create("file")), std::errc::io_error) << number;
    EXPECT_EQ(files(), 0) << number;
    EXPECT_EQ(count_descriptors(), descriptors) << number;
  }
  fail_step(4);
  EXPECT_TRUE(create("file").has_value());
}

// --- misuse --------------------------------------------------------------------------------------

TEST(destroying_a_commit, that_waits_for_its_barrier_aborts_with_a_sentence) {
  const temp_directory directory;
  const child_outcome outcome = run_in_child([&] {
    const std::unique_ptr<io_context> context = open_context("sync");
    file target(*context, make_file(directory / "file").release());
    context->dispatch(false);  // from now on it is this thread's
    auto waiting =
        std::make_unique<task<transfer_result>>(commit(target, std::vector<pending_write>{}));
    const auto begin = [&]() -> detail::detached { co_await std::move(*waiting); };
    begin();
    waiting.reset();
  });
  EXPECT_TRUE(aborted_saying(outcome, "a commit was destroyed while it waited for its barrier"));
}

}  // namespace
}  // namespace weir::testing
