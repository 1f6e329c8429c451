// Clients that mean harm, or are broken. Whatever they do, the daemon serves the others, and has
// as many descriptors and threads afterwards as before (invariant 23; S-D2, S-D3, S-D4, S-D13,
// S-D14).

#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

using detail::daemon::frame_header;

constexpr std::size_t small = 10;
constexpr std::size_t large = std::size_t{4} << 20;

class daemon_and_hostile_clients : public ::testing::Test {
 protected:
  daemon_and_hostile_clients() {
    make_patterned_file(daemon.root() / "small", small);
    make_patterned_file(daemon.root() / "large", large);
    EXPECT_TRUE(comes_true([&] { return is_alone(); }));
    descriptors_before = daemon.descriptors();
    threads_before = daemon.threads();
  }
  ~daemon_and_hostile_clients() override {
    serves_others();
    EXPECT_TRUE(comes_true([&] { return is_alone(); }));
    EXPECT_TRUE(comes_true([&] { return daemon.descriptors() == descriptors_before; }))
        << daemon.descriptors() << " descriptors are open, and " << descriptors_before << " were";
    EXPECT_TRUE(comes_true([&] { return daemon.threads() <= threads_before + helpers; }));
  }

  // Nobody else is connected, and nothing is under way.
  bool is_alone() const {
    drain(client.fd());
    const answer said = client.info();
    return said.kind == message::daemon_info && said.values[3] == 0 && said.values[4] == 1;
  }

  void serves_others() const {
    const raw_client other = daemon.connect();
    const descriptor channel = other.read("small");
    const auto info = next_answer(channel.get());
    ASSERT_TRUE(info);
    ASSERT_EQ(info->values[0], small);
    ASSERT_TRUE(holds_pattern(bytes_to_end(channel.get()), 0));
  }

  // Of the driver's own, which come with the first blocking call.
  static constexpr std::size_t helpers = 16;

  daemon_process daemon;
  raw_client client = daemon.connect();
  std::size_t descriptors_before = 0;
  std::size_t threads_before = 0;
};

