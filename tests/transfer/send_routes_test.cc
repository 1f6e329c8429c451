// Sending under what may befall it: files that are not in memory, or past it; that become shorter,
// or cannot be read; receivers of every kind; and which way the bytes went.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <string_view>

#include "transfer/transfer_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t large = (std::size_t{1} << 20) + 12'345;
constexpr std::size_t part = std::size_t{64} << 10;
constexpr std::string_view kinds[] = {"tcp", "tcp that does not block", "unix",
                                      "unix that does not block", "pipe"};

transfer_routes only(transfer_route route) {
  transfer_routes one;
  one.add(route);
  return one;
}

class send_routes : public transfer_test {
 protected:
  static channel make(std::string_view kind) {
    if (kind == "pipe") return pipe_channel();
    channel made = kind.starts_with("tcp") ? tcp_channel() : unix_channel();
    if (kind.ends_with("not block")) set_nonblocking(made.near);
    return made;
  }

  struct sent {
    transfer_outcome outcome;
    std::vector<std::byte> bytes;
  };
  sent send_over(channel way, file& from, std::uint64_t offset = 0,
                 std::uint64_t length = to_the_end, transfer_options options = {}) {
    collector arrived(std::move(way.far));
    const transfer_outcome outcome = send(from, way.near, offset, length, std::move(options));
    way.near.reset();
    return {outcome, arrived.all()};
  }
  static void expect_counted(const sent& got, std::uint64_t offset = 0) {
    EXPECT_EQ(got.outcome.transferred, got.bytes.size());
    EXPECT_TRUE(holds_pattern(got.bytes, offset));
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, send_routes, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

// --- which way -----------------------------------------------------------------------------------

// Not by that way alone: what leaves the page cache meanwhile goes through memory.
TEST_P(send_routes, what_cannot_make_it_wait_is_sent_without_memory) {
  file from = patterned(large);
  if (!all_cached(from.native_handle(), 0, large)) {
    GTEST_SKIP() << "SKIPPED: the kernel does not say what is in the page cache";
  }
  const auto routes_over = [&](std::string_view kind, transfer_options options = {}) {
    const sent got = send_over(make(kind), from, 0, large, std::move(options));
    EXPECT_TRUE(succeeded(got.outcome, large)) << kind;
    expect_counted(got);
    return got.outcome.routes;
  };
  for (const std::string_view kind : {"unix", "tcp"}) {
    const std::string nonblocking = std::string(kind) + " that does not block";
    EXPECT_TRUE(routes_over(nonblocking).has(transfer_route::sendfile));
    EXPECT_EQ(routes_over(nonblocking, {.untrusted = true}), only(transfer_route::buffered));
    EXPECT_EQ(routes_over(nonblocking, {.route = transfer_route::buffered}),
              only(transfer_route::buffered));
    EXPECT_EQ(routes_over(kind), only(transfer_route::buffered));
    EXPECT_EQ(routes_over(kind, {.route = transfer_route::sendfile}),
              only(transfer_route::buffered));
  }
  EXPECT_TRUE(routes_over("pipe").has(transfer_route::splice));
  EXPECT_TRUE(routes_over("pipe", {.untrusted = true}).has(transfer_route::splice));
  EXPECT_EQ(routes_over("pipe", {.route = transfer_route::buffered}),
            only(transfer_route::buffered));
}

TEST_P(send_routes, a_route_that_does_not_lead_there_is_refused) {
  file from = patterned(large);
  const auto refused = [&](std::string_view kind, transfer_route route) {
    const channel way = make(kind);
    const transfer_outcome outcome = send(from, way.near, 0, 100, {.route = route});
    EXPECT_EQ(outcome.transferred, 0);
    return failed_with(outcome, std::errc::invalid_argument);
  };
  EXPECT_TRUE(refused("pipe", transfer_route::sendfile));
  EXPECT_TRUE(refused("unix", transfer_route::splice));
  EXPECT_TRUE(refused("unix", transfer_route::reflink));
  EXPECT_TRUE(refused("tcp", transfer_route::copy_file_range));
}

TEST_P(send_routes, what_cannot_be_sent_to_is_refused) {
  file from = patterned(100);
  const channel packets = unix_channel(SOCK_SEQPACKET);
  EXPECT_TRUE(failed_with(send(from, packets.near), std::errc::wrong_protocol_type));
  const channel messages = unix_channel(SOCK_DGRAM);
  EXPECT_TRUE(failed_with(send(from, messages.near), std::errc::wrong_protocol_type));
  EXPECT_TRUE(failed_with(context_->run(send_file(from, closed_descriptor())),
                          std::errc::bad_file_descriptor));
  const channel pipe = pipe_channel();
  EXPECT_TRUE(failed_with(send(from, pipe.far), std::errc::bad_file_descriptor));
  file closed;
  EXPECT_TRUE(failed_with(send(closed, pipe.near), std::errc::bad_file_descriptor));
}

// --- the file ------------------------------------------------------------------------------------

TEST_P(send_routes, a_file_that_is_not_in_memory) {
  for (const std::string_view kind : kinds) {
    const descriptor made = make_patterned_file(path(), large);
    if (!drop_from_cache(made)) GTEST_SKIP() << "SKIPPED: this file system keeps what it has";
    file from(*context_, open_file(path(), O_RDONLY).release());
    const sent got = send_over(make(kind), from, 100, large - 200);
    EXPECT_TRUE(succeeded(got.outcome, large - 200)) << kind;
    expect_counted(got, 100);
  }
}

TEST_P(send_routes, a_file_past_the_page_cache) {
  make_patterned_file(path(), large);
  descriptor direct = open_direct(path());
  if (!direct) GTEST_SKIP() << "SKIPPED: no O_DIRECT on this file system";
  file from(*context_, direct.release());
  for (const std::string_view kind : kinds) {
    for (const std::uint64_t offset : {0UL, 1UL, 4095UL, 5000UL}) {
      const sent got = send_over(make(kind), from, offset, 700'001);
      EXPECT_TRUE(succeeded(got.outcome, 700'001)) << kind;
      expect_counted(got, offset);
      const sent rest = send_over(make(kind), from, large - offset);
      EXPECT_TRUE(succeeded(rest.outcome, offset)) << kind;
      expect_counted(rest, large - offset);
    }
  }
}

// The callback cuts the file where the transfer has come to.
TEST_P(send_routes, a_file_that_becomes_shorter_is_a_short_read) {
  for (const std::string_view kind : kinds) {
    for (const std::uint64_t length : {std::uint64_t{large}, to_the_end}) {
      file from = patterned(large);
      std::uint64_t cut_to = 0;
      const sent got =
          send_over(make(kind), from, 0, length,
                    {.progress =
                         [&](std::uint64_t moved) {
                           if (moved < part || cut_to != 0) return;
                           cut_to = moved;
                           EXPECT_EQ(::truncate(path().c_str(), static_cast<off_t>(moved)), 0);
                         },
                     .piece = part});
      EXPECT_EQ(got.outcome.transferred, cut_to) << kind;
      expect_counted(got);
      const bool explicit_length = length != to_the_end;
      EXPECT_EQ(got.outcome.error == errc::short_read, explicit_length) << kind;
      EXPECT_EQ(static_cast<bool>(got.outcome), !explicit_length) << kind;
    }
  }
}

TEST_P(send_routes, progress_adds_up_by_pieces) {
  file from = patterned(large);
  for (const std::string_view kind : kinds) {
    std::uint64_t last = 0;
    const sent got = send_over(make(kind), from, 0, large,
                               {.progress =
                                    [&](std::uint64_t moved) {
                                      EXPECT_GT(moved, last);
                                      EXPECT_LE(moved - last, part);
                                      last = moved;
                                    },
                                .piece = part});
    EXPECT_TRUE(succeeded(got.outcome, large));
    EXPECT_EQ(last, large);
  }
}

TEST_P(send_routes, what_progress_throws_is_thrown_by_the_await) {
  file from = patterned(large);
  for (const std::string_view kind : kinds) {
    channel way = make(kind);
    const collector arrives(std::move(way.far));
    const descriptor near = std::move(way.near);
    const auto thrower = [](std::uint64_t) { throw std::runtime_error("enough"); };
    EXPECT_THROW(send(from, near, 0, large, {.progress = thrower}), std::runtime_error) << kind;
  }
}

// Others on the context have a turn after each piece.
TEST_P(send_routes, one_piece_is_moved_in_a_turn) {
  file from = patterned(large);
  for (const std::string_view kind : kinds) {
    channel way = make(kind);
    collector arrives(std::move(way.far));
    std::uint64_t moved = 0;
    bool over = false;
    transfer_options options{.progress = [&](std::uint64_t so_far) { moved = so_far; },
                             .piece = part};
    spawn(*context_, [](task<transfer_outcome> work, bool& ended) -> task<void> {
      EXPECT_TRUE(succeeded(co_await std::move(work), large));
      ended = true;
    }(send_file(from, way.near.get(), 0, large, std::move(options)), over));
    while (!over) {
      const std::uint64_t before = moved;
      context_->dispatch(true);
      EXPECT_LE(moved - before, part) << kind;
    }
    way.near.reset();
    EXPECT_EQ(arrives.all().size(), large);
  }
}

// --- a driver with faults ------------------------------------------------------------------------

TEST_P(send_routes, short_reads_are_resumed) {
  faulty_options faults = lawful_faults(7);
  faults.io_error = 0;
  faults.no_space = 0;
  faults.short_transfer = 0.5;
  use_faults(faults);
  file from = patterned(large);
  for (const std::string_view kind : kinds) {
    const sent got =
        send_over(make(kind), from, 0, large, {.route = transfer_route::buffered, .piece = part});
    EXPECT_TRUE(succeeded(got.outcome, large)) << kind;
    expect_counted(got);
  }
}

TEST_P(send_routes, a_read_that_fails_ends_it_with_what_was_sent) {
  for (const int error : {EIO, EINTR, EAGAIN}) {
    for (const std::string_view kind : kinds) {
      int reads = 0;
      use_faults({.decide = [&](const request& what) -> std::optional<std::int32_t> {
        if (what.op != opcode::read || ++reads < 4) return std::nullopt;
        return -error;
      }});
      file from = patterned(large);
      const sent got =
          send_over(make(kind), from, 0, large, {.route = transfer_route::buffered, .piece = part});
      EXPECT_EQ(got.outcome.error, std::error_code(error, std::system_category())) << kind;
      EXPECT_GT(got.outcome.transferred, 0);
      EXPECT_LT(got.outcome.transferred, large);
      expect_counted(got);
    }
  }
}

TEST_P(send_routes, leaves_no_descriptor_behind) {
  file from = patterned(large);
  const auto send_everywhere = [&] {
    for (const std::string_view kind : kinds) {
      for (const auto route : {transfer_route::automatic, transfer_route::buffered}) {
        const sent got = send_over(make(kind), from, 0, large, {.route = route});
        EXPECT_TRUE(succeeded(got.outcome, large));
      }
    }
    const descriptor to = open_file(target(), O_WRONLY | O_CREAT);
    EXPECT_TRUE(succeeded(send(from, to), large));
  };
  send_everywhere();  // what a driver opens when it first needs it stays
  const std::size_t before = count_descriptors();
  send_everywhere();
  EXPECT_EQ(count_descriptors(), before);
}

// --- files and devices ---------------------------------------------------------------------------

TEST_P(send_routes, to_a_file_where_it_stands) {
  file from = patterned(large);
  const std::string_view header = "header";
  const std::string_view trailer = "end";
  const descriptor to = open_file(target(), O_WRONLY | O_CREAT);
  ASSERT_EQ(::lseek(to.get(), 10, SEEK_SET), 10);
  const transfer_outcome outcome = send(
      from, to, 100, 50'000,
      {.header = std::as_bytes(std::span(header)), .trailer = std::as_bytes(std::span(trailer))});
  EXPECT_TRUE(succeeded(outcome, 50'000));
  EXPECT_EQ(outcome.framing, 9);
  EXPECT_EQ(::lseek(to.get(), 0, SEEK_CUR), 50'019);
  EXPECT_TRUE(succeeded(send(from, to, 0, 5), 5));
  const auto bytes = contents_of(target());
  ASSERT_EQ(bytes.size(), 50'024);
  const std::span all(bytes);
  EXPECT_TRUE(std::ranges::equal(all.subspan(10, 6), std::as_bytes(std::span(header))));
  EXPECT_TRUE(holds_pattern(all.subspan(16, 50'000), 100));
  EXPECT_TRUE(std::ranges::equal(all.subspan(50'016, 3), std::as_bytes(std::span(trailer))));
  EXPECT_TRUE(holds_pattern(all.last(5), 0));
}

TEST_P(send_routes, to_the_end_of_a_file_that_is_appended_to) {
  file from = patterned(1000);
  for (int times = 1; times <= 3; ++times) {
    const descriptor to = open_file(target(), O_WRONLY | O_CREAT | O_APPEND);
    EXPECT_TRUE(succeeded(send(from, to), 1000));
    EXPECT_EQ(::lseek(to.get(), 0, SEEK_CUR), times * 1000);
  }
  const auto bytes = contents_of(target());
  ASSERT_EQ(bytes.size(), 3000);
  for (std::size_t at = 0; at < 3000; at += 1000) {
    EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(at, 1000), 0));
  }
}

TEST_P(send_routes, to_a_device) {
  file from = patterned(large);
  const std::string_view header = "header";
  const descriptor null = open_file("/dev/null", O_WRONLY);
  const transfer_outcome outcome =
      send(from, null, 0, large, {.header = std::as_bytes(std::span(header))});
  EXPECT_TRUE(succeeded(outcome, large));
  EXPECT_EQ(outcome.framing, 6);
  const descriptor full = open_file("/dev/full", O_WRONLY);
  EXPECT_TRUE(failed_with(send(from, full), std::errc::no_space_on_device));
}

// --- many at once --------------------------------------------------------------------------------

TEST_P(send_routes, more_at_once_than_there_is_memory_for) {
  const descriptor made = make_patterned_file(path(), part);
  EXPECT_EQ(::fsync(made.get()), 0);
  file from(*context_, open_file(path(), O_RDONLY).release());
  constexpr std::size_t many = 100;
  std::vector<channel> ways;
  std::size_t ended = 0;
  ::posix_fadvise(made.get(), 0, 0, POSIX_FADV_DONTNEED);
  for (std::size_t i = 0; i < many; ++i) {
    ways.push_back(make("unix"));
    spawn(*context_, [](file& source, int to, std::size_t& count) -> task<void> {
      EXPECT_TRUE(succeeded(co_await send_file(source, to, 0, part), part));
      ++count;
    }(from, ways.back().near.get(), ended));
  }
  drive_until(*context_, [&] { return ended == many; });
  for (channel& each : ways) {
    each.near.reset();
    const auto bytes = read_all(each.far);
    EXPECT_EQ(bytes.size(), part);
    EXPECT_TRUE(holds_pattern(bytes, 0));
  }
}

}  // namespace
}  // namespace weir::testing
