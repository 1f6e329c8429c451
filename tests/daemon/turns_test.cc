// Whose turn it is, and for how many bytes.

#include "daemon/server/turns.hpp"

#include <cstdint>
#include <deque>
#include <vector>

#include "support/support.hpp"
#include "weir/task.hpp"

namespace weir::testing {
namespace {

using detail::daemon::seat;
using detail::daemon::turns;

constexpr std::size_t turn_bytes = std::size_t{1} << 20;

/// Clients whose transfers always have bytes to move, until everybody is told to end.
struct round_of_clients {
  struct one {
    seat place;
    std::uint64_t moved = 0;
  };

  task<> transfer(one& client, std::size_t step) {
    while (!over) {
      co_await all.turn_of(client.place);
      all.spend(client.place, step);
      client.moved += step;
      most = std::max(most, client.moved);
    }
  }

  // Until somebody has moved so much.
  void run(std::uint64_t enough) {
    drive_until(*context, [&] { return most >= enough; });
    over = true;
    context->run();
  }

  std::unique_ptr<io_context> context = open_context("sync");
  turns all{*context, turn_bytes};
  std::deque<one> clients;
  std::uint64_t most = 0;
  bool over = false;
};

TEST(turns, a_client_with_a_thousand_transfers_moves_as_much_as_one_with_one) {
  round_of_clients round;
  auto& many = round.clients.emplace_back();
  auto& single = round.clients.emplace_back();
  for (int i = 0; i < 1000; ++i) spawn(*round.context, round.transfer(many, 65536));
  spawn(*round.context, round.transfer(single, 65536));
  round.run(256 * turn_bytes);
  const std::uint64_t apart =
      many.moved > single.moved ? many.moved - single.moved : single.moved - many.moved;
  EXPECT_LE(apart, 2 * turn_bytes + 1000 * 65536ULL) << "the last round is everybody's";
  EXPECT_GT(single.moved, 100 * turn_bytes);
}

TEST(turns, clients_with_small_steps_do_not_lose_to_those_with_large_ones) {
  round_of_clients round;
  auto& large = round.clients.emplace_back();
  auto& small = round.clients.emplace_back();
  spawn(*round.context, round.transfer(large, 262144));
  spawn(*round.context, round.transfer(small, 16384));
  round.run(64 * turn_bytes);
  // A step costs as much as 4 KiB: of 20 KiB, 16 are bytes.
  EXPECT_GT(small.moved, large.moved * 3 / 4);
  EXPECT_LT(small.moved, large.moved * 11 / 10);
}

TEST(turns, who_comes_later_has_no_arrears_to_claim) {
  round_of_clients round;
  auto& early = round.clients.emplace_back();
  auto& late = round.clients.emplace_back();
  spawn(*round.context, round.transfer(early, 65536));
  drive_until(*round.context, [&] { return early.moved >= 64 * turn_bytes; });
  const std::uint64_t before = early.moved;
  spawn(*round.context, round.transfer(late, 65536));
  round.run(128 * turn_bytes);
  EXPECT_LE(late.moved, early.moved - before + 2 * turn_bytes);
  EXPECT_GE(late.moved + 2 * turn_bytes, early.moved - before);
}

TEST(turns, other_work_on_the_context_has_its_turn_in_between) {
  round_of_clients round;
  auto& client = round.clients.emplace_back();
  spawn(*round.context, round.transfer(client, 65536));
  drive_until(*round.context, [&] { return client.moved > 0; });
  const std::uint64_t before = client.moved;
  recorded other{request{}};
  round.context->start(other);
  drive_until(*round.context, [&] { return other.completions == 1; });
  EXPECT_LE(client.moved - before, 4 * turn_bytes);
  round.run(0);
}

}  // namespace
}  // namespace weir::testing
