// What a writer leaves in the file, on every driver: against the same written to a string; its
// bound; where and when errors are told; durable closes; the end of a writer that is not closed.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "stream/stream_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;

class writer_test : public stream_test {
 protected:
  writer open_writer(const writer_options& options = {}, int flags = 0) {
    return writer(open_for(O_WRONLY | O_CREAT | flags), options);
  }
  std::string contents() const {
    const std::vector<std::byte> bytes = contents_of(path());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

constexpr std::string_view keeps_a_duplicate =
    "SKIPPED: the client of a daemon keeps a duplicate of what is closed behind its back, for a "
    "second";

INSTANTIATE_TEST_SUITE_P(drivers, writer_test, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// --- a model: a string ---------------------------------------------------------------------------

/// Writes random things at random sizes, and the same into a string that is the file's contents.
class random_writing {
 public:
  random_writing(writer& out, std::string before, std::uint64_t seed)
      : out_(out), expected_(std::move(before)), random_(seed), at_(out.position()) {}

  task<void> go(int steps) {
    for (int step = 0; step < steps; ++step) {
      switch (below(8)) {
        case 0:
          EXPECT_EQ(co_await out_.flush(), total_);
          EXPECT_EQ(out_.written(), total_);
          break;
        case 1:
          EXPECT_EQ(co_await out_.flush(below(2) == 0 ? durability::data : durability::full),
                    total_);
          break;
        case 2:
          co_await in_place();
          break;
        case 3:
          co_await write(below(5 * page));
          break;
        default:
          co_await write(below(300));
      }
      EXPECT_EQ(out_.position(), at_);
    }
  }
  const std::string& expected() const { return expected_; }
  std::uint64_t total() const { return total_; }

 private:
  std::size_t below(std::size_t bound) { return random_() % bound; }
  std::string random_text(std::size_t size) {
    std::string made(size, ' ');
    for (char& each : made) each = static_cast<char>('a' + random_() % 26);
    return made;
  }
  void record(std::string_view text) {
    if (expected_.size() < at_ + text.size()) expected_.resize(at_ + text.size());
    expected_.replace(at_, text.size(), text);
    at_ += text.size();
    total_ += text.size();
  }

  task<void> write(std::size_t size) {
    const std::string text = random_text(size);
    const transfer_result written = co_await out_.write(bytes_of(text));
    EXPECT_EQ(written, size);
    EXPECT_EQ(written.transferred, size);
    record(text);
  }
  task<void> in_place() {
    const result<std::span<std::byte>> room = co_await out_.room();
    EXPECT_TRUE(room.has_value() && !room->empty());
    const std::string text = random_text(below(room->size() + 1));
    std::ranges::copy(bytes_of(text), room->begin());
    out_.produce(text.size());
    record(text);
  }

  writer& out_;
  std::string expected_;
  std::mt19937_64 random_;
  std::uint64_t at_;
  std::uint64_t total_ = 0;
};

TEST_P(writer_test, random_writes_are_what_the_file_holds) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    if (seed > 3) use_faults(short_transfers(seed));
    make_patterned_file(path(), 30'000);
    const std::string before = contents();
    std::string expected;
    auto work = [&]() -> task<void> {
      writer out = open_writer(
          {.offset = 1000 * seed, .block_size = page * seed, .blocks = 1 + (seed + 1) % 4});
      random_writing model(out, before, seed);
      co_await model.go(60);
      EXPECT_EQ(co_await out.close(durability::data), model.total());
      expected = model.expected();
    };
    context_->run(work());
    EXPECT_TRUE(contents() == expected);
  }
}

// Invariant 10, too: what lies beside a partial block is kept.
TEST_P(writer_test,
       direct_files_are_written_from_and_to_anywhere_and_never_longer_than_their_data) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    make_patterned_file(path(), seed % 2 == 0 ? 0 : 200'000);
    const std::string before = contents();
    descriptor direct = open_direct(path());
    if (!direct) GTEST_SKIP() << "the file system has no O_DIRECT";
    const int fd = direct.get();
    std::string expected;
    auto work = [&]() -> task<void> {
      writer out(file(*context_, direct.release()),
                 {.offset = seed < 3 ? 0U : 777U, .block_size = 2 * page, .blocks = seed});
      random_writing model(out, before, seed);
      for (int round = 0; round < 4; ++round) {
        co_await model.go(10);
        EXPECT_EQ(co_await out.flush(), model.total());
        EXPECT_TRUE(contents() == model.expected());
        EXPECT_TRUE((::fcntl(fd, F_GETFL) & O_DIRECT) != 0);
      }
      EXPECT_EQ(co_await out.close(), model.total());
      expected = model.expected();
    };
    context_->run(work());
    EXPECT_TRUE(contents() == expected);
  }
}

TEST_P(writer_test, cache_neutral_writes_are_what_the_file_holds) {
  std::string expected;
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = 2 * page, .blocks = 3, .drop_cache = true});
    random_writing model(out, "", 5);
    co_await model.go(60);
    EXPECT_EQ(co_await out.close(), model.total());
    expected = model.expected();
  };
  context_->run(work());
  EXPECT_TRUE(contents() == expected);
}