// S-D3: these shut the predecessor down.
TEST_F(daemon_and_hostile_clients, messages_that_are_too_long_or_empty) {
  const pipe_ends channel = make_pipe(O_CLOEXEC);
  client.send({});
  EXPECT_TRUE(refused_with(client.next(), EBADMSG));
  client.send(std::vector<std::byte>(100'000), {channel.write.get()});
  EXPECT_TRUE(refused_with(client.next(), EMSGSIZE));
  client.send({}, {channel.write.get()});
  EXPECT_TRUE(refused_with(client.next(), EBADMSG));
}

// S-D3, S-D14
TEST_F(daemon_and_hostile_clients, descriptors_that_belong_to_no_request) {
  const pipe_ends pipe = make_pipe(O_CLOEXEC);
  const int fd = pipe.write.get();
  client.send(path_frame(message::read, "small"), {fd, fd});
  EXPECT_TRUE(refused_with(client.next(), EBADMSG));
  client.send(path_frame(message::send, "small"), {fd});
  EXPECT_TRUE(refused_with(client.next(), EBADMSG));
  client.send(path_frame(message::read, "small"));
  EXPECT_TRUE(refused_with(client.next(), EBADMSG));
  client.send(id_frame(message::cancel, 1), {fd, fd});
  EXPECT_TRUE(refused_with(client.next(), EBADMSG));
  client.send(id_frame(message::send_open, 1), {fd});
  EXPECT_TRUE(refused_with(client.next(), ENOENT));
  const std::vector<int> many(200, fd);
  for (int i = 0; i < 3; ++i) {
    client.send_many(path_frame(message::read, "small"), many);
    EXPECT_TRUE(refused_with(client.next(), EMSGSIZE));
  }
}

TEST_F(daemon_and_hostile_clients, every_kind_of_message_cut_off_anywhere) {
  const pipe_ends channel = make_pipe(O_CLOEXEC);
  for (unsigned kind = 0; kind < 20; ++kind) {
    const auto whole = path_frame(static_cast<message>(kind), "small");
    for (std::size_t size = 0; size < whole.size(); ++size) {
      client.send(std::span(whole).first(size), {channel.write.get()});
      const auto said = client.next();
      ASSERT_TRUE(said);
      EXPECT_EQ(said->kind, message::ended);
      EXPECT_LT(said->status, 0);
    }
  }
}

TEST_F(daemon_and_hostile_clients, sizes_versions_and_flags_that_lie) {
  const pipe_ends channel = make_pipe(O_CLOEXEC);
  const auto sound = path_frame(message::read, "small");
  const auto with = [&](std::size_t at, auto value, int error) {
    auto frame = sound;
    std::memcpy(frame.data() + at, &value, sizeof value);
    client.send(frame, {channel.write.get()});
    EXPECT_TRUE(refused_with(client.next(), error)) << "at byte " << at;
  };
  with(offsetof(frame_header, kind), std::uint16_t{0}, ENOSYS);
  with(offsetof(frame_header, kind), std::uint16_t{999}, ENOSYS);
  with(offsetof(frame_header, version), std::uint16_t{2}, EPROTONOSUPPORT);
  with(offsetof(frame_header, size), std::uint32_t{0}, EBADMSG);
  with(offsetof(frame_header, size), ~std::uint32_t{0}, EBADMSG);
  with(16, ~std::uint64_t{0}, EINVAL);            // the offset
  with(24, ~std::uint64_t{1}, EINVAL);            // the length
  with(32, ~std::uint32_t{0}, EINVAL);            // the flags
  with(36, ~std::uint32_t{0}, EINVAL);            // the mode
  with(sound.size() - 1, std::byte{0}, EBADMSG);  // the path
}

TEST_F(daemon_and_hostile_clients, paths_that_lead_out_of_the_root) {
  ASSERT_EQ(::symlink("/etc/passwd", (daemon.root() / "absolute").c_str()), 0);
  ASSERT_EQ(::symlink("../../../../../../etc/passwd", (daemon.root() / "upwards").c_str()), 0);
  ASSERT_EQ(::symlink("loop", (daemon.root() / "loop").c_str()), 0);
  ASSERT_EQ(::symlink("/proc/self/fd/0", (daemon.root() / "magic").c_str()), 0);
  for (const char* path : {"/etc/passwd", "../x", "./../x", "absolute", "upwards", "magic"}) {
    EXPECT_TRUE(refused_with(next_answer(client.read(path).get()), EXDEV)) << path;
  }
  EXPECT_TRUE(refused_with(next_answer(client.read("loop").get()), ELOOP));
}

// S-D4: opening a FIFO stopped the predecessor.
TEST_F(daemon_and_hostile_clients, files_that_are_none) {
  ASSERT_EQ(::mkfifo((daemon.root() / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(refused_with(next_answer(client.read("fifo").get()), EINVAL));
  EXPECT_TRUE(refused_with(next_answer(client.read(".").get()), EINVAL));
  const pipe_ends data = make_pipe(O_CLOEXEC);
  EXPECT_TRUE(refused_with(next_answer(client.send_to("fifo", data.write.get()).get()), EINVAL));
}

/// One of each kind of descriptor that answers, or bytes, cannot be sent to.
std::vector<descriptor> useless_descriptors(const temp_directory& root) {
  std::vector<descriptor> all;
  all.push_back(open_file(root / "small", O_RDONLY));
  all.push_back(open_file(root.path(), O_RDONLY | O_DIRECTORY));
  all.push_back(open_file("/dev/zero", O_RDONLY));
  all.push_back(open_file(root / "small", O_PATH));
  all.emplace_back(::epoll_create1(EPOLL_CLOEXEC));
  all.emplace_back(::eventfd(0, EFD_CLOEXEC));
  all.emplace_back(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  all.emplace_back(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  all.push_back(std::move(make_pipe(O_CLOEXEC).read));
  return all;
}

TEST_F(daemon_and_hostile_clients, channels_that_are_none) {
  for (const descriptor& each : useless_descriptors(daemon.root())) {
    for (const message kind : {message::read, message::open, message::stat}) {
      client.send(path_frame(kind, "small", {.tag = 77}), {each.get()});
      const auto said = client.next();
      EXPECT_TRUE(refused_with(said, EINVAL));
      EXPECT_EQ(said->tag, 77U);
    }
  }
}

TEST_F(daemon_and_hostile_clients, receivers_that_are_none) {
  for (const descriptor& each : useless_descriptors(daemon.root())) {
    const descriptor channel = client.send_to("small", each.get());
    EXPECT_TRUE(refused_with(next_answer(channel.get()), EINVAL));
    EXPECT_TRUE(is_at_end(channel.get()));
  }
}

TEST_F(daemon_and_hostile_clients, sockets_that_are_not_connected_and_pipes_that_nobody_reads) {
  const descriptor unconnected(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const descriptor status = client.send_to("small", unconnected.get());
  const auto said = answers_to_end(status.get());
  ASSERT_FALSE(said.empty());
  EXPECT_LT(said.back().status, 0);
  pipe_ends pipe = make_pipe(O_CLOEXEC);
  pipe.read.reset();
  for (const message kind : {message::read, message::open, message::stat}) {
    client.send(path_frame(kind, "large"), {pipe.write.get()});
  }
  EXPECT_TRUE(comes_true([&] { return client.info().values[3] == 0; }));
}

// A socket's queue of errors makes poll(2) return at once, for ever.
TEST_F(daemon_and_hostile_clients, a_socket_that_always_shows_an_error_takes_no_processor) {
  const descriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int little = 8192;
  ::setsockopt(listening.get(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const at = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listening.get(), at, size), 0);
  ASSERT_EQ(::listen(listening.get(), 1), 0);
  ASSERT_EQ(::getsockname(listening.get(), at, &size), 0);
  const descriptor sending(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::setsockopt(sending.get(), SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
  ASSERT_EQ(::connect(sending.get(), at, size), 0);
  const descriptor receiving(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(receiving);
  const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                     SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
  ASSERT_EQ(::setsockopt(sending.get(), SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps), 0);
  ASSERT_EQ(::send(sending.get(), "x", 1, 0), 1);

  const descriptor channel = client.send_to("large", sending.get());
  ASSERT_TRUE(next_answer(channel.get()));
  ASSERT_TRUE(comes_true([&] { return daemon.is_idle(); })) << "it goes on and on";
  const auto id = client.info();
  EXPECT_EQ(id.values[3], 1U);
  EXPECT_EQ(next_bytes(receiving.get(), large).size(), large);
}

// --- files and memory that change ----------------------------------------------------------------

// S-D2, S-T16, S-T17: a file that was cut off in a transfer ended the predecessor.
TEST_F(daemon_and_hostile_clients, files_that_become_shorter_meanwhile) {
  make_patterned_file(daemon.root() / "cut", large);
  socket_pair data = make_sockets();
  const descriptor status = client.send_to("cut", data.theirs.get());
  data.theirs.reset();
  const descriptor read = client.read("cut");
  ASSERT_TRUE(next_answer(status.get()));
  ASSERT_TRUE(next_answer(read.get()));
  ASSERT_EQ(next_bytes(data.ours.get(), 1).size(), 1U);
  ASSERT_EQ(next_bytes(read.get(), 1).size(), 1U);
  ASSERT_EQ(::truncate((daemon.root() / "cut").c_str(), 0), 0);
  const std::size_t sent = 1 + bytes_to_end(data.ours.get()).size();
  EXPECT_LT(sent, large);
  EXPECT_TRUE(ended_with(answers_to_end(status.get()), {.total = sent, .error = ENODATA}));
  EXPECT_LT(bytes_to_end(read.get()).size(), large - 1);
  EXPECT_TRUE(refused_with(client.next(), ENODATA));
}

TEST_F(daemon_and_hostile_clients, files_that_are_replaced_meanwhile) {
  make_patterned_file(daemon.root() / "old", large);
  const descriptor read = client.read("old");
  ASSERT_TRUE(next_answer(read.get()));
  make_file(daemon.root() / "new", large);
  ASSERT_EQ(::rename((daemon.root() / "new").c_str(), (daemon.root() / "old").c_str()), 0);
  EXPECT_TRUE(holds_pattern(bytes_to_end(read.get()), 0));
}

TEST_F(daemon_and_hostile_clients, memory_that_becomes_smaller_meanwhile) {
  const descriptor memory(::memfd_create("shrinks", MFD_CLOEXEC));
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(::ftruncate(memory.get(), large), 0);
    void* const mapped = ::mmap(nullptr, large, PROT_READ, MAP_SHARED, memory.get(), 0);
    const descriptor channel =
        client.ask(message::read_memory, "large", {.length = large}, memory.get());
    ASSERT_EQ(::ftruncate(memory.get(), 0), 0);
    const auto said = answers_to_end(channel.get());
    ASSERT_FALSE(said.empty());
    EXPECT_EQ(said.back().kind, message::ended);
    ::munmap(mapped, large);
  }
}

TEST_F(daemon_and_hostile_clients, memory_that_must_not_be_written_to) {
  const descriptor memory(::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(memory.get(), large), 0);
  ASSERT_EQ(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  const descriptor channel =
      client.ask(message::read_memory, "large", {.length = large}, memory.get());
  EXPECT_TRUE(ended_with(answers_to_end(channel.get()), {.error = EPERM}));
}

// --- clients that vanish -------------------------------------------------------------------------

TEST_F(daemon_and_hostile_clients, connections_that_close_with_everything_under_way) {
  for (int i = 0; i < 20; ++i) {
    raw_client other = daemon.connect();
    socket_pair data = make_sockets();
    std::vector<descriptor> channels;
    for (int j = 0; j < 10; ++j) {
      channels.push_back(other.read("large"));
      channels.push_back(other.open("small"));
      channels.push_back(other.send_to("large", data.theirs.get()));
    }
    data.theirs.reset();
    ASSERT_TRUE(next_answer(channels[3 * static_cast<std::size_t>(i % 10)].get()));
    other.close();
    for (const descriptor& each : channels) bytes_to_end(each.get());
    bytes_to_end(data.ours.get());
  }
}

// In a process of its own: as much as it can, until it is killed.
[[noreturn]] void ask_for_ever(const daemon_process& daemon, unsigned seed) {
  std::minstd_rand random(seed);
  const raw_client client = daemon.connect();
  std::vector<descriptor> kept;
  for (;;) {
    const char* const name = random() % 2 != 0 ? "small" : "large";
    if (random() % 3 == 0) {
      kept.push_back(client.open(name));
    } else {
      kept.push_back(client.read(name));
    }
    if (random() % 4 == 0) drain(kept.back().get());
    if (kept.size() > 50) kept.clear();
  }
}

TEST_F(daemon_and_hostile_clients, clients_that_are_killed_at_any_moment) {
  std::minstd_rand random(1);
  for (unsigned i = 0; i < 20; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ask_for_ever(daemon, i);
    const auto some = random() % 50;
    ASSERT_TRUE(comes_true([&] { return client.info().values[4] == 2; }));
    for (unsigned long j = 0; j < some; ++j) serves_others();
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(comes_true([&] { return client.info().values[4] == 1; }));
  }
  EXPECT_EQ(client.info().values[3], 0U);
}

// --- anything ------------------------------------------------------------------------------------

// Messages made of sound ones by changing some bytes, with any descriptors.
TEST_F(daemon_and_hostile_clients, anything) {
  std::minstd_rand random(20260817);
  auto useless = useless_descriptors(daemon.root());
  const socket_pair data = make_sockets();
  useless.push_back(make_file(daemon.root() / "any"));
  for (int i = 0; i < 3000; ++i) {
    const raw_client* with = &client;
    auto frame = path_frame(static_cast<message>(random() % 16), i % 3 != 0 ? "small" : "large",
                            {.offset = random() % 20, .length = random() % 100});
    for (unsigned changes = random() % 4; changes > 0; --changes) {
      frame[random() % frame.size()] = static_cast<std::byte>(random());
    }
    pipe_ends channel = make_pipe(O_CLOEXEC);
    const int first =
        random() % 2 != 0 ? channel.write.get() : useless[random() % useless.size()].get();
    const int second =
        random() % 2 != 0 ? data.theirs.get() : useless[random() % useless.size()].get();
    switch (random() % 4) {
      case 0:
        with->send(frame);
        break;
      case 1:
        with->send(frame, {first});
        break;
      default:
        with->send(frame, {first, second});
    }
    drain(data.ours.get());
    drain(client.fd());
  }
}

}  // namespace
}  // namespace weir::testing
