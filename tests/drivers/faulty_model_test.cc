// Random operations, cancels and faults against a byte array: whatever a lawful driver does, each
// operation completes once, its answer is one that its faults explain, and the file holds what the
// answers say. WEIR_SEED replays a run.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/support.hpp"
#include "weir/faulty.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;  // what O_DIRECT is content with everywhere
constexpr std::size_t slot = 2 * page;
constexpr std::size_t slots = 24;
constexpr std::size_t biggest = slots * slot;
constexpr int steps = 400;

using bytes = std::vector<std::byte>;

// Every step compares the whole file, which a loop over bytes takes minutes for under a sanitizer.
bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

bool reads(opcode op) { return op == opcode::read || op == opcode::readv; }
bool writes(opcode op) { return op == opcode::write || op == opcode::writev; }

/// An operation, its memory, its cancel, and what befell it.
struct attempt {
  static constexpr std::byte untouched{0xee};
  static constexpr std::size_t guard = page;

  opcode op = opcode::nop;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  buffer memory{guard + 2 * slot + guard};
  std::array<iovec, 2> vector{};
  struct statx status{};
  std::unique_ptr<recorded> operation;
  std::unique_ptr<recorded> cancel;
  std::set<fault> befallen;

  std::span<std::byte> span() { return memory.span().subspan(guard, length); }
  bool cancelled() const { return operation->answer() == -ECANCELED; }
};

using step = std::vector<std::unique_ptr<attempt>>;

/// Draws what is to be done. Within a step no two operations touch the same bytes, and none reads
/// where another moves the end of the file.
class planner {
 public:
  planner(std::uint64_t seed, bool direct) : random_(seed), direct_(direct) {}

  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

  step draw(std::size_t size) {
    step made;
    if (one_in(3)) {
      made.push_back(lonely());
    } else {
      for (const std::size_t at : some_slots()) made.push_back(on_slot(at, size));
    }
    return made;
  }

 private:
  std::unique_ptr<attempt> lonely() {
    static constexpr std::array ops = {
        opcode::read,  opcode::write,     opcode::readv, opcode::writev, opcode::ftruncate,
        opcode::fsync, opcode::fallocate, opcode::statx, opcode::nop,    opcode::fdatasync};
    auto made = std::make_unique<attempt>();
    made->op = ops[below(ops.size())];
    const std::uint64_t unit = direct_ ? page : 1;
    made->offset = below(biggest / unit) * unit;
    made->length = unit * (1 + below(slot / unit));
    if (made->op == opcode::ftruncate) made->offset = below(biggest);
    fill_memory(*made);
    return made;
  }

  std::vector<std::size_t> some_slots() {
    std::vector<std::size_t> order(slots);
    for (std::size_t i = 0; i < slots; ++i) order[i] = i;
    std::ranges::shuffle(order, random_);
    order.resize(1 + below(slots));
    return order;
  }

  // What is within the file is read or written; beyond its end it is only written.
  std::unique_ptr<attempt> on_slot(std::size_t at, std::size_t size) {
    auto made = std::make_unique<attempt>();
    made->offset = at * slot;
    made->length = slot;
    const bool within = made->offset + slot <= size;
    static constexpr std::array ops = {opcode::write, opcode::writev, opcode::read, opcode::readv};
    made->op = ops[below(within ? 4 : 2)];
    fill_memory(*made);
    return made;
  }

  // Random bytes to write from, drawn once: to draw each anew takes most of the time under a
  // sanitizer. Never 0, which is what a file that has grown has in its gaps.
  bytes draw_noise() {
    bytes drawn(8 * slot);
    for (std::byte& each : drawn) each = static_cast<std::byte>(1 + below(255));
    return drawn;
  }

  void fill_memory(attempt& made) {
    const std::span all = made.memory.span();
    std::fill_n(all.data(), all.size(), attempt::untouched);
    if (!writes(made.op)) return;
    const std::size_t from = below(noise_.size() - made.length);
    std::copy_n(noise_.data() + from, made.length, made.span().data());
  }

  std::mt19937_64 random_;
  bool direct_;
  bytes noise_ = draw_noise();
};

