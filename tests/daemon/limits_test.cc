// How much is allowed: exactly as much as was said (invariant 28).

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

namespace flag = detail::daemon::transfer_flag;

constexpr std::size_t small = 10;
constexpr std::size_t large = std::size_t{4} << 20;

/// A daemon with limits, and files.
struct limited {
  explicit limited(std::vector<std::string> options) : daemon(std::move(options)) {
    make_patterned_file(daemon.root() / "small", small);
    make_patterned_file(daemon.root() / "large", large);
  }
  daemon_process daemon;
};

bool is_opened(const descriptor& channel) {
  const auto said = next_answer(channel.get());
  return said && said->kind == message::file_info;
}

// S-T3, S-D8: the predecessor took eight where five were allowed.
TEST(daemon_limits, as_many_transfers_as_were_allowed_and_not_one_more) {
  const limited with({"--max-transfers", "5"});
  const raw_client one = with.daemon.connect();
  const raw_client other = with.daemon.connect();
  std::vector<descriptor> opened;
  for (int i = 0; i < 5; ++i) {
    opened.push_back((i % 2 == 0 ? one : other).open("small"));
    EXPECT_TRUE(is_opened(opened.back()));
  }
  for (const raw_client* each : {&one, &other}) {
    EXPECT_TRUE(refused_with(next_answer(each->open("small").get()), EMFILE));
    EXPECT_TRUE(refused_with(next_answer(each->read("small").get()), EMFILE));
  }
  one.cancel(0);  // of nothing
  opened.pop_back();
  EXPECT_EQ(one.info().values[3], 5U);
}

// S-T19: what the predecessor's table of transfers could hold, and find again.
TEST(daemon_limits, what_has_ended_makes_room) {
  const limited with({"--max-transfers-per-client", "2"});
  for (int i = 0; i < 20; ++i) {
    const raw_client client = with.daemon.connect();
    const descriptor first = client.open("small");
    const descriptor second = client.open("small");
    const auto info = next_answer(first.get());
    ASSERT_TRUE(info);
    ASSERT_TRUE(is_opened(second));
    ASSERT_TRUE(refused_with(next_answer(client.open("small").get()), EMFILE));
    ASSERT_EQ(client.cancel(info->id), 0);
    // Its end has been told, so its place is free.
    ASSERT_TRUE(ended_with(answers_to_end(first.get()), {.error = ECANCELED}));
    const descriptor third = client.open("small");
    const auto again = next_answer(third.get());
    ASSERT_TRUE(again);
    ASSERT_EQ(again->kind, message::file_info);
    ASSERT_EQ(client.cancel(again->id), 0);
    ASSERT_TRUE(ended_with(answers_to_end(third.get()), {.error = ECANCELED}));
    const descriptor null = open_file("/dev/null", O_WRONLY);
    const descriptor fourth = client.send_to("small", null.get());
    ASSERT_TRUE(ended_with(answers_to_end(fourth.get()), {.total = small}));
  }
}

TEST(daemon_limits, each_client_has_a_limit_of_its_own) {
  const limited with({"--max-transfers", "5", "--max-transfers-per-client", "2"});
  const raw_client one = with.daemon.connect();
  const raw_client other = with.daemon.connect();
  std::vector<descriptor> opened;
  for (const raw_client* each : {&one, &other}) {
    for (int i = 0; i < 2; ++i) {
      opened.push_back(each->open("small"));
      EXPECT_TRUE(is_opened(opened.back()));
    }
    EXPECT_TRUE(refused_with(next_answer(each->open("small").get()), EMFILE));
  }
}

TEST(daemon_limits, connections_beyond_the_limit_are_told_so_and_closed) {
  const limited with({"--max-clients", "2"});
  const raw_client first = with.daemon.connect();
  EXPECT_EQ(first.info().values[4], 1U);
  raw_client second = with.daemon.connect();
  EXPECT_EQ(second.info().values[4], 2U);
  const raw_client third = with.daemon.connect();
  EXPECT_TRUE(refused_with(third.next(), EMFILE));
  EXPECT_TRUE(is_at_end(third.fd()));
  second.close();
  EXPECT_TRUE(comes_true([&] { return first.info().values[4] == 1; }));
  const raw_client fourth = with.daemon.connect();
  EXPECT_EQ(fourth.info().values[4], 2U);
}

