// What each request does, through a daemon in a process of its own. S-T…: the tests of the daemon
// that weir succeeds; S-D…: its defects. docs/decisions/0024-daemon.md says what these were.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

namespace flag = detail::daemon::transfer_flag;

constexpr std::size_t small = 10;
constexpr std::size_t large = std::size_t{1} << 20;

class daemon_requests : public ::testing::Test {
 protected:
  explicit daemon_requests(std::vector<std::string> options = {}) : daemon(std::move(options)) {
    make_patterned_file(daemon.root() / "small", small);
    make_patterned_file(daemon.root() / "large", large);
    make_file(daemon.root() / "empty");
  }

  daemon_process daemon;
  raw_client client = daemon.connect();
};

class daemon_writes : public daemon_requests {
 protected:
  daemon_writes() : daemon_requests({"--allow-write"}) {}

  std::vector<std::byte> contents(std::string_view name) const {
    return contents_of(daemon.root() / name);
  }
};

std::vector<std::byte> patterned(std::size_t size) {
  std::vector<std::byte> bytes(size);
  fill(bytes, 0);
  return bytes;
}

void write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    ASSERT_GT(count, 0);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

descriptor make_memory(std::size_t size) {
  descriptor memory(::memfd_create("shared", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(memory.get(), static_cast<off_t>(size)), 0);
  return memory;
}

// --- read ----------------------------------------------------------------------------------------

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

TEST_F(daemon_requests, read_tells_times_in_nanoseconds) {
  const timespec times[] = {{.tv_sec = 1, .tv_nsec = 2}, {.tv_sec = 3, .tv_nsec = 4}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (daemon.root() / "small").c_str(), times, 0), 0);
  const descriptor channel = client.read("small");
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->values[2], 1'000'000'002U);
  EXPECT_EQ(info->values[3], 3'000'000'004U);
}

// S-T13
TEST_F(daemon_requests, read_gives_exactly_the_range_that_was_asked_for) {
  const descriptor channel = client.read("small", {.offset = 3, .length = 5});
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->values[0], 5U);
  EXPECT_EQ(info->values[1], small);
  const auto bytes = bytes_to_end(channel.get());
  EXPECT_EQ(bytes.size(), 5U);
  EXPECT_TRUE(holds_pattern(bytes, 3));
}

// S-D2, S-D18: these ended the daemon, or were refused.
TEST_F(daemon_requests, empty_ranges_succeed_with_no_bytes) {
  const std::pair<const char*, wanted> cases[] = {
      {"empty", {}}, {"small", {.offset = small}}, {"small", {.offset = 3, .length = 0}}};
  for (const auto& [name, what] : cases) {
    const descriptor channel = client.read(name, what);
    const auto info = next_answer(channel.get());
    ASSERT_TRUE(info);
    EXPECT_EQ(info->kind, message::file_info);
    EXPECT_EQ(info->values[0], 0U);
    EXPECT_TRUE(is_at_end(channel.get()));

    const socket_pair data = make_sockets();
    const descriptor status = client.send_to(name, data.theirs.get(), what);
    EXPECT_TRUE(ended_with(answers_to_end(status.get()), {}));
  }
}

TEST_F(daemon_requests, ranges_that_are_not_all_in_the_file_are_refused) {
  for (const wanted& what : {wanted{.offset = small + 1}, wanted{.offset = 3, .length = small},
                             wanted{.offset = 0, .length = INT64_MAX}}) {
    const descriptor channel = client.read("small", what);
    EXPECT_TRUE(refused_with(next_answer(channel.get()), ERANGE));
  }
}

// --- send ----------------------------------------------------------------------------------------

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

// S-D11
TEST_F(daemon_requests, send_gives_the_bytes_to_a_regular_file_where_its_descriptor_stands) {
  const descriptor target = make_file(daemon.root() / "target");
  ASSERT_EQ(::lseek(target.get(), 100, SEEK_SET), 100);
  const descriptor channel = client.send_to("large", target.get());
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = large}));
  EXPECT_EQ(::lseek(target.get(), 0, SEEK_CUR), static_cast<off_t>(100 + large));
  const auto bytes = contents_of(daemon.root() / "target");
  ASSERT_EQ(bytes.size(), 100 + large);
  EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(100), 0));
}

TEST_F(daemon_requests, send_gives_the_bytes_to_a_device) {
  const descriptor null = open_file("/dev/null", O_WRONLY);
  const descriptor channel = client.send_to("large", null.get());
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = large}));
}

TEST_F(daemon_requests, send_gives_the_bytes_to_a_fifo) {
  const std::string path = daemon.root() / "fifo";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const descriptor reader = open_file(path, O_RDONLY | O_NONBLOCK);
  descriptor writer = open_file(path, O_WRONLY);
  const descriptor channel = client.send_to("large", writer.get());
  writer.reset();
  EXPECT_TRUE(holds_pattern(next_bytes(reader.get(), large), 0));
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = large}));
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