/// A file on a faulty driver, and the bytes that it should hold.
class world {
 public:
  world(std::string_view driver, std::uint64_t seed, bool direct)
      : planner_(seed, direct), hints_(direct ? hint::direct : std::uint8_t{0}) {
    file_ = direct ? open_direct(path()) : make_file(path());
    const faulty_options options{
        .seed = seed,
        .queue_depth = 8,
        .short_transfer = 0.2,
        .io_error = 0.06,
        .no_space = 0.06,
        .delay = 0.2,
        .delay_reaps = 4,
        .reorder = 0.3,
        .partial_submit = 0.2,
        .early_completion = 0.3,
        .observe = [this](fault what, const request& befallen) { note(what, befallen); }};
    auto inner = open_driver_named(driver, {.queue_depth = 8, .threads = 4});
    context_ =
        std::make_unique<io_context>(std::move(make_faulty(std::move(inner), options).value()));
  }

  /// Empty where the file system refuses O_DIRECT.
  explicit operator bool() const { return static_cast<bool>(file_); }

  void carry_out_a_step() {
    step_ = planner_.draw(model_.size());
    everything_cancelled_ = false;
    context_->flush();
    for (const auto& each : step_) start(*each);
    if (planner_.one_in(2)) context_->flush();
    for (std::uint64_t turns = planner_.below(3); turns > 0; --turns) context_->dispatch(false);
    for (const auto& each : step_) {
      if (planner_.one_in(6)) cancel(*each);
    }
    recorded cancel_all({.op = opcode::cancel});
    if (planner_.one_in(20)) {
      everything_cancelled_ = true;
      context_->start(cancel_all);
    }
    context_->run();
    for (const auto& each : step_) check(*each);
    check_file();
  }

  std::map<fault, int> seen;

 private:
  std::string path() const { return directory_ / "file"; }

  void start(attempt& it) {
    request what{.op = it.op,
                 .hints = hints_,
                 .fd = file_.get(),
                 .address = it.span().data(),
                 .offset = it.offset,
                 .length = it.length};
    if (it.op == opcode::readv || it.op == opcode::writev) {
      const std::size_t half = it.length / 2 / page * page;
      it.vector = {{{it.span().data(), half}, {it.span().data() + half, it.length - half}}};
      what.address = it.vector.data();
      what.length = it.vector.size();
    } else if (it.op == opcode::statx) {
      static char this_file = '\0';
      what.flags = AT_EMPTY_PATH;
      what.mode = STATX_SIZE;
      what.address = &this_file;
      what.offset = reinterpret_cast<std::uintptr_t>(&it.status);
    }
    it.operation = std::make_unique<recorded>(what);
    context_->start(*it.operation);
  }

  void cancel(attempt& it) {
    it.cancel = std::make_unique<recorded>(cancel_request(*it.operation));
    context_->start(*it.cancel);
  }

  void note(fault what, const request& befallen) {
    ++seen[what];
    for (const auto& each : step_) {
      if (each->operation && each->operation->args.address == befallen.address) {
        each->befallen.insert(what);
      }
    }
  }

  // --- answers -----------------------------------------------------------------------------------

  void check(attempt& it) {
    SCOPED_TRACE("opcode " + std::to_string(static_cast<int>(it.op)) + " offset " +
                 std::to_string(it.offset) + " length " + std::to_string(it.length) + " answered " +
                 std::to_string(it.operation->answer()));
    EXPECT_EQ(it.operation->completions, 1);
    check_cancel(it);
    if (!it.cancelled()) check_answer(it);
    EXPECT_TRUE(holds_only(it.memory.first(attempt::guard), attempt::untouched));
    EXPECT_TRUE(
        holds_only(it.memory.span().subspan(attempt::guard + it.length), attempt::untouched));
  }

  // io_uring stops some of what it has called EALREADY after all, and what it stops may have moved
  // something before, which then is its answer.
  void check_cancel(const attempt& it) const {
    if (!it.cancel) {
      EXPECT_TRUE(!it.cancelled() || everything_cancelled_);
      return;
    }
    EXPECT_EQ(it.cancel->completions, 1);
    const bool moved_some = (reads(it.op) || writes(it.op)) && it.operation->answer() > 0;
    switch (const std::int32_t said = it.cancel->answer()) {
      case 0:
        EXPECT_TRUE(it.cancelled() || moved_some);
        break;
      case -ENOENT:
        EXPECT_TRUE(!it.cancelled() || everything_cancelled_);
        break;
      default:
        EXPECT_EQ(said, -EALREADY);
    }
  }

  void check_answer(attempt& it) {
    const std::int32_t answer = it.operation->answer();
    const bool broken = it.befallen.contains(fault::io_error);
    const bool full = it.befallen.contains(fault::no_space);
    if (broken || full) {
      EXPECT_EQ(answer, broken ? -EIO : -ENOSPC);
    } else if (reads(it.op) || writes(it.op)) {
      check_transfer(it, answer);
    } else {
      EXPECT_TRUE(answer == 0 || (it.op == opcode::fallocate && answer == -EOPNOTSUPP));
      EXPECT_TRUE(it.op != opcode::statx || it.status.stx_size == model_.size());
    }
  }