TEST_P(writer_test, appended_blocks_are_in_order) {
  for (const int direct : {0, O_DIRECT}) {
    ::unlink(path().c_str());
    if (direct != 0 && !open_direct((make_file(path()), path()))) continue;
    use_faults(short_transfers(3));
    std::string expected;
    auto work = [&]() -> task<void> {
      writer out = open_writer({.block_size = page, .blocks = 4}, O_APPEND | direct);
      random_writing model(out, "", 6);
      co_await model.go(60);
      EXPECT_EQ(co_await out.close(), model.total());
      expected = model.expected();
    };
    context_->run(work());
    EXPECT_TRUE(contents() == expected);
  }
}

// --- bounds --------------------------------------------------------------------------------------

TEST_P(writer_test, invariant_21_at_the_bound_a_write_waits_and_nothing_is_lost) {
  const std::string text(10 * page, 'x');
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = page, .blocks = 3});
    std::optional<std::size_t> accepted;
    auto writing = [&]() -> detail::detached {
      accepted = (co_await out.write(bytes_of(text))).value();
    };
    writing();
    EXPECT_FALSE(accepted.has_value());
    EXPECT_EQ(out.position(), 3 * page);
    while (!accepted) co_await context_->schedule();
    EXPECT_EQ(accepted, text.size());
    EXPECT_EQ(co_await out.close(), text.size());
  };
  context_->run(work());
  EXPECT_TRUE(contents() == text);
}

// --- errors --------------------------------------------------------------------------------------

/// Fails writes that touch the byte at `offset`.
faulty_options failing_at(std::uint64_t offset, std::int32_t answer) {
  return {.decide = [=](const request& what) -> std::optional<std::int32_t> {
    const bool hit =
        what.op == opcode::write && what.offset <= offset && offset < what.offset + what.length;
    return hit ? std::optional(answer) : std::nullopt;
  }};
}

TEST_P(writer_test,
       invariant_19_the_first_error_is_told_by_every_later_call_and_how_much_was_written) {
  use_faults(failing_at(5 * page, -ENOSPC));
  const std::string text(20 * page, 'x');
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = 2 * page, .blocks = 4});
    const transfer_result whole = co_await out.write(bytes_of(text));
    EXPECT_EQ(error_of<std::size_t>(whole), std::errc::no_space_on_device);
    EXPECT_GE(whole.transferred, 4 * page);
    EXPECT_LT(whole.transferred, text.size());
    const transfer_result next = co_await out.write(bytes_of("more"));
    EXPECT_EQ(error_of<std::size_t>(next), std::errc::no_space_on_device);
    EXPECT_EQ(next.transferred, 0U);
    EXPECT_EQ(error_of(co_await out.room()), std::errc::no_space_on_device);
    const transfer_result flushed = co_await out.flush(durability::data);
    EXPECT_EQ(error_of<std::size_t>(flushed), std::errc::no_space_on_device);
    EXPECT_EQ(flushed.transferred, 4 * page);
    const transfer_result closed = co_await out.close(durability::full);
    EXPECT_EQ(error_of<std::size_t>(closed), std::errc::no_space_on_device);
    EXPECT_EQ(closed.transferred, 4 * page);
    EXPECT_FALSE(out.target().is_open());
  };
  context_->run(work());
  EXPECT_TRUE(contents().substr(0, 4 * page) == text.substr(0, 4 * page));
}

// The block at 3 fails at once; that at 1, which comes before it in the file, only later.
TEST_P(writer_test, the_error_that_is_told_is_the_first_in_the_file_not_in_time) {
  auto late = make_faulty(open_driver_named(GetParam()), failing_at(page, -ENOSPC)).value();
  auto delayed = make_faulty(std::move(late), {.delay = 1}).value();
  auto early = make_faulty(std::move(delayed), failing_at(3 * page, -EIO)).value();
  context_ = std::make_unique<io_context>(std::move(early));
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = page, .blocks = 8});
    EXPECT_TRUE((co_await out.write(bytes_of(std::string(6 * page, 'x')))).has_value());
    const transfer_result flushed = co_await out.flush();
    EXPECT_EQ(error_of<std::size_t>(flushed), std::errc::no_space_on_device);
    EXPECT_EQ(flushed.transferred, page);
    EXPECT_EQ(error_of<std::size_t>(co_await out.write({})), std::errc::no_space_on_device);
    EXPECT_EQ(error_of<std::size_t>(co_await out.close()), std::errc::no_space_on_device);
  };
  context_->run(work());
}