// S-T2
TEST_F(daemon_requests, a_directory_is_refused) {
  for (const char* name : {".", "/"}) {
    const descriptor channel = client.read(name);
    const auto said = next_answer(channel.get());
    ASSERT_TRUE(said);
    EXPECT_EQ(said->kind, message::ended);
    EXPECT_EQ(said->status, std::string_view(name) == "/" ? -EXDEV : -EINVAL);
  }
}

// --- open and send_open --------------------------------------------------------------------------

// S-T8
TEST_F(daemon_requests, what_was_opened_is_sent_once_a_receiver_is_given) {
  const descriptor channel = client.open("large");
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->kind, message::file_info);
  ASSERT_NE(info->id, 0U);
  socket_pair data = make_sockets();
  client.send_open(info->id, data.theirs.get());
  data.theirs.reset();
  EXPECT_TRUE(holds_pattern(bytes_to_end(data.ours.get()), 0));
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = large}));
}

// S-D14: the second one's descriptor was lost, and the first one's closed twice.
TEST_F(daemon_requests, a_second_receiver_is_refused_and_the_first_is_not_disturbed) {
  const descriptor channel = client.open("large");
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  socket_pair first = make_sockets();
  socket_pair second = make_sockets();
  client.send_open(info->id, first.theirs.get(), 1);
  client.send_open(info->id, second.theirs.get(), 2);
  first.theirs.reset();
  second.theirs.reset();
  const auto refused = client.next();
  EXPECT_TRUE(refused_with(refused, ENOENT));
  EXPECT_EQ(refused->tag, 2U);
  EXPECT_TRUE(is_at_end(second.ours.get()));
  EXPECT_EQ(bytes_to_end(first.ours.get()).size(), large);
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = large}));
}

// --- cancel --------------------------------------------------------------------------------------

// S-T9
TEST_F(daemon_requests, a_cancelled_open_file_says_so_and_ends) {
  const descriptor channel = client.open("small");
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(client.cancel(info->id), 0);
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.error = ECANCELED}));
  EXPECT_EQ(client.cancel(info->id), -ENOENT);
}

// S-T10
TEST_F(daemon_requests, a_cancelled_read_ends_before_its_last_byte) {
  const descriptor channel = client.read("large");
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(next_bytes(channel.get(), 1).size(), 1U);
  EXPECT_EQ(client.cancel(info->id), 0);
  EXPECT_LT(1 + bytes_to_end(channel.get()).size(), large);
  EXPECT_TRUE(refused_with(client.next(), ECANCELED));  // on the connection: the channel is full
}

// S-T11
TEST_F(daemon_requests, a_cancelled_send_says_how_much_it_had_sent) {
  socket_pair data = make_sockets();
  const descriptor channel = client.send_to("large", data.theirs.get());
  data.theirs.reset();
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(next_bytes(data.ours.get(), 1).size(), 1U);
  EXPECT_EQ(client.cancel(info->id), 0);
  const std::size_t got = 1 + bytes_to_end(data.ours.get()).size();
  EXPECT_LT(got, large);
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = got, .error = ECANCELED}));
}

// --- stat, sync, info, metrics -------------------------------------------------------------------

TEST_F(daemon_requests, stat_and_sync_answer_on_the_channel_or_on_the_connection) {
  for (const message kind : {message::stat, message::sync}) {
    const descriptor channel = client.ask(kind, "small");
    const auto said = answers_to_end(channel.get());
    ASSERT_EQ(said.size(), 2U);
    EXPECT_EQ(said[0].kind, message::file_info);
    EXPECT_EQ(said[0].values[1], small);
    EXPECT_TRUE(ended_with(said, {}));

    client.send(path_frame(kind, "small", {.tag = 5}));
    const auto first = client.next();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->kind, message::file_info);
    EXPECT_EQ(first->tag, 5U);
    EXPECT_TRUE(refused_with(client.next(), 0));
  }
}

TEST_F(daemon_requests, info_says_what_the_daemon_is) {
  const answer said = client.info();
  EXPECT_EQ(said.kind, message::daemon_info);
  EXPECT_EQ(said.values[0], static_cast<std::uint64_t>(daemon.pid()));
  EXPECT_EQ(said.values[1], 0U);
  EXPECT_EQ(said.values[3], 0U);
  EXPECT_EQ(said.values[4], 1U);
}

