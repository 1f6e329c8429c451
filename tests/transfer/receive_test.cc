// What a file has after it received: from every kind of sender, over every driver.

#include <sys/stat.h>

#include <functional>
#include <string_view>

#include "transfer/transfer_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t large = (std::size_t{2} << 20) + 12'345;

/// Writes a pattern on a thread of its own, then closes its end.
class feeder {
 public:
  feeder(descriptor to, std::size_t size)
      : to_(std::move(to)), writes_([this, size] { write_all(size); }) {}
  feeder(const feeder&) = delete;
  feeder& operator=(const feeder&) = delete;
  ~feeder() { writes_.join(); }

 private:
  void write_all(std::size_t size) {
    std::vector<std::byte> bytes(size);
    fill(bytes, 0);
    for (std::span<const std::byte> left(bytes); !left.empty();) {
      const auto count = ::write(to_.get(), left.data(), left.size());
      if (count <= 0) break;
      left = left.subspan(static_cast<std::size_t>(count));
    }
    to_.reset();
  }

  descriptor to_;
  std::thread writes_;
};

class receive_test : public transfer_test {
 protected:
  channel make(std::string_view kind) {
    channel made;
    if (kind == "tcp") return tcp_channel();
    if (kind == "unix") return unix_channel();
    made = kind == "fifo" ? fifo_channel(directory_ / ("fifo" + std::to_string(++fifos_)))
                          : pipe_channel();
    std::swap(made.near, made.far);
    return made;
  }
  transfer_outcome receive(const descriptor& from, file& to, std::uint64_t offset = 0,
                           std::uint64_t length = to_the_end, transfer_options options = {}) {
    return context_->run(receive_file(from.get(), to, offset, length, std::move(options)));
  }
  void expect_received(std::string_view kind, const transfer_options& options) {
    channel way = make(kind);
    const int flags = ::fcntl(way.near.get(), F_GETFL);
    file to = empty_target();
    {
      const feeder sends(std::move(way.far), large);
      EXPECT_TRUE(succeeded(receive(way.near, to, 10, to_the_end, options), large));
    }
    EXPECT_EQ(::fcntl(way.near.get(), F_GETFL), flags);
    const auto bytes = contents_of(target());
    ASSERT_EQ(bytes.size(), large + 10);
    EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(10), 0));
  }

  int fifos_ = 0;
};

INSTANTIATE_TEST_SUITE_P(drivers, receive_test, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

TEST_P(receive_test, everything_that_comes_is_written) {
  for (const char* const kind : {"tcp", "unix", "pipe", "fifo"}) {
    expect_received(kind, {});
    expect_received(kind, {.route = transfer_route::buffered, .sync = durability::data});
  }
}

TEST_P(receive_test, not_more_than_asked_for_is_taken) {
  for (const char* const kind : {"tcp", "unix", "pipe"}) {
    channel way = make(kind);
    std::vector<std::byte> bytes(1000);
    fill(bytes, 0);
    ASSERT_EQ(::write(way.far.get(), bytes.data(), bytes.size()), 1000);
    file to = empty_target();
    EXPECT_TRUE(succeeded(receive(way.near, to, 0, 400), 400));
    EXPECT_TRUE(succeeded(receive(way.near, to, 0, 0), 0));
    EXPECT_TRUE(succeeded(receive(way.near, to, 400, 500), 500));
    way.far.reset();
    EXPECT_EQ(read_all(way.near).size(), 100);
    const auto written = contents_of(target());
    EXPECT_EQ(written.size(), 900);
    EXPECT_TRUE(holds_pattern(written, 0));
  }
}

TEST_P(receive_test, a_sender_that_ends_early_is_a_short_read) {
  for (const char* const kind : {"tcp", "unix", "pipe"}) {
    channel way = make(kind);
    file to = empty_target();
    transfer_outcome outcome;
    {
      const feeder sends(std::move(way.far), 5000);
      outcome = receive(way.near, to, 0, 6000);
    }
    EXPECT_EQ(outcome.error, errc::short_read);
    EXPECT_EQ(outcome.transferred, 5000);
    EXPECT_TRUE(holds_pattern(contents_of(target()), 0));
  }
}

TEST_P(receive_test, from_a_file_where_it_stands) {
  make_patterned_file(path(), 10'000);
  const descriptor from = open_file(path(), O_RDONLY);
  ASSERT_EQ(::lseek(from.get(), 1000, SEEK_SET), 1000);
  file to = empty_target();
  EXPECT_TRUE(succeeded(receive(from, to, 0, 500), 500));
  EXPECT_EQ(::lseek(from.get(), 0, SEEK_CUR), 1500);
  EXPECT_TRUE(succeeded(receive(from, to, 500), 8500));
  EXPECT_EQ(::lseek(from.get(), 0, SEEK_CUR), 10'000);
  const auto bytes = contents_of(target());
  EXPECT_EQ(bytes.size(), 9000);
  EXPECT_TRUE(holds_pattern(bytes, 1000));
}

TEST_P(receive_test, from_a_device) {
  const descriptor zeros = open_file("/dev/zero", O_RDONLY);
  file to = empty_target();
  EXPECT_TRUE(succeeded(receive(zeros, to, 0, large), large));
  const auto bytes = contents_of(target());
  EXPECT_EQ(bytes.size(), large);
  EXPECT_TRUE(holds_only(bytes, std::byte{0}));
}

TEST_P(receive_test, what_is_appended_to_grows) {
  make_patterned_file(target(), 10);
  channel way = pipe_channel();
  file to = empty_target(O_WRONLY | O_APPEND);
  {
    const feeder sends(std::move(way.near), 5000);
    EXPECT_TRUE(succeeded(receive(way.far, to), 5000));
  }
  const auto bytes = contents_of(target());
  ASSERT_EQ(bytes.size(), 5010);
  EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(10), 0));
}

TEST_P(receive_test, what_cannot_be_received_is_refused) {
  file to = empty_target();
  const channel packets = unix_channel(SOCK_SEQPACKET);
  EXPECT_TRUE(failed_with(receive(packets.near, to), std::errc::wrong_protocol_type));
  EXPECT_TRUE(failed_with(context_->run(receive_file(closed_descriptor(), to)),
                          std::errc::bad_file_descriptor));
  file closed;
  EXPECT_TRUE(failed_with(receive(packets.near, closed), std::errc::bad_file_descriptor));
}

}  // namespace
}  // namespace weir::testing