// S-T12, S19
TEST(daemon_limits, an_opened_file_that_nobody_sends_times_out) {
  const limited with({"--open-timeout", "100"});
  const raw_client client = with.daemon.connect();
  const descriptor channel = client.open("small");
  EXPECT_TRUE(is_opened(channel));
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.error = ETIMEDOUT}));
  EXPECT_EQ(client.info().values[3], 0U);
}

// S-D6: a receiver that had taken nothing when the time was over lost its transfer.
TEST(daemon_limits, the_time_limit_ends_with_send_open) {
  const limited with({"--open-timeout", "200"});
  const raw_client client = with.daemon.connect();
  const descriptor channel = client.open("large");
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  socket_pair data = make_sockets();
  client.send_open(info->id, data.theirs.get());
  data.theirs.reset();
  // Others time out meanwhile, which proves that the time has passed.
  for (int i = 0; i < 2; ++i) {
    const descriptor waiting = client.open("small");
    ASSERT_TRUE(is_opened(waiting));
    ASSERT_TRUE(ended_with(answers_to_end(waiting.get()), {.error = ETIMEDOUT}));
  }
  EXPECT_TRUE(holds_pattern(bytes_to_end(data.ours.get()), 0));
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = large}));
}

// --- locks ---------------------------------------------------------------------------------------

int try_write_lock(int fd, off_t start, off_t length) {
  struct flock wanted{};
  wanted.l_type = F_WRLCK;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = start;
  wanted.l_len = length;
  if (::fcntl(fd, F_OFD_SETLK, &wanted) != 0) return errno;
  wanted.l_type = F_UNLCK;
  return ::fcntl(fd, F_OFD_SETLK, &wanted) == 0 ? 0 : errno;
}

// S-D5, invariant 27, S17: the end of one transfer took the locks of all others on the file.
TEST(daemon_limits, a_lock_is_on_exactly_its_range_and_outlives_other_transfers) {
  const limited with({});
  const raw_client client = with.daemon.connect();
  const descriptor ours = open_file(with.daemon.root() / "small", O_RDWR);
  const wanted locked{.offset = 2, .length = 3, .flags = flag::lock};
  const descriptor held = client.open("small", locked);
  const descriptor other = client.open("small", locked);
  const auto info = next_answer(held.get());
  const auto of_other = next_answer(other.get());
  ASSERT_TRUE(info && of_other);
  EXPECT_EQ(bytes_to_end(client.read("small").get()).size(), sizeof(answer) + small);

  EXPECT_EQ(client.cancel(of_other->id), 0);
  EXPECT_TRUE(ended_with(answers_to_end(other.get()), {.error = ECANCELED}));
  EXPECT_EQ(try_write_lock(ours.get(), 0, 2), 0);
  EXPECT_EQ(try_write_lock(ours.get(), 5, 5), 0);
  EXPECT_EQ(try_write_lock(ours.get(), 2, 1), EAGAIN);
  EXPECT_EQ(try_write_lock(ours.get(), 4, 1), EAGAIN);

  EXPECT_EQ(client.cancel(info->id), 0);
  EXPECT_TRUE(ended_with(answers_to_end(held.get()), {.error = ECANCELED}));
  EXPECT_EQ(try_write_lock(ours.get(), 0, small), 0);
}

TEST(daemon_limits, a_range_that_somebody_writes_is_not_waited_for) {
  const limited with({});
  const raw_client client = with.daemon.connect();
  const descriptor ours = open_file(with.daemon.root() / "small", O_RDWR);
  struct flock mine{};
  mine.l_type = F_WRLCK;
  mine.l_whence = SEEK_SET;
  mine.l_start = 4;
  mine.l_len = 1;
  ASSERT_EQ(::fcntl(ours.get(), F_OFD_SETLK, &mine), 0);
  const wanted across{.offset = 2, .length = 5, .flags = flag::lock};
  EXPECT_TRUE(refused_with(next_answer(client.read("small", across).get()), EAGAIN));
  const wanted beside{.offset = 5, .length = 5, .flags = flag::lock};
  const descriptor channel = client.read("small", beside);
  ASSERT_TRUE(next_answer(channel.get()));
  EXPECT_EQ(bytes_to_end(channel.get()).size(), 5U);
}

}  // namespace
}  // namespace weir::testing
