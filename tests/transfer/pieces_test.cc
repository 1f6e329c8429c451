// The memory that transfers pass bytes through: bounded, first come, first served, and nobody waits
// for it beyond a limit.

#include "transfer/pieces.hpp"

#include <chrono>
#include <stop_token>

#include "support/support.hpp"
#include "weir/stop.hpp"

namespace weir::testing {
namespace {

using detail::piece;
using detail::piece_sender;
using detail::piece_store;

class pieces_test : public ::testing::Test {
 protected:
  void take_all() {
    while (auto one = piece_store::of_this_thread()->try_take()) taken_.push_back(*std::move(one));
  }
  task<void> wait(int number) {
    const result<piece> one = co_await piece_sender(context_);
    EXPECT_TRUE(one.has_value());
    served_.push_back(number);
  }

  io_context context_{open_driver_named("sync")};
  std::vector<piece> taken_;
  std::vector<int> served_;
};

TEST_F(pieces_test, there_are_so_many_and_each_is_aligned) {
  take_all();
  EXPECT_EQ(taken_.size(), piece_store::most);
  for (piece& each : taken_) {
    EXPECT_EQ(each.span().size(), piece_store::piece_size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(each.span().data()) % 4096, 0);
  }
}

TEST_F(pieces_test, who_waits_is_served_in_turn) {
  take_all();
  for (int number = 0; number < 3; ++number) spawn(context_, wait(number));
  context_.dispatch(false);
  EXPECT_TRUE(served_.empty());
  taken_.pop_back();
  // Given back by each, it goes to the next.
  drive_until(context_, [&] { return served_.size() == 3; });
  EXPECT_EQ(served_, (std::vector{0, 1, 2}));
  EXPECT_TRUE(piece_store::of_this_thread()->try_take().has_value());
}

TEST_F(pieces_test, nobody_waits_beyond_a_limit) {
  take_all();
  std::stop_source stop;
  std::error_code stopped;
  std::error_code late;
  bool over = false;
  spawn(context_,
        [](io_context& context, std::stop_token token, std::error_code& error,
           std::error_code& passed, bool& ended) -> task<void> {
          error = error_of(co_await with_stop(piece_sender(context), token));
          passed =
              error_of(co_await with_deadline(piece_sender(context), std::chrono::milliseconds(1)));
          ended = true;
        }(context_, stop.get_token(), stopped, late, over));
  context_.dispatch(false);
  EXPECT_FALSE(stopped);
  stop.request_stop();
  drive_until(context_, [&] { return over; });
  EXPECT_EQ(stopped, std::errc::operation_canceled);
  EXPECT_EQ(late, std::errc::timed_out);
  taken_.pop_back();
  EXPECT_TRUE(piece_store::of_this_thread()->try_take().has_value());
}

}  // namespace
}  // namespace weir::testing