TEST_P(writer_test, a_cancelled_block_is_an_error_like_any_other) {
  use_faults({.delay = 1, .delay_reaps = 15});
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = page, .blocks = 2});
    EXPECT_TRUE((co_await out.write(bytes_of(std::string(page + 1, 'x')))).has_value());
    EXPECT_TRUE((co_await out.target().cancel()).has_value());
    const transfer_result closed = co_await out.close();
    EXPECT_EQ(error_of<std::size_t>(closed), std::errc::operation_canceled);
    EXPECT_EQ(closed.transferred, 0U);
  };
  context_->run(work());
}

// The file size limit, which the kernel enforces in the middle of a block.
TEST_P(writer_test, what_fits_below_a_limit_is_counted_to_the_byte) {
  if (thread_sanitizer) GTEST_SKIP() << "the thread sanitizer cannot follow a fork";
  const child_outcome child = run_in_child([&] {
    context_ = open_context(GetParam());
    const rlimit limit{10'000, 10'000};
    ::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    auto work = [&]() -> task<void> {
      writer out = open_writer({.block_size = 2 * page, .blocks = 4});
      [[maybe_unused]] const auto accepted = co_await out.write(bytes_of(std::string(30'000, 'x')));
      const transfer_result closed = co_await out.close();
      EXPECT_EQ(error_of<std::size_t>(closed), std::errc::file_too_large);
      EXPECT_EQ(closed.transferred, 10'000U);
    };
    context_->run(work());
    context_.reset();
  });
  EXPECT_TRUE(child.succeeded()) << child;
  EXPECT_EQ(contents().size(), 10'000U);
}

TEST_P(writer_test, an_error_that_comes_after_the_last_write_is_told_by_close) {
  use_faults(failing_at(0, -EIO));
  auto work = [&]() -> task<void> {
    writer out = open_writer();
    EXPECT_EQ(co_await out.write(bytes_of("text")), 4U);
    const transfer_result closed = co_await out.close();
    EXPECT_EQ(error_of<std::size_t>(closed), std::errc::io_error);
    EXPECT_EQ(closed.transferred, 0U);
    EXPECT_EQ(error_of<std::size_t>(co_await out.write(bytes_of("more"))), std::errc::io_error);
  };
  context_->run(work());
}

TEST_P(writer_test, a_failed_sync_is_told_and_stays_failed) {
  use_faults({.decide = [n = 0](const request& what) mutable -> std::optional<std::int32_t> {
    if (what.op != opcode::fdatasync || n++ != 0) return std::nullopt;
    return -EIO;
  }});
  auto work = [&]() -> task<void> {
    writer out = open_writer();
    EXPECT_EQ(co_await out.write(bytes_of("text")), 4U);
    EXPECT_EQ(error_of<std::size_t>(co_await out.flush(durability::data)), std::errc::io_error);
    EXPECT_EQ(error_of<std::size_t>(co_await out.close(durability::data)), std::errc::io_error);
    EXPECT_EQ(error_of<std::size_t>(co_await out.write(bytes_of("more"))),
              std::errc::bad_file_descriptor);
  };
  context_->run(work());
}

TEST_P(writer_test, a_closed_file_is_told) {
  auto work = [&]() -> task<void> {
    writer out((file()), {.block_size = page, .blocks = 2});
    const transfer_result whole = co_await out.write(bytes_of(std::string(5 * page, 'x')));
    EXPECT_EQ(error_of<std::size_t>(whole), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of<std::size_t>(co_await out.close()), std::errc::bad_file_descriptor);
  };
  context_->run(work());
}

// --- order and durability ------------------------------------------------------------------------

/// Looks at the file whenever a sync reaches the driver.
class looking_driver : public wrapping_driver {
 public:
  looking_driver(std::unique_ptr<driver> inner, std::string path)
      : wrapping_driver(std::move(inner)), path_(std::move(path)) {}
  void submit(operation_queue& staged) noexcept override {
    staged.for_each([this](const operation& op) {
      if (op.args.op == opcode::fdatasync) sizes.push_back(contents_of(path_).size());
    });
    wrapping_driver::submit(staged);
  }
  std::vector<std::size_t> sizes;

 private:
  std::string path_;
};

TEST_P(writer_test, invariant_18_a_sync_begins_when_all_is_written_also_after_short_writes) {
  auto inner = open_driver_named(GetParam());
  auto faults = make_faulty(std::move(inner), short_transfers(7)).value();
  auto looking = std::make_unique<looking_driver>(std::move(faults), path());
  looking_driver& seen = *looking;
  context_ = std::make_unique<io_context>(std::move(looking));
  const std::string text(10 * page + 100, 'x');
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = 2 * page, .blocks = 4});
    EXPECT_TRUE((co_await out.write(bytes_of(text))).has_value());
    EXPECT_EQ(co_await out.flush(durability::data), text.size());
    EXPECT_TRUE((co_await out.write(bytes_of(text))).has_value());
    EXPECT_EQ(co_await out.close(durability::data), 2 * text.size());
  };
  context_->run(work());
  // Staged more than once where the driver took less; never before its time.
  ASSERT_GE(seen.sizes.size(), 2U);
  EXPECT_EQ(seen.sizes.front(), text.size());
  EXPECT_EQ(seen.sizes.back(), 2 * text.size());
}

// --- lifetime ------------------------------------------------------------------------------------

TEST_P(writer_test, a_writer_destroyed_without_close_has_everything_written) {
  const std::string text(10 * page + 100, 'x');
  for (const bool direct : {false, true}) {
    ::unlink(path().c_str());
    make_file(path());
    descriptor opened = direct ? open_direct(path()) : open_file(path(), O_WRONLY);
    if (!opened) continue;
    const int fd = opened.get();
    auto work = [&]() -> task<void> {
      writer out(file(*context_, opened.release()), {.block_size = 2 * page, .blocks = 8});
      EXPECT_EQ(co_await out.write(bytes_of(text)), text.size());
    };
    context_->run(work());
    context_->run();
    EXPECT_TRUE(contents() == text);
    EXPECT_FALSE(is_open(fd));
  }
}

TEST_P(writer_test, a_coroutine_may_be_destroyed_while_it_waits_for_room) {
  const std::string text(10 * page, 'x');
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = page, .blocks = 2});
    auto writing = [&]() -> begun {
      EXPECT_TRUE((co_await out.write(bytes_of(text))).has_value());
      ADD_FAILURE() << "it was to be destroyed";
    };
    {
      const begun waiting = writing();
      EXPECT_EQ(out.position(), 2 * page);
    }
    EXPECT_EQ(co_await out.close(), 2 * page);
  };
  context_->run(work());
  EXPECT_TRUE(contents() == text.substr(0, 2 * page));
}

