// What a reader yields, on every driver: against the file itself, read in any order and by any of
// its ways; its bounds; its end, and that of whoever waits for it.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "stream/stream_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;

class reader_test : public stream_test {
 protected:
  void write_file(std::string_view contents) {
    const descriptor made = make_file(path());
    ASSERT_EQ(::write(made.get(), contents.data(), contents.size()),
              static_cast<ssize_t>(contents.size()));
  }
  reader open_reader(const reader_options& options = {}) {
    return reader(open_for(O_RDONLY), options);
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, reader_test, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

task<std::string> read_up_to(reader& in, std::size_t count) {
  std::vector<std::byte> memory(count);
  const transfer_result got = co_await in.read_exactly(memory);
  co_return text(std::span(memory).first(got.transferred));
}

// --- a model: the file's bytes -------------------------------------------------------------------

/// Does random things with a reader, and knows what must come of each.
class random_reading {
 public:
  random_reading(reader& in, std::string contents, std::uint64_t seed)
      : in_(in), contents_(std::move(contents)), random_(seed) {}

  task<void> go(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      switch (below(7)) {
        case 0:
          co_await some(below(3 * page));
          break;
        case 1:
          co_await exactly(below(5 * page));
          break;
        case 2:
          co_await until(below(200));
          break;
        case 3:
          co_await line(below(100));
          break;
        case 4:
          co_await looking();
          break;
        case 5:
          move_to(below(4) == 0 ? below(contents_.size() + page) : position_);
          break;
        case 6:
          in_.skip(below(100));
          move_to(in_.position());
          break;
      }
      EXPECT_EQ(in_.position(), position_) << "after step " << step;
    }
  }

 private:
  std::size_t below(std::size_t bound) { return random_() % bound; }
  std::string_view rest() const {
    return std::string_view(contents_).substr(std::min(position_, contents_.size()));
  }
  void move_to(std::uint64_t offset) {
    in_.seek(offset);
    position_ = offset;
  }

  task<void> some(std::size_t count) {
    std::vector<std::byte> memory(count);
    const result<std::size_t> got = co_await in_.read(memory);
    EXPECT_TRUE(got.has_value());
    EXPECT_EQ(got.value_or(0) == 0, count == 0 || rest().empty());
    EXPECT_EQ(text(std::span(memory).first(got.value_or(0))), rest().substr(0, got.value_or(0)));
    position_ += got.value_or(0);
  }

  task<void> exactly(std::size_t count) {
    std::vector<std::byte> memory(count);
    const transfer_result got = co_await in_.read_exactly(memory);
    EXPECT_EQ(got.has_value(), count <= rest().size());
    EXPECT_EQ(got.transferred, std::min(count, rest().size()));
    EXPECT_TRUE(got.has_value() || got.error() == errc::short_read);
    EXPECT_EQ(text(std::span(memory).first(got.transferred)), rest().substr(0, got.transferred));
    position_ += got.transferred;
  }

  // What must come up to 'x': the piece, or that it is longer than `limit`.
  void expect_piece(const result<std::size_t>& got, const std::string& piece, std::size_t limit) {
    const std::size_t at = rest().find('x');
    const std::size_t before = std::min(at, rest().size());
    if (before > limit) {
      EXPECT_EQ(error_of(got), errc::too_long);
      EXPECT_EQ(piece, rest().substr(0, limit));
    } else {
      EXPECT_EQ(piece, rest().substr(0, at == std::string_view::npos ? before : before + 1));
      EXPECT_EQ(got, piece.size());
    }
    position_ += piece.size();
  }
  task<void> until(std::size_t limit) {
    std::string piece = "of before";
    const result<std::size_t> got = co_await in_.read_until(piece, 'x', limit);
    expect_piece(got, piece, limit);
  }

  task<void> line(std::size_t limit) {
    std::string line;
    const result<bool> got = co_await in_.read_line(line, limit);
    const std::size_t at = rest().find('\n');
    const std::size_t length = std::min(at, rest().size());
    EXPECT_EQ(line, rest().substr(0, std::min(length, limit)));
    if (length > limit) {
      EXPECT_EQ(error_of(got), errc::too_long);
      position_ += limit;
    } else {
      EXPECT_EQ(got, !rest().empty());
      position_ += length + (at != std::string_view::npos ? 1 : 0);
    }
  }

  task<void> looking() {
    const result<std::span<const std::byte>> view = co_await in_.peek();
    EXPECT_TRUE(view.has_value());
    EXPECT_EQ(view->empty(), rest().empty());
    EXPECT_EQ(text(*view), rest().substr(0, view->size()));
    const std::size_t used = view->empty() ? 0 : below(view->size() + 1);
    in_.consume(used);
    position_ += used;
  }

  reader& in_;
  const std::string contents_;
  std::mt19937_64 random_;
  std::size_t position_ = 0;
};

std::string random_text(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string made(size, ' ');
  for (char& each : made) {
    const std::uint64_t dice = random() % 64;
    each = dice == 0 ? '\n' : dice == 1 ? 'x' : static_cast<char>('a' + dice % 20);
  }
  return made;
}

TEST_P(reader_test, random_reads_yield_what_the_file_holds) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    if (seed > 3) use_faults(short_transfers(seed));
    const std::string contents = random_text(200'000 + seed * 777, seed);
    write_file(contents);
    reader in = open_reader({.block_size = page * seed, .blocks = 1 + seed % 4});
    context_->run(random_reading(in, contents, seed).go(400));
  }
}

