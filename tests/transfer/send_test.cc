// What arrives, over every driver and every kind of descriptor: the file's bytes, of the range that
// was asked for, between header and trailer; and which way they went.

#include <sys/stat.h>

#include <string_view>

#include "transfer/transfer_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t large = (std::size_t{1} << 20) + 12'345;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class send_test : public transfer_test {
 protected:
  channel make(std::string_view kind) {
    if (kind == "tcp") return tcp_channel();
    if (kind == "unix") return unix_channel();
    if (kind == "fifo") return fifo_channel(directory_ / ("fifo" + std::to_string(++fifos_)));
    return pipe_channel();
  }

  /// Sends to a new channel, somebody reading at the other end; the outcome, and what arrived.
  struct sent {
    transfer_outcome outcome;
    std::vector<std::byte> bytes;
  };
  sent send_over(channel way, file& from, std::uint64_t offset = 0,
                 std::uint64_t length = to_the_end, transfer_options options = {}) {
    collector arrived(std::move(way.far));
    const int flags = ::fcntl(way.near.get(), F_GETFL);
    const transfer_outcome outcome = send(from, way.near, offset, length, std::move(options));
    EXPECT_EQ(::fcntl(way.near.get(), F_GETFL), flags);
    way.near.reset();
    return {outcome, arrived.all()};
  }

  void expect_every_range(std::string_view kind, bool nonblocking) {
    file from = patterned(large);
    struct range {
      std::uint64_t offset, length, expected;
    };
    for (const range& each :
         {range{0, to_the_end, large}, range{0, large, large}, range{4097, 1'000'000, 1'000'000},
          range{large - 1, 1, 1}, range{17, to_the_end, large - 17}, range{100, 0, 0},
          range{large, to_the_end, 0}, range{large + 5, to_the_end, 0}}) {
      channel way = make(kind);
      if (nonblocking) set_nonblocking(way.near);
      const sent got = send_over(std::move(way), from, each.offset, each.length);
      EXPECT_TRUE(succeeded(got.outcome, each.expected));
      EXPECT_EQ(got.bytes.size(), each.expected);
      EXPECT_TRUE(holds_pattern(got.bytes, each.offset));
    }
  }

  int fifos_ = 0;
};

INSTANTIATE_TEST_SUITE_P(drivers, send_test, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

TEST_P(send_test, every_range_arrives_over_tcp) { expect_every_range("tcp", false); }
TEST_P(send_test, every_range_arrives_over_tcp_that_does_not_block) {
  expect_every_range("tcp", true);
}
TEST_P(send_test, every_range_arrives_over_a_unix_socket) { expect_every_range("unix", false); }
TEST_P(send_test, every_range_arrives_over_a_unix_socket_that_does_not_block) {
  expect_every_range("unix", true);
}
TEST_P(send_test, every_range_arrives_through_a_pipe) { expect_every_range("pipe", false); }
TEST_P(send_test, every_range_arrives_through_a_pipe_that_does_not_block) {
  expect_every_range("pipe", true);
}
TEST_P(send_test, every_range_arrives_through_a_fifo) { expect_every_range("fifo", false); }

TEST_P(send_test, a_range_that_the_file_does_not_have_is_a_short_read) {
  file from = patterned(10'000);
  for (const char* const kind : {"tcp", "unix", "pipe"}) {
    const sent got = send_over(make(kind), from, 9000, 5000);
    EXPECT_EQ(got.outcome.error, errc::short_read);
    EXPECT_EQ(got.outcome.transferred, 1000);
    EXPECT_TRUE(holds_pattern(got.bytes, 9000));
    EXPECT_EQ(got.bytes.size(), 1000);
  }
}

TEST_P(send_test, header_and_trailer_enclose_the_file) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, large}) {
    file from = patterned(size);
    for (const char* const kind : {"tcp", "unix", "pipe", "fifo"}) {
      for (const std::uint64_t length : {to_the_end, std::uint64_t{size}}) {
        const sent got = send_over(make(kind), from, 0, length,
                                   {.header = bytes_of("header"), .trailer = bytes_of("end")});
        EXPECT_TRUE(succeeded(got.outcome, size)) << kind << size;
        EXPECT_EQ(got.outcome.framing, 9);
        ASSERT_EQ(got.bytes.size(), size + 9);
        const std::span all(got.bytes);
        EXPECT_EQ(text_of(all.first(6)), "header");
        EXPECT_TRUE(holds_pattern(all.subspan(6, size), 0));
        EXPECT_EQ(text_of(all.last(3)), "end");
      }
    }
  }
}

TEST_P(send_test, nothing_to_send_needs_no_receiver) {
  file from = patterned(10);
  for (const char* const kind : {"tcp", "unix", "pipe"}) {
    channel way = make(kind);
    way.far.reset();
    EXPECT_TRUE(succeeded(send(from, way.near, 0, 0), 0)) << kind;
    EXPECT_TRUE(succeeded(send(from, way.near, 10), 0)) << kind;
  }
}

}  // namespace
}  // namespace weir::testing
