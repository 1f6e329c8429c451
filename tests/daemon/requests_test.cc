// What each request does, through a daemon in a process of its own. S-T…: the tests of the daemon
// that weir succeeds; S-D…: its defects (both by their names in docs/decisions/0024).

#include <fcntl.h>

#include <cerrno>
#include <string>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t small = 10;
constexpr std::size_t large = std::size_t{1} << 20;

class daemon_requests : public ::testing::Test {
 protected:
  daemon_requests() {
    make_patterned_file(daemon.root() / "small", small);
    make_patterned_file(daemon.root() / "large", large);
    make_file(daemon.root() / "empty");
  }

  daemon_process daemon;
  raw_client client = daemon.connect();
};

// S-T5
TEST_F(daemon_requests, read_gives_the_information_then_the_bytes_then_the_end) {
  for (const auto& [name, size] : {std::pair{"small", small}, {"large", large}}) {
    const descriptor channel = client.read(name, {.tag = 7});
    const auto info = next_answer(channel.get());
    ASSERT_TRUE(info);
    EXPECT_EQ(info->kind, message::file_info);
    EXPECT_EQ(info->tag, 7U);
    EXPECT_NE(info->id, 0U);
    EXPECT_EQ(info->values[0], size);
    EXPECT_EQ(info->values[1], size);
    const auto bytes = bytes_to_end(channel.get());
    EXPECT_EQ(bytes.size(), size);
    EXPECT_TRUE(holds_pattern(bytes, 0));
  }
}

// S-T4
TEST_F(daemon_requests, send_gives_the_bytes_to_a_socket_and_says_how_it_went) {
  socket_pair data = make_sockets();
  const descriptor channel = client.send_to("large", data.theirs.get());
  data.theirs.reset();
  const auto bytes = bytes_to_end(data.ours.get());
  EXPECT_EQ(bytes.size(), large);
  EXPECT_TRUE(holds_pattern(bytes, 0));
  const auto said = answers_to_end(channel.get());
  EXPECT_EQ(said.front().kind, message::file_info);
  EXPECT_TRUE(ended_with(said, {.total = large}));
}

// S-T1
TEST_F(daemon_requests, a_file_that_is_not_there_is_refused_and_nothing_else_is_said) {
  const socket_pair data = make_sockets();
  const descriptor channel = client.send_to("missing", data.theirs.get());
  EXPECT_TRUE(refused_with(next_answer(channel.get()), ENOENT));
  EXPECT_TRUE(is_at_end(channel.get()));
  const descriptor read = client.read("missing");
  EXPECT_TRUE(refused_with(next_answer(read.get()), ENOENT));
  EXPECT_TRUE(is_at_end(read.get()));
}

}  // namespace
}  // namespace weir::testing