TEST_P(reader_test, direct_files_are_read_from_and_to_anywhere) {
  const std::string contents = random_text(100'001, 9);
  write_file(contents);
  descriptor direct = open_direct(path());
  if (!direct) GTEST_SKIP() << "the file system has no O_DIRECT";
  reader in(file(*context_, direct.release()), {.block_size = 2 * page, .blocks = 3});
  context_->run(random_reading(in, contents, 9).go(400));
}

TEST_P(reader_test, cache_neutral_reads_yield_the_same) {
  const std::string contents = random_text(100'001, 10);
  write_file(contents);
  reader in = open_reader({.block_size = 2 * page, .blocks = 3, .drop_cache = true});
  context_->run(random_reading(in, contents, 10).go(400));
}

// --- the predecessors' tests of streams ----------------------------------------------------------

// Of a chunked stream, "01" to "67": looking does not consume, and reads go on where they were.
TEST_P(reader_test, e_t8_chunked_stream) {
  write_file("01234567");
  reader in = open_reader();
  auto work = [&]() -> task<void> {
    EXPECT_EQ(text((co_await in.peek()).value()).substr(0, 3), "012");
    EXPECT_EQ(text((co_await in.peek()).value()).substr(1, 1), "1");
    EXPECT_EQ(text((co_await in.peek()).value()).substr(3, 6), "34567");
    in.consume(5);
    EXPECT_EQ(text((co_await in.peek()).value()), "567");
    in.seek(0);
    for (const std::string_view expected : {"0", "1", "234", "567"}) {
      EXPECT_EQ(co_await read_up_to(in, expected.size()), expected);
    }
    EXPECT_EQ(co_await read_up_to(in, 1), "");
  };
  context_->run(work());
}

// --- bounds --------------------------------------------------------------------------------------

TEST_P(reader_test, a_line_may_be_as_long_as_the_limit_and_no_longer) {
  write_file("12345\n123456\nabc");
  reader in = open_reader();
  auto work = [&]() -> task<void> {
    std::string line;
    EXPECT_EQ(co_await in.read_line(line, 5), true);
    EXPECT_EQ(line, "12345");
    EXPECT_EQ(error_of(co_await in.read_line(line, 5)), errc::too_long);
    EXPECT_EQ(line, "12345");
    EXPECT_EQ(co_await in.read_line(line, 5), true);
    EXPECT_EQ(line, "6");
    EXPECT_EQ(co_await in.read_line(line, 3), true);
    EXPECT_EQ(line, "abc");
    EXPECT_EQ(co_await in.read_line(line, 3), false);
  };
  context_->run(work());
}

// Where a block ends, too, and where the file does.
TEST_P(reader_test, limits_are_exact_at_the_ends_of_blocks) {
  const std::string block(page, 'a');
  write_file(block + '\n' + block + "b\n" + block);
  reader in = open_reader({.block_size = page, .blocks = 2});
  auto work = [&]() -> task<void> {
    std::string line;
    EXPECT_EQ(co_await in.read_line(line, page), true);
    EXPECT_EQ(line, block);
    EXPECT_EQ(error_of(co_await in.read_line(line, page)), errc::too_long);
    EXPECT_EQ(line, block);
    EXPECT_EQ(error_of(co_await in.read_line(line, 0)), errc::too_long);
    EXPECT_EQ(co_await in.read_until(line, '\n', 1), 2U);
    EXPECT_EQ(line, "b\n");
    EXPECT_EQ(co_await in.read_until(line, '\n', page), page);
    EXPECT_EQ(co_await in.read_line(line, 0), false);
  };
  context_->run(work());
}

/// Counts what is in flight, and how much has been asked for at once.
class counting_driver : public wrapping_driver {
 public:
  using wrapping_driver::wrapping_driver;
  void submit(operation_queue& staged) noexcept override {
    staged.for_each([this](const operation& op) {
      if (op.args.op != opcode::read) return;
      ++reads;
      longest = std::max(longest, op.args.length);
      furthest = std::max(furthest, op.args.offset + op.args.length);
    });
    wrapping_driver::submit(staged);
  }
  std::uint64_t reads = 0;
  std::uint64_t longest = 0;
  std::uint64_t furthest = 0;
};

TEST_P(reader_test, reading_in_order_reads_ahead_up_to_the_bound_and_never_further) {
  constexpr std::size_t block = 4 * page;
  make_patterned_file(path(), 64 * block);
  auto counting = std::make_unique<counting_driver>(open_driver_named(GetParam()));
  counting_driver& counted = *counting;
  context_ = std::make_unique<io_context>(std::move(counting));
  reader in = open_reader({.block_size = block, .blocks = 4});
  auto work = [&]() -> task<void> {
    std::vector<std::byte> memory(1000);
    std::uint64_t most_ahead = 0;
    while (co_await in.read(memory) != 0U) {
      const std::uint64_t ahead = counted.furthest - std::min(counted.furthest, in.position());
      most_ahead = std::max(most_ahead, ahead);
      EXPECT_LE(ahead, 4 * block);
    }
    EXPECT_GT(most_ahead, 2 * block);
  };
  context_->run(work());
}

TEST_P(reader_test, reading_here_and_there_reads_little) {
  constexpr std::size_t block = 64 * page;
  make_patterned_file(path(), 64 * block);
  auto counting = std::make_unique<counting_driver>(open_driver_named(GetParam()));
  counting_driver& counted = *counting;
  context_ = std::make_unique<io_context>(std::move(counting));
  reader in = open_reader({.block_size = block, .blocks = 4});
  auto work = [&]() -> task<void> {
    std::vector<std::byte> memory(100);
    for (std::uint64_t i = 0; i < 40; ++i) {
      if (i == 10) counted.longest = 0;
      const std::uint64_t offset = (i * 37 % 64) * block + i;
      in.seek(offset);
      EXPECT_TRUE((co_await in.read_exactly(memory)).has_value());
      EXPECT_TRUE(holds_pattern(memory, offset));
    }
    EXPECT_LE(counted.longest, page);
  };
  context_->run(work());
}

// --- the end of a file, and errors ---------------------------------------------------------------

TEST_P(reader_test, invariant_22_growth_by_others_is_seen) {
  write_file("one");
  reader in = open_reader();
  auto work = [&]() -> task<void> {
    EXPECT_EQ(co_await read_up_to(in, 100), "one");
    const descriptor other = open_file(path(), O_WRONLY | O_APPEND);
    EXPECT_EQ(::write(other.get(), "two", 3), 3);
    EXPECT_EQ(co_await read_up_to(in, 100), "two");
    EXPECT_EQ(co_await read_up_to(in, 100), "");
  };
  context_->run(work());
}

TEST_P(reader_test, a_file_that_grows_while_it_is_read_ahead_is_read_without_a_gap) {
  const std::string contents = random_text(50'000, 11);
  write_file("");
  const descriptor other = open_file(path(), O_WRONLY | O_APPEND);
  reader in = open_reader({.block_size = page, .blocks = 4});
  auto work = [&]() -> task<void> {
    std::mt19937_64 random(11);
    std::string seen;
    for (std::size_t written = 0; written < contents.size();) {
      const std::string more = contents.substr(written, random() % 5000);
      EXPECT_EQ(::write(other.get(), more.data(), more.size()), static_cast<ssize_t>(more.size()));
      written += more.size();
      seen += co_await read_up_to(in, random() % 5000);  // maybe not all; maybe beyond the end
    }
    while (seen.size() < contents.size()) seen += co_await read_up_to(in, page);
    EXPECT_TRUE(seen == contents);
  };
  context_->run(work());
}

TEST_P(reader_test, cancelling_the_files_operations_ends_a_wait_and_reading_goes_on) {
  const descriptor made = make_patterned_file(path(), 16 * page);
  use_faults({.delay = 1, .delay_reaps = 15});
  reader in = open_reader({.block_size = page, .blocks = 4});
  auto work = [&]() -> task<void> {
    std::vector<std::byte> memory(16 * page);
    std::optional<std::error_code> told;
    auto reading = [&]() -> detail::detached {
      told = error_of<std::size_t>(co_await in.read_exactly(memory));
    };
    drop_from_cache(made);
    reading();
    EXPECT_FALSE(told.has_value());
    EXPECT_TRUE((co_await in.target().cancel()).has_value());
    while (!told) co_await context_->schedule();
    EXPECT_EQ(*told, std::errc::operation_canceled);
    in.seek(0);
    EXPECT_TRUE((co_await in.read_exactly(memory)).has_value());
    EXPECT_TRUE(holds_pattern(memory, 0));
  };
  context_->run(work());
}

TEST_P(reader_test, an_error_is_told_in_its_place_once_and_reading_goes_on) {
  make_patterned_file(path(), 16 * page);
  bool failed = false;
  use_faults({.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op != opcode::read || what.offset != 2 * page || failed) return std::nullopt;
    failed = true;
    return -EIO;
  }});
  reader in = open_reader({.block_size = page, .blocks = 4});
  auto work = [&]() -> task<void> {
    std::vector<std::byte> memory(16 * page);
    const transfer_result first = co_await in.read_exactly(memory);
    EXPECT_EQ(error_of<std::size_t>(first), std::errc::io_error);
    EXPECT_EQ(first.transferred, 2 * page);
    EXPECT_TRUE(holds_pattern(std::span(memory).first(2 * page), 0));
    const std::span<std::byte> rest = std::span(memory).subspan(2 * page);
    EXPECT_TRUE((co_await in.read_exactly(rest)).has_value());
    EXPECT_TRUE(holds_pattern(memory, 0));
  };
  context_->run(work());
}

TEST_P(reader_test, a_closed_reader_yields_ebadf) {
  write_file("text");
  reader in = open_reader();
  auto work = [&]() -> task<void> {
    EXPECT_EQ(co_await read_up_to(in, 2), "te");
    EXPECT_TRUE((co_await in.close()).has_value());
    EXPECT_EQ(error_of(co_await in.peek()), std::errc::bad_file_descriptor);
  };
  context_->run(work());
}

// --- lifetime ------------------------------------------------------------------------------------

TEST_P(reader_test, a_reader_may_be_destroyed_with_blocks_in_flight) {
  make_patterned_file(path(), 256 * page);
  auto work = [&]() -> task<void> {
    reader in = open_reader({.block_size = page, .blocks = 8});
    std::vector<std::byte> memory(20 * page);
    EXPECT_TRUE((co_await in.read_exactly(memory)).has_value());
  };
  context_->run(work());
  const std::size_t left = count_descriptors();
  context_->run();
  EXPECT_LE(count_descriptors(), left);
}

TEST_P(reader_test, a_coroutine_may_be_destroyed_while_it_waits) {
  make_patterned_file(path(), 16 * page);
  use_faults({.delay = 1});
  bool went_on = false;
  auto reading = [&]() -> begun {
    reader in = open_reader();
    std::vector<std::byte> memory(page);
    EXPECT_TRUE((co_await in.read(memory)).has_value());
    went_on = true;
  };
  auto work = [&]() -> task<void> {
    const begun waiting = reading();
    EXPECT_EQ(context_->outstanding(), 1U);
    co_return;  // the other goes, and with it its reader, whose block is in flight
  };
  context_->run(work());
  context_->run();
  EXPECT_FALSE(went_on);
}

TEST_P(reader_test, a_context_that_ends_ends_the_wait) {
  make_patterned_file(path(), 16 * page);
  std::optional<std::error_code> told;
  use_faults({.delay = 1});
  auto reading = [&]() -> task<void> {
    reader in = open_reader();
    std::vector<std::byte> memory(page);
    told = error_of(co_await in.read(memory));
  };
  spawn(*context_, reading());
  context_->dispatch(false);
  context_->cancel_and_drain();
  ASSERT_TRUE(told.has_value());
  EXPECT_TRUE(!*told || *told == std::errc::operation_canceled) << *told;
}

}  // namespace
}  // namespace weir::testing
