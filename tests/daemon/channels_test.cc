// What is told on status channels, to whom, and whose descriptors stay as they are.

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t small = 10;
constexpr std::size_t large = std::size_t{4} << 20;

class daemon_channels : public ::testing::Test {
 protected:
  daemon_channels() {
    make_patterned_file(daemon.root() / "small", small);
    make_patterned_file(daemon.root() / "large", large);
  }

  daemon_process daemon;
  raw_client client = daemon.connect();
};

// A pipe that has no room for another byte.
void fill_up(int writer) {
  const int flags = ::fcntl(writer, F_GETFL);
  ASSERT_EQ(::fcntl(writer, F_SETFL, flags | O_NONBLOCK), 0);
  const std::vector<std::byte> bytes(4096);
  while (::write(writer, bytes.data(), bytes.size()) > 0) {
  }
  while (::write(writer, bytes.data(), 1) > 0) {
  }
  ASSERT_EQ(::fcntl(writer, F_SETFL, flags), 0);
}

// S-T6, S-T7, S-D15: with a channel that was full twice, the predecessor never said it.
TEST_F(daemon_channels, the_last_answer_waits_for_a_channel_that_is_full) {
  pipe_ends channel = make_pipe(O_CLOEXEC);
  fill_up(channel.write.get());
  const descriptor null = open_file("/dev/null", O_WRONLY);
  client.send(path_frame(message::send, "missing"), {channel.write.get(), null.get()});
  ASSERT_TRUE(comes_true([&] { return client.info().values[3] == 1; }));
  // Room for a part of it, twice; then for all.
  channel.write.reset();
  const std::size_t before = bytes_in(channel);
  EXPECT_EQ(next_bytes(channel.read.get(), 30).size(), 30U);
  EXPECT_EQ(next_bytes(channel.read.get(), before - 30).size(), before - 30);
  EXPECT_TRUE(refused_with(next_answer(channel.read.get()), ENOENT));
  EXPECT_TRUE(is_at_end(channel.read.get()));
}

// Invariant 26, S-D9: the predecessor's progress added up to less than was moved.
TEST_F(daemon_channels, progress_adds_up_however_slowly_the_receiver_takes_the_bytes) {
  socket_pair data = make_sockets();
  const descriptor channel = client.send_to("large", data.theirs.get());
  data.theirs.reset();
  std::size_t got = 0;
  for (std::size_t piece = 1; got < large; piece = piece * 3 % 70'001 + 1) {
    got += next_bytes(data.ours.get(), std::min(piece, large - got)).size();
  }
  EXPECT_TRUE(is_at_end(data.ours.get()));
  const auto said = answers_to_end(channel.get());
  EXPECT_TRUE(ended_with(said, {.total = large}));
  for (const answer& each : said) {
    EXPECT_TRUE(each.kind != message::progress || each.values[0] != 0) << "nothing was moved";
  }
}

// Invariant 26, S-D9, S-D15: progress that had no room is part of the next answer.
TEST_F(daemon_channels, progress_that_a_full_channel_did_not_take_is_added_to_the_end) {
  pipe_ends channel = make_pipe(O_CLOEXEC);
  ASSERT_GT(::fcntl(channel.write.get(), F_SETPIPE_SZ, 4096), 0);
  socket_pair data = make_sockets();
  client.send(path_frame(message::send, "large"), {channel.write.get(), data.theirs.get()});
  channel.write.reset();
  data.theirs.reset();
  // 64 answers fill the channel; the receiver blocks more often than that.
  EXPECT_EQ(bytes_to_end(data.ours.get()).size(), large);
  const auto said = answers_to_end(channel.read.get());
  EXPECT_TRUE(ended_with(said, {.total = large}));
}

// S-D10, invariant 25.
TEST_F(daemon_channels, the_flags_of_a_clients_descriptors_stay_as_they_are) {
  pipe_ends channel = make_pipe(O_CLOEXEC);
  const socket_pair data = make_sockets();
  const int flags_of_channel = ::fcntl(channel.write.get(), F_GETFL);
  const int flags_of_data = ::fcntl(data.theirs.get(), F_GETFL);
  client.send(path_frame(message::send, "large"), {channel.write.get(), data.theirs.get()});
  EXPECT_EQ(next_bytes(data.ours.get(), large / 2).size(), large / 2);
  EXPECT_EQ(::fcntl(channel.write.get(), F_GETFL), flags_of_channel);
  EXPECT_EQ(::fcntl(data.theirs.get(), F_GETFL), flags_of_data);
  EXPECT_EQ(next_bytes(data.ours.get(), large / 2).size(), large / 2);
  channel.write.reset();
  EXPECT_TRUE(ended_with(answers_to_end(channel.read.get()), {.total = large}));
  EXPECT_EQ(::fcntl(data.theirs.get(), F_GETFL), flags_of_data);
}

