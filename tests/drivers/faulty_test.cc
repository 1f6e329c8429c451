#include "weir/faulty.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <string>
#include <thread>

#include "drivers/drivers.hpp"
#include "drivers/operation_table.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

/// A driver that puts everything on a shelf, where the test sees it and finishes it.
class shelf final : public driver {
 public:
  void submit(operation_queue& staged) noexcept override {
    while (!staged.empty() && taken.size() < room) taken.push_back(&staged.pop_front());
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    ++reaps;
    if (finished_.empty() && !woken && until != deadline::now()) ++waits;
    woken = false;
    completed.append(std::move(finished_));
  }

  void wake() noexcept override { woken = true; }
  int fd() const noexcept override { return -1; }

  void finish(operation& op, std::int32_t answer) {
    ASSERT_EQ(std::erase(taken, &op), 1);
    op.set_answer(answer);
    finished_.push_back(op);
  }
  void finish_all(std::int32_t answer) {
    while (!taken.empty()) finish(*taken.front(), answer);
  }

  std::vector<operation*> taken;
  std::size_t room = std::numeric_limits<std::size_t>::max();
  int reaps = 0;
  int waits = 0;  // how often it would have blocked with nobody to end that but the test
  bool woken = false;

 private:
  operation_queue finished_;
};

std::unique_ptr<driver> faulty(std::unique_ptr<driver> inner, const faulty_options& options) {
  return std::move(make_faulty(std::move(inner), options).value());
}

/// A faulty driver over a shelf, driven by hand.
class faulty_over_shelf : public ::testing::Test {
 protected:
  void open(const faulty_options& options) {
    auto inner = std::make_unique<shelf>();
    inner_ = inner.get();
    driver_ = faulty(std::move(inner), options);
  }

  /// Puts a new operation into `staged_`.
  recorded& stage(const request& what) {
    recorded& op = add(operations_, what);
    staged_.push_back(op);
    return op;
  }
  void stage(const request& what, int count) {
    for (int i = 0; i < count; ++i) stage(what);
  }

  recorded& submit(const request& what) {
    recorded& op = stage(what);
    driver_->submit(staged_);
    EXPECT_TRUE(staged_.empty());
    return op;
  }

  /// What one call gives back, in order.
  std::vector<operation*> reap(deadline until = deadline::now()) {
    operation_queue completed;
    driver_->reap(completed, until);
    std::vector<operation*> given;
    while (!completed.empty()) given.push_back(&completed.pop_front());
    return given;
  }

  static request read_of(std::uint64_t length, std::uint64_t offset = 0) {
    return {.op = opcode::read, .fd = 0, .offset = offset, .length = length};
  }

  shelf* inner_ = nullptr;
  std::unique_ptr<driver> driver_;
  operation_queue staged_;
  batch operations_;
};

using operations = std::vector<operation*>;

constexpr auto every_opcode = [] {
  std::array<opcode, opcode_count - 1> all{};  // cancel is the last, and left out
  for (unsigned i = 0; i < all.size(); ++i) all[i] = static_cast<opcode>(i);
  return all;
}();

// --- options -------------------------------------------------------------------------------------

TEST(faulty_options_test, a_rate_is_a_probability) {
  const std::array<double faulty_options::*, 10> rates = {
      &faulty_options::short_transfer, &faulty_options::io_error,
      &faulty_options::torn_write,     &faulty_options::no_space,
      &faulty_options::delay,          &faulty_options::reorder,
      &faulty_options::partial_submit, &faulty_options::early_completion,
      &faulty_options::interrupted,    &faulty_options::would_block};
  for (double faulty_options::* each : rates) {
    for (const double rate : {-0.1, 1.1, std::nan("")}) {
      faulty_options options;
      options.*each = rate;
      const auto made = make_faulty(std::make_unique<shelf>(), options);
      ASSERT_FALSE(made.has_value());
      EXPECT_EQ(made.error(), std::errc::invalid_argument);
    }
    for (const double rate : {0.0, 1.0}) {
      faulty_options options;
      options.*each = rate;
      EXPECT_TRUE(make_faulty(std::make_unique<shelf>(), options).has_value());
    }
  }
}