  void check_transfer(attempt& it, std::int32_t answer) {
    const std::uint64_t left = model_.size() - std::min<std::uint64_t>(model_.size(), it.offset);
    const std::uint64_t whole = reads(it.op) ? std::min(it.length, left) : it.length;
    ASSERT_GE(answer, 0);
    const auto moved = static_cast<std::uint64_t>(answer);
    const bool shortened = it.befallen.contains(fault::short_transfer);
    if (shortened || it.cancel || everything_cancelled_) {
      EXPECT_LE(moved, whole);
      EXPECT_EQ(moved > 0, whole > 0);
      EXPECT_TRUE(!shortened || reads(it.op) || moved < whole);
    } else {
      EXPECT_EQ(moved, whole);
    }
    if (!reads(it.op)) return;
    const auto expected = std::span(model_).subspan(std::min(model_.size(), it.offset), moved);
    EXPECT_TRUE(same(it.span().first(moved), expected));
  }

  // --- the file ----------------------------------------------------------------------------------

  void check_file() {
    const bytes now = contents_of(path());
    for (const auto& each : step_) apply(*each);
    for (const auto& each : step_) {
      if (writes(each->op) && each->operation->answer() == -EIO) apply_torn(*each, now);
    }
    ASSERT_EQ(now.size(), model_.size());
    if (same(now, model_)) return;
    const auto [differs, _] = std::ranges::mismatch(now, model_);
    ADD_FAILURE() << "byte " << differs - now.begin() << " is wrong";
  }

  // What was acknowledged has happened, and nothing else.
  void apply(attempt& it) {
    const std::int32_t answer = it.operation->answer();
    if (answer < 0) return;
    if (writes(it.op)) write(it, static_cast<std::size_t>(answer));
    if (it.op == opcode::ftruncate) model_.resize(it.offset);
    if (it.op == opcode::fallocate) model_.resize(std::max(model_.size(), it.offset + it.length));
  }

  // A write that failed with EIO has written a part of the whole, from its beginning; or nothing.
  void apply_torn(attempt& it, const bytes& now) {
    std::size_t written = it.length;
    while (written > 0 && !was_changed(it.offset + written - 1, now)) --written;
    EXPECT_LT(written, it.length);
    if (written > 0) write(it, written);
  }

  bool was_changed(std::size_t at, const bytes& now) const {
    return at < now.size() && now[at] != (at < model_.size() ? model_[at] : std::byte{0});
  }

  void write(attempt& it, std::size_t count) {
    if (count == 0) return;
    model_.resize(std::max(model_.size(), it.offset + count));
    std::ranges::copy(it.span().first(count),
                      model_.begin() + static_cast<std::ptrdiff_t>(it.offset));
  }

  planner planner_;
  temp_directory directory_;
  descriptor file_;
  std::uint8_t hints_;
  bytes model_;
  step step_;
  bool everything_cancelled_ = false;
  std::unique_ptr<io_context> context_;
};

class faulty_model : public driver_test {
 protected:
  static std::uint64_t seed() {
    const char* wanted = std::getenv("WEIR_SEED");
    return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device{}();
  }

  void run(bool direct) {
    const std::uint64_t number = seed();
    RecordProperty("seed", std::to_string(number));
    SCOPED_TRACE("replay with WEIR_SEED=" + std::to_string(number));
    world tested(GetParam(), number, direct);
    if (!tested) GTEST_SKIP() << "the file system of $TMPDIR or /var/tmp refuses O_DIRECT";
    for (int i = 0; i < steps && !HasFailure(); ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      tested.carry_out_a_step();
    }
    for (const fault each : {fault::io_error, fault::no_space, fault::short_transfer, fault::delay,
                             fault::reorder, fault::partial_submit, fault::early_completion}) {
      EXPECT_TRUE(tested.seen[each] > 0 || HasFailure()) << static_cast<int>(each);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, faulty_model, ::testing::ValuesIn(driver_names), name_of_driver);

// Invariants 1, 2, 3, 4 and 19
TEST_P(faulty_model, the_file_holds_what_the_answers_say) { run(false); }

// Invariants 1, 2, 3, 4, 19 and 32
TEST_P(faulty_model, the_file_holds_what_the_answers_say_past_the_page_cache) { run(true); }

}  // namespace
}  // namespace weir::testing
