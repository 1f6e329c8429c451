// Several files in one transfer: the same bytes as one by one, wherever the receiver makes it wait,
// and the right count where one of them cannot be had.

#include <algorithm>
#include <array>
#include <cerrno>
#include <stop_token>
#include <string_view>

#include "transfer/transfer_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;

class send_files_test : public transfer_test {
 protected:
  /// Files of these sizes, each of a pattern of its own place in the whole.
  void make_files(std::span<const std::size_t> sizes) {
    files_.clear();
    files_.reserve(sizes.size());
    std::uint64_t offset = 0;
    for (const std::size_t size : sizes) {
      const std::string name = directory_ / std::to_string(files_.size());
      const descriptor made = make_file(name);
      std::vector<std::byte> bytes(size);
      fill(bytes, offset);
      EXPECT_EQ(::write(made.get(), bytes.data(), size), static_cast<ssize_t>(size));
      offset += size;
      files_.emplace_back(*context_, open_file(name, O_RDONLY).release());
      parts_.push_back({.from = &files_.back(), .length = size});
    }
    total_ = offset;
  }
  transfer_outcome send_all(const descriptor& to, transfer_options options = {}) {
    return context_->run(send_files(parts_, to.get(), std::move(options)));
  }
  void expect_all_over(channel way) {
    collector arrives(std::move(way.far));
    EXPECT_TRUE(succeeded(send_all(way.near), total_));
    way.near.reset();
    EXPECT_EQ(arrives.all().size(), total_);
    EXPECT_TRUE(holds_pattern(arrives.all(), 0));
  }

  std::vector<file> files_;
  std::vector<file_part> parts_;
  std::uint64_t total_ = 0;
};

INSTANTIATE_TEST_SUITE_P(drivers, send_files_test, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

std::vector<std::size_t> sizes_of_all_kinds() {
  std::vector<std::size_t> sizes(200, page);
  for (std::size_t i = 0; i < sizes.size(); i += 7) sizes[i] = i * 100;
  sizes[50] = 300'000;  // goes alone
  sizes[199] = 200'000;
  return sizes;
}

TEST_P(send_files_test, all_arrive_in_order) {
  make_files(sizes_of_all_kinds());
  parts_[10].length = to_the_end;
  expect_all_over(tcp_channel());
  expect_all_over(unix_channel());
  expect_all_over(pipe_channel());
  channel nonblocking = unix_channel();
  set_nonblocking(nonblocking.near);
  expect_all_over(std::move(nonblocking));
}

TEST_P(send_files_test, to_a_file_and_to_a_device) {
  make_files(sizes_of_all_kinds());
  {
    const descriptor to = open_file(target(), O_WRONLY | O_CREAT);
    EXPECT_TRUE(succeeded(send_all(to), total_));
  }
  EXPECT_TRUE(holds_pattern(contents_of(target()), 0));
  EXPECT_TRUE(succeeded(send_all(open_file("/dev/null", O_WRONLY)), total_));
}

TEST_P(send_files_test, none_at_all) {
  const channel way = unix_channel();
  EXPECT_TRUE(succeeded(send_all(way.near), 0));
  const channel packets = unix_channel(SOCK_SEQPACKET);
  EXPECT_TRUE(failed_with(send_all(packets.near), std::errc::wrong_protocol_type));
}

TEST_P(send_files_test, one_that_is_too_short_ends_it_behind_those_before) {
  make_files(std::array{page, page, page, page});
  parts_[2].length = page + 1;
  channel way = unix_channel();
  collector arrives(std::move(way.far));
  const transfer_outcome outcome = send_all(way.near);
  way.near.reset();
  EXPECT_EQ(outcome.error, errc::short_read);
  EXPECT_EQ(outcome.transferred, 3 * page);
  EXPECT_EQ(arrives.all().size(), 3 * page);
  EXPECT_TRUE(holds_pattern(arrives.all(), 0));
}

TEST_P(send_files_test, one_that_is_closed_ends_it_behind_those_before) {
  make_files(std::array{page, page, page});
  file closed;
  parts_[1].from = &closed;
  channel way = unix_channel();
  EXPECT_TRUE(failed_with(send_all(way.near), std::errc::bad_file_descriptor));
  way.near.reset();
  EXPECT_EQ(read_all(way.far).size(), page);
}

TEST_P(send_files_test, a_read_that_fails_ends_it_behind_those_before) {
  int reads = 0;
  use_faults({.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op != opcode::read || ++reads != 3) return std::nullopt;
    return -EIO;
  }});
  make_files(std::array{page, page, page, page});
  channel way = unix_channel();
  const transfer_outcome outcome = send_all(way.near);
  EXPECT_TRUE(failed_with(outcome, std::errc::io_error));
  EXPECT_EQ(outcome.transferred, 2 * page);
  way.near.reset();
  EXPECT_EQ(read_all(way.far).size(), 2 * page);
}

// More than the receiver takes, which is read from only afterwards.
TEST_P(send_files_test, a_slow_receiver_is_waited_for_until_somebody_says_stop) {
  make_files(std::vector<std::size_t>(300, page));
  channel way = unix_channel();
  std::stop_source stop;
  bool over = false;
  transfer_outcome outcome;
  transfer_options options{.stop = stop.get_token()};
  spawn(*context_,
        [](task<transfer_outcome> work, transfer_outcome& came, bool& ended) -> task<void> {
          came = co_await std::move(work);
          ended = true;
        }(send_files(parts_, way.near.get(), std::move(options)), outcome, over));
  while (is_writable(way.near)) context_->dispatch(false);
  for (int turn = 0; turn < 10; ++turn) context_->dispatch(false);
  EXPECT_FALSE(over);
  stop.request_stop();
  drive_until(*context_, [&] { return over; });
  EXPECT_TRUE(failed_with(outcome, std::errc::operation_canceled));
  way.near.reset();
  const auto bytes = read_all(way.far);
  EXPECT_EQ(outcome.transferred, bytes.size());
  EXPECT_TRUE(holds_pattern(bytes, 0));
}

TEST_P(send_files_test, progress_adds_up) {
  make_files(sizes_of_all_kinds());
  channel way = unix_channel();
  const collector arrives(std::move(way.far));
  const descriptor near = std::move(way.near);
  std::uint64_t last = 0;
  const transfer_outcome outcome = send_all(near, {.progress = [&](std::uint64_t moved) {
                                              EXPECT_GT(moved, last);
                                              last = moved;
                                            }});
  EXPECT_TRUE(succeeded(outcome, total_));
  EXPECT_EQ(last, total_);
}

}  // namespace
}  // namespace weir::testing