TEST_P(writer_test, a_writer_destroyed_after_an_error_closes_its_file) {
  if (innermost(GetParam()) == "daemon") GTEST_SKIP() << keeps_a_duplicate;
  use_faults(failing_at(0, -EIO));
  const std::size_t before = count_descriptors();
  auto work = [&]() -> task<void> {
    writer out = open_writer({.block_size = page, .blocks = 4});
    EXPECT_TRUE((co_await out.write(bytes_of(std::string(3 * page + 1, 'x')))).has_value());
  };
  context_->run(work());
  context_->run();
  EXPECT_EQ(count_descriptors(), before);
}

TEST_P(writer_test, a_coroutine_and_its_writer_may_be_destroyed_while_they_sync) {
  if (innermost(GetParam()) == "daemon") GTEST_SKIP() << keeps_a_duplicate;
  const std::string text(3 * page + 1, 'x');
  const std::size_t before = count_descriptors();
  auto closing = [&]() -> begun {
    writer out = open_writer({.block_size = page, .blocks = 4});
    EXPECT_TRUE((co_await out.write(bytes_of(text))).has_value());
    [[maybe_unused]] const transfer_result closed = co_await out.close(durability::full);
    ADD_FAILURE() << "it was to be destroyed";
  };
  {
    const begun waiting = closing();
  }
  context_->run();
  EXPECT_TRUE(contents() == text);
  EXPECT_EQ(count_descriptors(), before);
}

TEST_P(writer_test, a_context_that_ends_is_told_or_everything_is_written) {
  use_faults({.delay = 1});
  std::optional<std::error_code> told;
  auto writing = [&]() -> task<void> {
    writer out = open_writer();
    [[maybe_unused]] const auto accepted = co_await out.write(bytes_of("text"));
    told = error_of<std::size_t>(co_await out.close());
  };
  spawn(*context_, writing());
  context_->dispatch(false);
  context_->cancel_and_drain();
  ASSERT_TRUE(told.has_value());
  EXPECT_TRUE(*told || contents() == "text");
}

}  // namespace
}  // namespace weir::testing