TEST(faulty_options_test, bounds_are_exact) {
  for (const unsigned depth : {0u, 16'385u}) {
    EXPECT_FALSE(make_faulty(std::make_unique<shelf>(), {.queue_depth = depth}).has_value());
  }
  for (const unsigned reaps : {0u, 16u}) {
    EXPECT_FALSE(make_faulty(std::make_unique<shelf>(), {.delay_reaps = reaps}).has_value());
  }
  EXPECT_TRUE(make_faulty(std::make_unique<shelf>(), {.queue_depth = 1, .delay_reaps = 1}));
  EXPECT_TRUE(make_faulty(std::make_unique<shelf>(), {.queue_depth = 16'384, .delay_reaps = 15}));
  EXPECT_FALSE(make_faulty(nullptr, {}).has_value());
}

// --- nothing, and answers ------------------------------------------------------------------------

TEST_F(faulty_over_shelf, passes_everything_through_where_no_rate_is_given) {
  int told = 0;
  open({.observe = [&](fault, const request&) { ++told; }});
  operations started;
  for (const opcode each : every_opcode) started.push_back(&stage({.op = each, .length = 8192}));
  driver_->submit(staged_);
  EXPECT_EQ(inner_->taken, started);
  inner_->finish_all(7);
  EXPECT_EQ(reap(), started);
  for (const auto& op : operations_) {
    EXPECT_EQ(op->answer(), 7);
    EXPECT_EQ(op->args.length, 8192);
  }
  EXPECT_EQ(told, 0);
}

struct failure_case {
  fault what;
  double faulty_options::* rate;
  std::int32_t answer;
  std::set<opcode> befallen;
};

TEST_F(faulty_over_shelf, fails_what_can_fail_so_and_nothing_else) {
  const std::set transfers = {opcode::read, opcode::readv, opcode::write, opcode::writev};
  std::set may_be_interrupted(every_opcode.begin(), every_opcode.end());
  may_be_interrupted.erase(opcode::nop);
  may_be_interrupted.erase(opcode::close);
  std::set may_break = transfers;
  may_break.insert({opcode::fsync, opcode::fdatasync});
  const std::array<failure_case, 4> cases = {{
      {fault::interrupted, &faulty_options::interrupted, -EINTR, may_be_interrupted},
      {fault::would_block, &faulty_options::would_block, -EAGAIN, transfers},
      {fault::io_error, &faulty_options::io_error, -EIO, may_break},
      {fault::no_space,
       &faulty_options::no_space,
       -ENOSPC,
       {opcode::write, opcode::writev, opcode::fallocate}},
  }};
  for (const failure_case& each : cases) {
    std::vector<std::pair<fault, opcode>> told;
    faulty_options options{.torn_write = 0, .observe = [&](fault what, const request& befallen) {
                             told.emplace_back(what, befallen.op);
                           }};
    options.*each.rate = 1;
    open(options);
    std::vector<std::pair<fault, opcode>> expected;
    for (const opcode op : every_opcode) {
      const recorded& asked = submit({.op = op, .length = 8192});
      if (each.befallen.contains(op)) {
        expected.emplace_back(each.what, op);
        EXPECT_TRUE(inner_->taken.empty());
      } else {
        inner_->finish_all(3);
      }
      EXPECT_EQ(reap(deadline::never()).size(), 1);
      EXPECT_EQ(asked.answer(), each.befallen.contains(op) ? each.answer : 3);
      EXPECT_EQ(asked.args, (request{.op = op, .length = 8192}));
    }
    EXPECT_EQ(told, expected);
    EXPECT_EQ(inner_->waits, 0);
  }
}

TEST_F(faulty_over_shelf, lets_exactly_the_third_fsync_fail_if_told_so) {
  int syncs = 0;
  std::vector<opcode> asked_about;
  const auto decide = [&](const request& what) -> std::optional<std::int32_t> {
    asked_about.push_back(what.op);
    if (what.op == opcode::fsync && ++syncs == 3) return -EIO;
    return std::nullopt;
  };
  open({.decide = decide});
  for (int i = 1; i <= 5; ++i) {
    const recorded& written = submit({.op = opcode::write, .length = 1});
    const recorded& synced = submit({.op = opcode::fsync});
    inner_->finish_all(0);
    EXPECT_EQ(reap().size(), 2);
    EXPECT_EQ(written.answer(), 0);
    EXPECT_EQ(synced.answer(), i == 3 ? -EIO : 0) << i;
  }
  submit(cancel_request(*operations_.front()));
  EXPECT_EQ(asked_about.size(), 10) << "a cancel request is not decided about";
  inner_->finish_all(-ENOENT);
  EXPECT_EQ(reap().size(), 1);
}

// --- short transfers -----------------------------------------------------------------------------

TEST_F(faulty_over_shelf, asks_a_transfer_for_less_and_gives_it_back_as_it_was) {
  std::vector<request> told;
  open({.short_transfer = 1, .observe = [&](fault what, const request& befallen) {
          EXPECT_EQ(what, fault::short_transfer);
          told.push_back(befallen);
        }});
  struct ask {
    opcode op;
    std::uint64_t offset, length, part;
  };
  for (const ask& each : std::initializer_list<ask>{{opcode::read, 0, 1 << 20, 4096},
                                                    {opcode::write, 4096, 8192, 4096},
                                                    {opcode::read, 512, 8192, 512},
                                                    {opcode::write, 0, 100, 4},
                                                    {opcode::write, 7, 4096, 1},
                                                    {opcode::read, 1, 2, 1},
                                                    {opcode::read, 0, 1ull << 40, 4096}}) {
    std::set<std::uint64_t> lengths;
    for (int i = 0; i < 50; ++i) {
      const request what{.op = each.op, .offset = each.offset, .length = each.length};
      const recorded& op = submit(what);
      ASSERT_EQ(inner_->taken, operations{operations_.back().get()});
      const std::uint64_t given = op.args.length;
      EXPECT_GT(given, 0);
      EXPECT_LT(given, std::min(each.length, transfer_max));
      EXPECT_EQ(given % each.part, 0);
      lengths.insert(given);
      inner_->finish_all(1);
      EXPECT_EQ(reap().size(), 1);
      EXPECT_EQ(op.answer(), 1);
      EXPECT_EQ(op.args, what);
      EXPECT_EQ(told.back(), what);
    }
    EXPECT_TRUE(lengths.size() > 1 || each.length / each.part == 2);
  }
}

// To move no byte would mean the end of the file.
TEST_F(faulty_over_shelf, leaves_some_byte_to_a_vectored_transfer_and_takes_some_away) {
  open({.short_transfer = 1});
  struct ask {
    std::vector<std::size_t> sizes;
    std::set<std::uint64_t> lengths;
  };
  for (const ask& each :
       {ask{{5, 5}, {1}}, ask{{5, 5, 5, 5}, {1, 2, 3}}, ask{{0, 5, 0, 5, 0}, {2, 3}},
        ask{{0, 0, 5}, {3}}, ask{{5, 0, 0}, {3}}, ask{{0, 0}, {2}}}) {
    std::vector<iovec> vector;
    for (const std::size_t size : each.sizes) vector.push_back({nullptr, size});
    std::set<std::uint64_t> lengths;
    for (int i = 0; i < 60; ++i) {
      const recorded& op = submit({.op = i % 2 == 0 ? opcode::readv : opcode::writev,
                                   .address = vector.data(),
                                   .length = vector.size()});
      lengths.insert(op.args.length);
      inner_->finish_all(1);
      EXPECT_EQ(reap().size(), 1);
      EXPECT_EQ(op.args.length, vector.size());
    }
    EXPECT_EQ(lengths, each.lengths);
  }
}

TEST_F(faulty_over_shelf, leaves_alone_what_cannot_be_shorter) {
  open({.short_transfer = 1,
        .observe = [](fault, const request&) { ADD_FAILURE() << "nothing has befallen"; }});
  constexpr std::uint32_t rwf_atomic = 0x40;
  for (const request& each :
       {read_of(0), read_of(1), read_of(4096), read_of(512, 512), request{.op = opcode::readv},
        request{.op = opcode::writev, .length = 3}, request{.op = opcode::fallocate, .length = 9},
        request{.op = opcode::write, .flags = rwf_atomic, .length = 1 << 20}}) {
    const recorded& op = submit(each);
    EXPECT_EQ(op.args, each);
    inner_->finish_all(0);
    EXPECT_EQ(reap().size(), 1);
  }
}

TEST_F(faulty_over_shelf, an_error_of_the_inner_driver_is_not_covered_up) {
  open({.io_error = 1, .torn_write = 1});
  const request what{.op = opcode::write, .length = 100};
  const recorded& bad = submit(what);
  inner_->finish_all(-EBADF);
  EXPECT_EQ(reap().size(), 1);
  EXPECT_EQ(bad.answer(), -EBADF);
  EXPECT_EQ(bad.args, what);
  const recorded& torn = submit(what);
  EXPECT_LT(torn.args.length, 100);
  inner_->finish_all(static_cast<std::int32_t>(torn.args.length));
  EXPECT_EQ(reap().size(), 1);
  EXPECT_EQ(torn.answer(), -EIO);
  EXPECT_EQ(torn.args, what);
}

TEST_F(faulty_over_shelf, tears_as_many_writes_as_asked) {
  constexpr int count = 2'000;
  open({.queue_depth = count, .io_error = 1, .torn_write = 0.25});
  stage({.op = opcode::write, .length = 100}, count);
  driver_->submit(staged_);
  EXPECT_NEAR(static_cast<double>(inner_->taken.size()), 0.25 * count, 100);
  inner_->finish_all(1);
  EXPECT_EQ(reap().size(), count);
  for (const auto& op : operations_) EXPECT_EQ(op->answer(), -EIO);
}

// --- delay ---------------------------------------------------------------------------------------

TEST_F(faulty_over_shelf, holds_operations_back_for_as_many_reaps_as_asked) {
  constexpr int count = 200;
  open({.delay = 1, .delay_reaps = 4});
  stage({}, count);
  driver_->submit(staged_);
  std::size_t before = 0;
  for (int i = 1; i <= 4; ++i) {
    EXPECT_EQ(reap().size(), 0);
    EXPECT_GT(inner_->taken.size(), before) << "none was held back for " << i << " reaps";
    before = inner_->taken.size();
    EXPECT_EQ(inner_->woken, i < 4) << "fd() shows that there is more to do, and no longer";
  }
  EXPECT_EQ(before, count);
  inner_->finish_all(0);
  EXPECT_EQ(reap().size(), count);
}

TEST_F(faulty_over_shelf, does_not_wait_while_it_holds_operations_back) {
  open({.delay = 1, .delay_reaps = 15});
  const recorded& first = submit({});
  const recorded& second = submit({});
  inner_->woken = false;
  EXPECT_EQ(reap(deadline::never()).size(), 0);
  EXPECT_EQ(inner_->taken.size(), 2);
  EXPECT_EQ(inner_->waits, 1) << "when nothing is held back any more it waits, once";
  inner_->finish_all(0);
  EXPECT_EQ(reap(deadline::never()).size(), 2);
  EXPECT_EQ(first.answer() + second.answer(), 0);
}

TEST_F(faulty_over_shelf, gives_back_what_is_finished_before_it_releases_the_rest) {
  open({.delay = 0.5, .delay_reaps = 15});
  stage({}, 100);
  driver_->submit(staged_);
  const std::size_t at_once = inner_->taken.size();
  ASSERT_LT(at_once, 100);
  inner_->finish_all(0);
  EXPECT_EQ(reap(deadline::never()).size(), at_once);
  EXPECT_LT(inner_->taken.size(), 100 - at_once);
  EXPECT_EQ(inner_->waits, 0);
}

TEST_F(faulty_over_shelf, counts_what_it_holds_back_against_the_queue_depth) {
  open({.queue_depth = 4, .delay = 1});
  stage({}, 10);
  recorded cancel(cancel_request(*operations_[2]));
  operation_queue cancels;
  cancels.push_back(cancel);
  driver_->submit(staged_);
  EXPECT_EQ(staged_.size(), 6);
  driver_->submit(cancels);
  EXPECT_TRUE(cancels.empty()) << "a cancel request needs no room";
  EXPECT_EQ(reap().size(), 2);
  driver_->submit(staged_);
  EXPECT_EQ(staged_.size(), 5);
}

TEST_F(faulty_over_shelf, keeps_what_the_inner_driver_has_no_room_for) {
  open({.delay = 0});
  inner_->room = 3;
  stage({}, 10);
  driver_->submit(staged_);
  EXPECT_TRUE(staged_.empty());
  std::size_t given = 0;
  while (given < 10) {
    const std::size_t finished = inner_->taken.size();
    inner_->finish_all(0);
    EXPECT_EQ(reap(deadline::never()).size(), finished);
    given += finished;
    EXPECT_EQ(inner_->woken, given + inner_->taken.size() < 10) << "there is room for more";
    ASSERT_LE(inner_->taken.size(), 3);
    EXPECT_EQ(reap().size(), 0);
  }
  EXPECT_EQ(inner_->waits, 0);
}

// --- cancelling ----------------------------------------------------------------------------------

TEST_F(faulty_over_shelf, withdraws_what_it_holds_back) {
  open({.delay = 1, .delay_reaps = 15});
  recorded& first = submit({});
  recorded& target = submit({});
  recorded& last = submit({});
  const recorded& cancel = submit(cancel_request(target));
  EXPECT_EQ(reap(deadline::never()).size(), 2);
  EXPECT_EQ(cancel.answer(), 0);
  EXPECT_EQ(target.answer(), -ECANCELED);
  EXPECT_EQ(reap(deadline::never()).size(), 0);
  EXPECT_EQ(std::set(inner_->taken.begin(), inner_->taken.end()),
            (std::set<operation*>{&first, &last}));
  inner_->finish_all(0);
  EXPECT_EQ(reap().size(), 2);
}

TEST_F(faulty_over_shelf, withdraws_what_waits_for_room_as_it_was_asked_for) {
  open({.short_transfer = 1});
  inner_->room = 1;
  submit(read_of(100, 1));
  recorded& target = submit(read_of(100, 1));
  EXPECT_NE(target.args.length, 100);
  submit(cancel_request(target));
  EXPECT_EQ(reap().size(), 2);
  EXPECT_EQ(target.answer(), -ECANCELED);
  EXPECT_EQ(target.args, read_of(100, 1));
  inner_->finish_all(1);
  EXPECT_EQ(reap().size(), 1);
}

TEST_F(faulty_over_shelf, asks_the_inner_driver_to_cancel_what_that_has) {
  open({});
  recorded& target = submit({});
  recorded& cancel = submit(cancel_request(target));
  EXPECT_EQ(inner_->taken, (operations{&target, &cancel}));
  inner_->finish(target, -ECANCELED);
  inner_->finish(cancel, 0);
  EXPECT_EQ(reap(), (operations{&target, &cancel}));
}

TEST_F(faulty_over_shelf, a_cancel_of_everything_finds_what_is_held_back_too) {
  open({.delay = 0.5, .delay_reaps = 15});
  stage({}, 100);
  driver_->submit(staged_);
  const std::size_t inside = inner_->taken.size();
  ASSERT_GT(inside, 0);
  ASSERT_LT(inside, 100);
  const recorded& cancel = submit({.op = opcode::cancel});
  EXPECT_EQ(reap(deadline::never()).size(), 100 - inside);
  EXPECT_EQ(inner_->taken.size(), inside + 1) << "and the inner driver is asked as well";
  inner_->finish_all(-ECANCELED);
  EXPECT_EQ(reap(deadline::never()).size(), inside + 1);
  for (const auto& op : operations_) EXPECT_EQ(op->answer(), -ECANCELED);
  EXPECT_EQ(cancel.args.address, nullptr);
}

// --- the order and time of events ----------------------------------------------------------------

TEST_F(faulty_over_shelf, gives_back_in_another_order) {
  int told = 0;
  open({.reorder = 1, .observe = [&](fault what, const request&) {
          EXPECT_EQ(what, fault::reorder);
          ++told;
        }});
  stage({}, 5);
  driver_->submit(staged_);
  operations expected = inner_->taken;
  std::ranges::reverse(expected);
  inner_->finish_all(0);
  EXPECT_EQ(reap(), expected);
  EXPECT_EQ(told, 4) << "the first overtakes nobody";
}

TEST_F(faulty_over_shelf, leaves_some_staged_in_order_and_takes_them_the_next_time) {
  int told = 0;
  open({.partial_submit = 1, .observe = [&](fault, const request&) { ++told; }});
  for (int i = 1; i <= 50; ++i) {
    inner_->taken.clear();
    operations_.clear();
    stage({}, 10);
    operations expected;
    for (const auto& op : operations_) expected.push_back(op.get());
    driver_->submit(staged_);
    EXPECT_EQ(told, i);
    ASSERT_FALSE(staged_.empty());
    EXPECT_EQ(inner_->taken.size() + staged_.size(), 10);
    // Nobody else would call again.
    EXPECT_EQ(reap(deadline::never()).size(), 0);
    EXPECT_EQ(inner_->waits, 0);
    EXPECT_TRUE(inner_->woken);
    driver_->submit(staged_);
    EXPECT_TRUE(staged_.empty());
    EXPECT_EQ(inner_->taken, expected);
    inner_->finish_all(0);
    EXPECT_EQ(reap().size(), 10);
  }
}

TEST_F(faulty_over_shelf, a_full_queue_is_no_fault) {
  open({.queue_depth = 2, .observe = [](fault, const request&) { ADD_FAILURE(); }});
  stage({}, 5);
  driver_->submit(staged_);
  EXPECT_EQ(staged_.size(), 3);
  EXPECT_EQ(reap().size(), 0);
  EXPECT_FALSE(inner_->woken);
}

TEST_F(faulty_over_shelf, reaps_inside_submit_and_gives_that_back_at_once) {
  int told = 0;
  open({.early_completion = 1, .observe = [&](fault what, const request&) {
          EXPECT_EQ(what, fault::early_completion);
          ++told;
        }});
  const recorded& first = submit({});
  EXPECT_EQ(told, 0) << "it has not finished";
  inner_->finish_all(5);
  const int reaps = inner_->reaps;
  submit({});
  EXPECT_EQ(inner_->reaps, reaps + 1);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(reap(deadline::never()), operations{operations_.front().get()});
  EXPECT_EQ(first.answer(), 5);
  EXPECT_EQ(inner_->waits, 0);
}

TEST_F(faulty_over_shelf, a_wake_is_not_lost_to_a_reap_inside_submit) {
  open({.early_completion = 1});
  driver_->wake();
  submit({});
  EXPECT_FALSE(inner_->woken);
  EXPECT_EQ(reap(deadline::never()).size(), 0);
  EXPECT_EQ(inner_->waits, 0);
  reap(deadline::never());
  EXPECT_EQ(inner_->waits, 1) << "one wake ends one wait";
  inner_->finish_all(0);
  EXPECT_EQ(reap().size(), 1);
}

TEST_F(faulty_over_shelf, appends_to_what_is_completed_already) {
  open({.reorder = 1});
  recorded before{request{}};
  operation_queue completed;
  completed.push_back(before);
  submit({});
  inner_->finish_all(0);
  driver_->reap(completed, deadline::never());
  EXPECT_EQ(completed.size(), 2);
  EXPECT_EQ(&completed.front(), &before);
}

// --- the seed ------------------------------------------------------------------------------------

/// Everything that a run did: the number of the operation, and what befell it.
using trace = std::vector<std::pair<std::uint64_t, fault>>;

bool of_an_operation(fault what) {
  return what != fault::reorder && what != fault::partial_submit && what != fault::early_completion;
}

class faulty_by_seed : public ::testing::Test {
 protected:
  static faulty_options everything(std::uint64_t seed) {
    return {.seed = seed,
            .short_transfer = 0.1,
            .io_error = 0.1,
            .no_space = 0.1,
            .delay = 0.1,
            .reorder = 0.1,
            .partial_submit = 0.1,
            .early_completion = 0.1,
            .interrupted = 0.1,
            .would_block = 0.1};
  }

  /// Reads and writes, each known by its offset; `at_once` of them in each submit.
  trace run(std::string_view driver, faulty_options options, std::size_t at_once) {
    trace befallen;
    options.observe = [&](fault what, const request& asked) {
      befallen.emplace_back(asked.offset / slot, what);
    };
    options.queue_depth = 64;
    io_context context(faulty(open_driver_named(driver, {.queue_depth = 64}), options));
    for (std::size_t i = 0; i < count; i += at_once) {
      batch together;
      for (std::size_t n = i; n < std::min(count, i + at_once); ++n) {
        const std::uint64_t offset = n * slot + 1;
        add(together, n % 2 == 0 ? read_request(file_.get(), memory_, offset)
                                 : write_request(file_.get(), memory_, offset));
      }
      start_all(context, together);
      context.run();
    }
    return befallen;
  }

  static trace only_of_operations(const trace& all) {
    trace kept;
    std::ranges::copy_if(all, std::back_inserter(kept),
                         [](const auto& each) { return of_an_operation(each.second); });
    std::ranges::sort(kept);
    return kept;
  }

  static constexpr std::size_t count = 1'000;
  static constexpr std::size_t slot = 64;
  temp_directory directory_;
  descriptor file_ = make_file(directory_ / "file");
  std::array<std::byte, slot - 1> memory_{};
};

TEST_F(faulty_by_seed, the_same_calls_meet_the_same_faults) {
  const trace once = run("sync", everything(7), 10);
  EXPECT_EQ(run("sync", everything(7), 10), once);
  EXPECT_NE(run("sync", everything(8), 10), once);
  for (int i = 1; i < 10; ++i) {
    EXPECT_TRUE(std::ranges::any_of(
        once, [&](const auto& each) { return each.second == static_cast<fault>(i); }))
        << "fault " << i << " was not seen";
  }
}

TEST_F(faulty_by_seed, the_same_operations_meet_the_same_faults_on_every_driver) {
  const trace expected = only_of_operations(run("sync", everything(7), 10));
  EXPECT_FALSE(expected.empty());
  for (const std::string_view driver : driver_names) {
    if (!report_of(driver).available) continue;
    for (const std::size_t at_once : {1u, 10u, 300u}) {
      EXPECT_EQ(only_of_operations(run(driver, everything(7), at_once)), expected)
          << driver << ", " << at_once << " at once";
    }
  }
}

// Five standard deviations, for a seed that does not change.
TEST_F(faulty_over_shelf, hits_as_often_as_asked) {
  constexpr double count = 100'000;
  const std::array<std::pair<fault, double faulty_options::*>, 6> rates = {
      {{fault::short_transfer, &faulty_options::short_transfer},
       {fault::io_error, &faulty_options::io_error},
       {fault::no_space, &faulty_options::no_space},
       {fault::delay, &faulty_options::delay},
       {fault::interrupted, &faulty_options::interrupted},
       {fault::would_block, &faulty_options::would_block}}};
  for (const auto& [what, rate] : rates) {
    for (const double wanted : {0.001, 0.1, 0.5}) {
      std::map<fault, int> hits;
      faulty_options options{.seed = 99,
                             .observe = [&](fault seen, const request&) { ++hits[seen]; }};
      options.*rate = wanted;
      open(options);
      recorded op({.op = opcode::write, .length = 100});
      for (int i = 0; i < static_cast<int>(count); ++i) {
        staged_.push_back(op);
        driver_->submit(staged_);
        operation_queue completed;
        while (completed.empty()) {
          inner_->finish_all(1);
          driver_->reap(completed, deadline::now());
        }
      }
      EXPECT_NEAR(hits[what], count * wanted, 5 * std::sqrt(count * wanted * (1 - wanted)));
      EXPECT_EQ(hits.size(), 1);
    }
  }
}

/// The answers that `driver` gives to a thousand reads of a hundred bytes.
std::vector<std::int32_t> answers_of(std::unique_ptr<driver> driver, int fd) {
  io_context context(std::move(driver));
  std::array<std::byte, 100> memory{};
  std::vector<std::int32_t> answers;
  recorded op(read_request(fd, memory));
  for (int i = 0; i < 1'000; ++i) {
    context.start(op);
    context.run();
    answers.push_back(op.answer());
  }
  return answers;
}

TEST(faulty_row_test, is_lawful_and_takes_its_seed_from_the_environment) {
  const temp_directory directory;
  const descriptor file = make_patterned_file(directory / "file", 100);
  const auto by_environment = [&](const char* seed) {
    if (seed != nullptr) ::setenv("WEIR_FAULT_SEED", seed, 1);
    auto wrapped =
        detail::wrap_faulty(open_driver_named("sync"), {.queue_depth = 256, .threads = 1});
    ::unsetenv("WEIR_FAULT_SEED");
    return answers_of(std::move(wrapped.value()), file.get());
  };
  const auto by_option = [&](std::uint64_t seed) {
    return answers_of(faulty(open_driver_named("sync"), lawful_faults(seed)), file.get());
  };
  EXPECT_EQ(by_environment(nullptr), by_option(1));
  EXPECT_EQ(by_environment("77"), by_option(77));
  EXPECT_EQ(by_environment("18446744073709551615"), by_option(UINT64_MAX));
  const auto by_word = by_environment("a word");
  EXPECT_EQ(by_environment("a word"), by_word);
  EXPECT_NE(by_environment("another"), by_word);
  EXPECT_NE(by_environment("77x"), by_option(77));
  EXPECT_TRUE(std::ranges::any_of(by_word, [](auto answer) { return answer < 100; }));
}

// --- on every driver -----------------------------------------------------------------------------

class faulty_over : public driver_test {
 protected:
  io_context& context(faulty_options options, unsigned depth = 16) {
    options.queue_depth = depth;
    return *(context_ = std::make_unique<io_context>(
                 faulty(open_driver_named(GetParam(), {.queue_depth = depth}), options)));
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

INSTANTIATE_TEST_SUITE_P(drivers, faulty_over, ::testing::ValuesIn(driver_names), name_of_driver);

// Invariant 1
TEST_P(faulty_over, everything_completes_once) {
  constexpr std::size_t count = 5'000;
  const descriptor file = make_patterned_file(directory_ / "file", count);
  for (const double rate : {0.02, 0.3, 1.0}) {
    io_context& on = context({.short_transfer = rate,
                              .io_error = rate / 4,
                              .no_space = rate / 4,
                              .delay = rate,
                              .delay_reaps = 5,
                              .reorder = rate,
                              .partial_submit = rate,
                              .early_completion = rate,
                              .interrupted = rate / 4,
                              .would_block = rate / 4});
    std::vector<std::byte> memory(count);
    batch transfers;
    batch cancels;
    for (std::size_t i = 0; i < count; ++i) {
      const auto part = std::span(memory).subspan(i, 1);
      add(transfers, i % 2 == 0 ? read_request(file.get(), part, i)
                                : request{.op = opcode::fdatasync, .fd = i % 3 == 0 ? -1 : -2});
      if (i % 5 == 0) add(cancels, cancel_request(*transfers.back()));
    }
    on.flush();
    start_all(on, transfers);
    for (int i = 0; i < 20; ++i) on.dispatch(false);
    start_all(on, cancels);
    on.run();
    std::size_t at = 0;
    for (const auto& op : transfers) {
      const std::array<std::int32_t, 7> possible = {1,       -EBADF, -EIO,      -EINTR,
                                                    -EAGAIN, -EBADF, -ECANCELED};
      EXPECT_EQ(op->completions, 1);
      EXPECT_TRUE(std::ranges::count(possible, op->answer()) > 0) << op->answer();
      EXPECT_TRUE(op->answer() != 1 || memory[at] == pattern(at));
      ++at;
    }
    for (const auto& cancel : cancels) {
      EXPECT_EQ(cancel->completions, 1);
      const auto* target = static_cast<const operation*>(cancel->args.address);
      EXPECT_EQ(cancel->answer() == 0, target->answer() == -ECANCELED);
    }
  }
}

// Invariant 1
TEST_P(faulty_over, everything_completes_once_for_a_loop_that_has_only_the_descriptor) {
  constexpr std::size_t count = 1'000;
  const descriptor file = make_patterned_file(directory_ / "file", count);
  faulty_options options = faults_of_timing(3);
  options.delay_reaps = 15;
  io_context& on = context(options);
  std::vector<std::byte> memory(count);
  std::size_t done = 0;
  batch reads;
  for (std::size_t i = 0; i < count; ++i) {
    add(reads, read_request(file.get(), std::span(memory).subspan(i, 1), i)).then = [&](recorded&) {
      ++done;
    };
  }
  start_all(on, reads);
  on.flush();
  EXPECT_TRUE(poll_until(on, [&] { return done == count; }));
  on.run();
  EXPECT_TRUE(all_answered(reads, 1));
  EXPECT_TRUE(holds_pattern(memory, 0));
}

// Invariants 1, 29
TEST_P(faulty_over, a_context_that_ends_gets_back_what_is_held_back) {
  for (int seed = 0; seed < 20; ++seed) {
    faulty_options options = faults_of_timing(static_cast<std::uint64_t>(seed));
    options.delay = 0.5;
    options.delay_reaps = 15;
    io_context& on = context(options);
    batch all;
    for (int i = 0; i < 100; ++i) add(all, {});
    on.flush();
    start_all(on, all);
    on.flush();
    context_.reset();
    for (const auto& op : all) {
      EXPECT_EQ(op->completions, 1);
      EXPECT_TRUE(op->answer() == 0 || op->answer() == -ECANCELED);
    }
  }
}

// Invariants 1 and 9
TEST_P(faulty_over, whole_transfers_survive_short_ones_within_their_range) {
  constexpr std::size_t page = 4096;
  for (const bool direct : {false, true}) {
    const std::size_t from = direct ? 4 * page : 12'345;
    const std::size_t length = direct ? 50 * page : 111'111;
    const std::size_t size = from + length + 3 * page;
    int shortened = 0;
    for (unsigned seed = 0; seed < 10; ++seed) {
      const std::string path = directory_ / (std::to_string(seed) + (direct ? "d" : ""));
      descriptor opened = direct ? open_direct(path) : make_file(path);
      if (!opened) break;
      ASSERT_EQ(::ftruncate(opened.get(), static_cast<off_t>(size)), 0);
      const auto count = [&](fault what, const request&) {
        if (what == fault::short_transfer) ++shortened;
      };
      file target(context({.seed = seed,
                           .short_transfer = 0.9,
                           .delay = 0.2,
                           .reorder = 0.5,
                           .observe = count}),
                  opened.release());
      buffer written(length);
      buffer read(length + 2 * page);
      fill(written.span(), from);
      std::ranges::fill(read.span(), std::byte{0xee});
      auto there_and_back = [&]() -> task<> {
        const transfer_result saved = co_await target.write_all_at(written.span(), from);
        EXPECT_EQ(saved, length);
        EXPECT_EQ(saved.transferred, length);
        const auto into = read.span().subspan(page, length);
        const transfer_result loaded = co_await target.read_exactly_at(into, from);
        EXPECT_EQ(loaded, length);
      };
      context_->run(there_and_back());
      EXPECT_TRUE(holds_only(read.first(page), std::byte{0xee}));
      EXPECT_TRUE(holds_pattern(read.span().subspan(page, length), from));
      EXPECT_TRUE(holds_only(read.span().last(page), std::byte{0xee}));
      const auto on_disk = contents_of(path);
      ASSERT_EQ(on_disk.size(), size);
      EXPECT_TRUE(holds_only(std::span(on_disk).first(from), std::byte{0}));
      EXPECT_TRUE(holds_pattern(std::span(on_disk).subspan(from, length), from));
      EXPECT_TRUE(holds_only(std::span(on_disk).subspan(from + length), std::byte{0}));
    }
    EXPECT_TRUE(shortened > 40 || (direct && !open_direct(directory_ / "d"))) << shortened;
  }
}

// Invariant 18. Whatever came back short in between: when the sync begins, the file has it all.
TEST_P(faulty_over, a_sync_begins_when_everything_before_it_is_written) {
  descriptor made = make_file(directory_ / "file");
  constexpr std::size_t length = 100'001;
  int syncs = 0;
  faulty_options options{.short_transfer = 0.9, .delay = 0.3};
  options.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::fsync) {
      ++syncs;
      const auto now = contents_of(directory_ / "file");
      EXPECT_EQ(now.size(), length);
      EXPECT_TRUE(holds_pattern(now, 0));
    }
    return std::nullopt;
  };
  file target(context(options), made.release());
  std::vector<std::byte> memory(length);
  fill(memory, 0);
  auto save = [&]() -> task<> {
    const transfer_result written = co_await target.write_all_at(memory, 0);
    EXPECT_EQ(written, length);
    const result<void> synced = co_await target.sync();
    EXPECT_TRUE(synced.has_value());
  };
  context_->run(save());
  EXPECT_EQ(syncs, 1);
}

// Invariant 19
TEST_P(faulty_over, a_write_that_fails_part_way_keeps_what_it_acknowledged) {
  constexpr std::size_t length = 20'000;
  std::map<std::errc, int> failed;
  int torn = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    const std::string path = directory_ / std::to_string(seed);
    descriptor made = make_file(path, length);
    file target(context({.seed = seed, .short_transfer = 0.95, .io_error = 0.1, .no_space = 0.1}),
                made.release());
    std::vector<std::byte> memory(length);
    fill(memory, 0, seed + 1);
    auto save = [&]() -> task<transfer_result> {
      co_return co_await target.write_all_at(memory, 0);
    };
    const transfer_result written = context_->run(save());
    const auto now = contents_of(path);
    ASSERT_EQ(now.size(), length);
    EXPECT_TRUE(holds_pattern(std::span(now).first(written.transferred), 0, seed + 1));
    if (written.has_value()) continue;
    ++failed[static_cast<std::errc>(written.error().value())];
    // Then maybe a part of what failed, then zeros.
    const auto touched = std::ranges::find_if(now.rbegin(), now.rend(),
                                              [](std::byte each) { return each != std::byte{0}; });
    const auto end = static_cast<std::size_t>(now.rend() - touched);
    EXPECT_TRUE(holds_pattern(std::span(now).first(end), 0, seed + 1));
    if (end > written.transferred) ++torn;
    EXPECT_TRUE(written.error() == std::errc::io_error || end <= written.transferred);
  }
  EXPECT_GT(failed[std::errc::io_error], 3);
  EXPECT_GT(failed[std::errc::no_space_on_device], 3);
  EXPECT_GT(torn, 1);
}

// --- the table -----------------------------------------------------------------------------------

// Against a map: values, and that no gap hides what lies behind it.
TEST(operation_table_test, finds_what_was_put_in) {
  constexpr std::size_t capacity = 100;
  detail::operation_table<std::uint64_t> table(capacity);
  batch all;
  for (std::size_t i = 0; i < 4 * capacity; ++i) add(all, {});
  std::map<const operation*, std::uint64_t> expected;
  std::uint64_t state = 1;
  for (int i = 0; i < 100'000; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    const operation& op = *all[(state >> 33) % all.size()];
    const auto known = expected.find(&op);
    const auto taken = known != expected.end() || table.full() ? table.take(op) : std::nullopt;
    if (known != expected.end()) {
      ASSERT_EQ(taken, known->second);
      expected.erase(known);
    } else if (!table.full()) {
      table.insert(op, state);
      expected[&op] = state;
    } else {
      ASSERT_EQ(taken, std::nullopt);
    }
    ASSERT_EQ(table.size(), expected.size());
  }
}

}  // namespace
}  // namespace weir::testing