TEST_F(daemon_requests, metrics_count_what_was_done) {
  bytes_to_end(client.read("small").get());
  pipe_ends channel = make_pipe(O_CLOEXEC);
  client.send(bare_frame(message::metrics), {channel.write.get()});
  channel.write.reset();
  const auto bytes = bytes_to_end(channel.read.get());
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const char* line :
       {"weir_requests_total{request=\"read\",outcome=\"completed\"} 1\n",
        "weir_bytes_total{request=\"read\"} 10\n", "# TYPE weir_request_seconds histogram\n",
        "weir_request_seconds_bucket{request=\"read\",le=\"+Inf\"} 1\n", "weir_clients 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

// --- receive -------------------------------------------------------------------------------------

TEST_F(daemon_requests, nothing_is_written_where_that_is_not_allowed) {
  const socket_pair data = make_sockets();
  const descriptor channel =
      client.ask(message::receive, "new", {.flags = flag::create, .mode = 0600}, data.theirs.get());
  EXPECT_TRUE(refused_with(next_answer(channel.get()), EROFS));
  EXPECT_NE(::access((daemon.root() / "new").c_str(), F_OK), 0);
}

TEST_F(daemon_writes, receive_takes_a_stream_to_its_end_into_a_new_file) {
  for (const bool socket : {true, false}) {
    const std::string name = socket ? "from_socket" : "from_pipe";
    socket_pair sockets = make_sockets();
    pipe_ends pipe = make_pipe(O_CLOEXEC);
    descriptor& ours = socket ? sockets.ours : pipe.write;
    descriptor& theirs = socket ? sockets.theirs : pipe.read;
    const wanted what{.flags = flag::create | flag::durable, .mode = 0640};
    const descriptor channel = client.ask(message::receive, name, what, theirs.get());
    theirs.reset();
    write_all(ours.get(), patterned(large));
    ours.reset();
    EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = large}));
    EXPECT_EQ(contents(name), patterned(large));
  }
}

TEST_F(daemon_writes, receive_takes_no_more_than_it_was_asked_to) {
  const socket_pair data = make_sockets();
  const descriptor channel =
      client.ask(message::receive, "small", {.offset = 5, .length = 10}, data.theirs.get());
  write_all(data.ours.get(), patterned(12));
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = 10}));
  EXPECT_EQ(contents("small").size(), 15U);
  EXPECT_EQ(next_bytes(data.theirs.get(), 2).size(), 2U);
}

TEST_F(daemon_writes, receive_that_gets_less_than_was_promised_says_so) {
  socket_pair data = make_sockets();
  const descriptor channel =
      client.ask(message::receive, "small", {.length = 10}, data.theirs.get());
  data.theirs.reset();
  write_all(data.ours.get(), patterned(4));
  data.ours.reset();
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = 4, .error = ENODATA}));
}

TEST_F(daemon_writes, a_file_is_emptied_only_once_there_is_something_to_write) {
  socket_pair data = make_sockets();
  const descriptor channel =
      client.ask(message::receive, "small", {.flags = flag::truncate}, data.theirs.get());
  data.theirs.reset();
  const auto info = next_answer(channel.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(contents("small").size(), small);
  write_all(data.ours.get(), patterned(3));
  data.ours.reset();
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.total = 3}));
  EXPECT_EQ(contents("small").size(), 3U);
}

TEST_F(daemon_writes, a_file_that_is_there_is_not_created) {
  const socket_pair data = make_sockets();
  const wanted what{.flags = flag::create | flag::exclusive, .mode = 0600};
  const descriptor channel = client.ask(message::receive, "small", what, data.theirs.get());
  EXPECT_TRUE(refused_with(next_answer(channel.get()), EEXIST));
}

// --- shared memory -------------------------------------------------------------------------------

// S27: what the predecessor's documentation promised, and it did not have.
TEST_F(daemon_writes, memory_is_read_into_and_written_from) {
  const descriptor memory = make_memory(2 * large);
  const wanted there{.length = large, .memory_offset = 4096};
  const descriptor read = client.ask(message::read_memory, "large", there, memory.get());
  EXPECT_TRUE(ended_with(answers_to_end(read.get()), {.total = large}));
  std::vector<std::byte> bytes(large);
  ASSERT_EQ(::pread(memory.get(), bytes.data(), large, 4096), static_cast<ssize_t>(large));
  EXPECT_TRUE(holds_pattern(bytes, 0));

  const wanted back{
      .offset = 3, .length = large, .flags = flag::create, .mode = 0600, .memory_offset = 4096};
  const descriptor written = client.ask(message::write_memory, "copy", back, memory.get());
  EXPECT_TRUE(ended_with(answers_to_end(written.get()), {.total = large}));
  const auto copy = contents("copy");
  ASSERT_EQ(copy.size(), large + 3);
  EXPECT_TRUE(holds_pattern(std::span(copy).subspan(3), 0));
}

TEST_F(daemon_writes, only_memory_is_taken_for_memory_and_as_much_as_there_is) {
  const descriptor file = make_file(daemon.root() / "no_memory", large);
  const descriptor channel =
      client.ask(message::read_memory, "small", {.length = small}, file.get());
  EXPECT_TRUE(refused_with(next_answer(channel.get()), EINVAL));
  const descriptor memory = make_memory(4096);
  const wanted beyond{.length = small, .memory_offset = 4090};
  const descriptor outside = client.ask(message::read_memory, "small", beyond, memory.get());
  EXPECT_TRUE(refused_with(next_answer(outside.get()), ERANGE));
}

}  // namespace
}  // namespace weir::testing