// S-D1, invariant 16.
TEST_F(daemon_channels, channels_that_nobody_reads_cost_others_nothing) {
  std::vector<descriptor> unread;
  for (int i = 0; i < 20; ++i) unread.push_back(client.read("large"));
  const raw_client other = daemon.connect();
  for (int i = 0; i < 100; ++i) {
    const descriptor channel = other.read("small");
    ASSERT_TRUE(next_answer(channel.get()));
    ASSERT_EQ(bytes_to_end(channel.get()).size(), small);
  }
  for (const descriptor& each : unread) {
    ASSERT_TRUE(next_answer(each.get()));
    EXPECT_TRUE(holds_pattern(bytes_to_end(each.get()), 0));
  }
}

TEST_F(daemon_channels, a_channel_that_nobody_holds_any_more_ends_its_transfer) {
  socket_pair data = make_sockets();
  {
    const descriptor channel = client.send_to("large", data.theirs.get());
    ASSERT_TRUE(next_answer(channel.get()));
  }
  data.theirs.reset();
  EXPECT_LE(bytes_to_end(data.ours.get()).size(), large);
  {
    const descriptor unread = client.read("large");
  }
  EXPECT_TRUE(comes_true([&] { return client.info().values[3] == 0; }));
}

TEST_F(daemon_channels, a_receiver_that_has_gone_ends_the_transfer_with_epipe) {
  socket_pair data = make_sockets();
  const descriptor channel = client.send_to("large", data.theirs.get());
  data.theirs.reset();
  EXPECT_EQ(next_bytes(data.ours.get(), 1).size(), 1U);
  data.ours.reset();
  const auto said = answers_to_end(channel.get());
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said.back().kind, message::ended);
  EXPECT_TRUE(said.back().status == -EPIPE || said.back().status == -ECONNRESET);
}

TEST_F(daemon_channels, sockets_carry_answers_as_well_as_pipes_do) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
    const descriptor ours(ends[0]);
    descriptor theirs(ends[1]);
    const descriptor null = open_file("/dev/null", O_WRONLY);
    client.send(path_frame(message::send, "large"), {theirs.get(), null.get()});
    theirs.reset();
    EXPECT_TRUE(ended_with(answers_to_end(ours.get()), {.total = large}));
  }
}

// S-D16: a message that was no request was passed over in silence.
TEST_F(daemon_channels, what_is_no_request_is_answered_on_the_connection) {
  auto frame = path_frame(message::read, "small", {.tag = 9});
  frame.resize(30);
  client.send(frame);
  const auto said = client.next();
  EXPECT_TRUE(refused_with(said, EBADMSG));
  EXPECT_EQ(said->tag, 9U);
  client.send({});
  EXPECT_TRUE(refused_with(client.next(), EBADMSG));
}

// S-D7, S-D17, invariant 24.
TEST_F(daemon_channels, a_transfer_is_named_by_all_of_its_id_and_only_by_its_client) {
  const descriptor channel = client.open("small");
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  const raw_client other = daemon.connect();
  EXPECT_EQ(other.cancel(info->id), -ENOENT);
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_EQ(client.cancel(info->id ^ (std::uint64_t{1} << bit)), -ENOENT);
  }
  socket_pair data = make_sockets();
  other.send_open(info->id, data.theirs.get());
  EXPECT_TRUE(refused_with(other.next(), ENOENT));
  client.send_open(info->id, data.theirs.get());
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = small}));
}

// S-D17: they were counted up.
TEST_F(daemon_channels, ids_have_nothing_in_common) {
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 100; ++i) {
    const descriptor channel = client.read("small");
    ids.push_back(next_answer(channel.get()).value().id);
  }
  int alike = 0;
  for (std::size_t i = 1; i < ids.size(); ++i) {
    // 32 of 64 bits differ by chance; fewer than 8, once in 10^10.
    if (__builtin_popcountll(ids[i] ^ ids[i - 1]) < 8) ++alike;
  }
  EXPECT_EQ(alike, 0);
}

}  // namespace
}  // namespace weir::testing
