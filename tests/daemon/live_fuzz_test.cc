// A real daemon, and a client that sends whatever comes to its mind, by a seed: messages that are
// sound, that nearly are, and that are noise, with descriptors of every kind. Afterwards the daemon
// still answers, and the descriptors are not with it any more. WEIR_FUZZ_SEED repeats a run, and
// WEIR_FUZZ_MESSAGES makes it longer.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

using namespace detail::daemon;
using testing::descriptor;

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

/// Where the numbers come from.
class chance {
 public:
  explicit chance(unsigned seed) : engine_(seed) {}

  std::size_t below(std::size_t limit) { return engine_() % limit; }
  bool one_in(std::size_t n) { return below(n) == 0; }
  template <class T, std::size_t n>
  const T& one_of(const std::array<T, n>& all) {
    return all[below(n)];
  }

 private:
  std::mt19937 engine_;
};

/// Descriptors that a daemon may be given, well or ill meant. Those of one message at a time.
class treasure {
 public:
  explicit treasure(const std::string& directory) : directory_(directory) {
    if (::mkfifo((directory + "/fifo").c_str(), 0600) != 0) {
      throw std::system_error(errno, std::system_category(), "mkfifo");
    }
  }

  descriptor any(chance& by) {
    switch (by.below(12)) {
      case 0:
        return opened("/dev/zero", O_RDWR);
      case 1:
        return opened("/dev/null", O_RDWR);
      case 2:
        return opened(directory_.c_str(), O_RDONLY | O_DIRECTORY);
      case 3:
        return opened((directory_ + "/fifo").c_str(), O_RDWR | O_NONBLOCK);
      case 4:
        return descriptor(::epoll_create1(EPOLL_CLOEXEC));
      case 5:
        return opened(directory_.c_str(), O_PATH);
      case 6:
        return memory(by);
      case 7:
        return stream(by);
      case 8:
        return descriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      case 9:
        return opened((directory_ + "/target").c_str(), O_RDWR | O_CREAT);
      default:
        return channel(by);
    }
  }

  /// The memory shared last, shrunk or grown while it is in use.
  void reshape(chance& by) const {
    if (!shared_) return;
    ASSERT_EQ(::ftruncate(shared_.get(), static_cast<off_t>(by.below(3) * 4096)), 0);
  }

 private:
  static descriptor opened(const char* path, int flags) {
    return descriptor(::open(path, flags | O_CLOEXEC, 0600));
  }

  descriptor memory(chance& by) {
    shared_ = descriptor(::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    reshape(by);
    return descriptor(::fcntl(shared_.get(), F_DUPFD_CLOEXEC, 0));
  }

  // Some are read from later, some are full, some have nobody at the other end.
  descriptor channel(chance& by) {
    pipe_ends ends = make_pipe(by.one_in(2) ? O_NONBLOCK : 0);
    if (by.one_in(3)) return std::move(ends.read);
    keep(by, std::move(ends.read));
    return std::move(ends.write);
  }
  descriptor stream(chance& by) {
    socket_pair pair = make_sockets();
    keep(by, std::move(pair.ours));
    return std::move(pair.theirs);
  }

  // The other end: kept for a while, so that the daemon has to wait for it, or closed at once.
  void keep(chance& by, descriptor other) {
    if (!by.one_in(4)) kept_[by.below(kept_.size())] = std::move(other);
  }

  std::string directory_;
  descriptor shared_;
  std::array<descriptor, 16> kept_;
};

constexpr std::array paths{"small",   "large",    "directory",         "fifo",
                           "missing", "../small", "/etc/hosts",        "link",
                           "",        "new",      "directory/../small"};
constexpr std::array<std::uint64_t, 8> numbers{0,
                                               1,
                                               9,
                                               10,
                                               4096,
                                               (std::uint64_t{1} << 63) - 1,
                                               std::uint64_t{1} << 63,
                                               detail::daemon::to_the_end};

std::vector<std::byte> file_message(chance& by, message kind) {
  return path_frame(kind, by.one_of(paths),
                    {.offset = by.one_in(2) ? 0 : by.one_of(numbers),
                     .length = by.one_of(numbers),
                     .flags = static_cast<std::uint32_t>(by.one_in(2) ? 0 : by.below(80)),
                     .mode = static_cast<std::uint32_t>(by.below(01200)),
                     .memory_offset = by.one_of(numbers)});
}

std::vector<std::byte> any_message(chance& by) {
  const auto kind = static_cast<message>(1 + by.below(12));
  switch (kind) {
    case message::send_open:
    case message::cancel:
      return id_frame(kind, by.one_of(numbers));
    case message::info:
    case message::metrics:
      return bare_frame(kind);
    default:
      return file_message(by, kind);
  }
}

// A byte that is another, an end that is missing, too much at the end, or nothing but noise.
void spoil(chance& by, std::vector<std::byte>& bytes) {
  const auto any_byte = [&] { return static_cast<std::byte>(by.below(256)); };
  switch (by.below(4)) {
    case 0:
      if (!bytes.empty()) bytes[by.below(bytes.size())] = any_byte();
      return;
    case 1:
      bytes.resize(by.below(bytes.size() + 1));
      return;
    case 2:
      bytes.resize(bytes.size() + by.below(40'000));
      return;
    default:
      for (std::byte& each : bytes) each = any_byte();
  }
}

/// Sends, or has nothing sent: neither an answer nor a full connection is waited for.
void send_with(int connection, const std::vector<std::byte>& bytes,
               const std::vector<descriptor>& descriptors) {
  std::vector<int> numbers_of;
  for (const descriptor& each : descriptors) numbers_of.push_back(each.get());
  std::vector<char> control(CMSG_SPACE(sizeof(int) * std::max<std::size_t>(1, numbers_of.size())));
  iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!numbers_of.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * numbers_of.size());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * numbers_of.size());
    std::memcpy(CMSG_DATA(header), numbers_of.data(), sizeof(int) * numbers_of.size());
  }
  const ssize_t sent = ::sendmsg(connection, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  ASSERT_TRUE(sent >= 0 || errno == EAGAIN || errno == EMSGSIZE || errno == EPIPE ||
              errno == ETOOMANYREFS || errno == ECONNRESET)
      << std::strerror(errno);
}

std::string what_is_open(pid_t process) {
  std::string names;
  for (const auto& each :
       std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd")) {
    std::error_code gone;
    names += each.path().filename().string() + " " +
             std::filesystem::read_symlink(each.path(), gone).string() + "\n";
  }
  return names;
}

class live_fuzz : public ::testing::Test {
 protected:
  live_fuzz() : daemon_({"--allow-write", "--max-transfers", "64", "--open-timeout", "200"}) {
    make_patterned_file(daemon_.root() / "small", 10);
    make_patterned_file(daemon_.root() / "large", 1 << 20);
    const std::string inside = daemon_.root() / "directory";
    EXPECT_EQ(::mkdir(inside.c_str(), 0700), 0);
    EXPECT_EQ(::mkfifo((daemon_.root() / "fifo").c_str(), 0600), 0);
    EXPECT_EQ(::symlink("/etc/hosts", (daemon_.root() / "link").c_str()), 0);
  }

  /// Answers on the connection would fill it, were they left there.
  static void forget_answers(int connection) {
    std::array<char, 4096> bytes{};
    while (::recv(connection, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
  }

  void torment(chance& by, unsigned messages) {
    const temp_directory elsewhere;
    treasure with(elsewhere.path());
    std::vector<raw_client> clients;
    for (unsigned i = 0; i < messages; ++i) {
      if (clients.size() < 4) clients.push_back(daemon_.connect());
      const int connection = clients[by.below(clients.size())].fd();
      std::vector<std::byte> bytes = any_message(by);
      if (by.one_in(3)) spoil(by, bytes);
      std::vector<descriptor> passed;
      const std::size_t many = by.one_in(10) ? by.below(40) : by.below(4);
      for (std::size_t each = 0; each < many; ++each) passed.push_back(with.any(by));
      send_with(connection, bytes, passed);
      if (by.one_in(5)) with.reshape(by);
      forget_answers(connection);
      if (by.one_in(50)) clients.erase(clients.begin());
    }
  }

  bool answers() const {
    const raw_client client = daemon_.connect();
    const descriptor channel = client.read("small");
    const auto info = next_answer(channel.get());
    return info && info->status == 0 && bytes_to_end(channel.get()).size() == 10;
  }

  /// No other client is left, and nothing under way but the question.
  bool is_idle() const {
    const answer info = daemon_.connect().info();
    return info.values[3] <= 1 && info.values[4] == 1;
  }

  daemon_process daemon_;
};

TEST_F(live_fuzz, nothing_that_a_client_sends_stops_the_daemon_or_stays_with_it) {
  const unsigned seed = from_environment("WEIR_FUZZ_SEED", 20261121);
  const unsigned messages = from_environment("WEIR_FUZZ_MESSAGES", 20000);
  SCOPED_TRACE("WEIR_FUZZ_SEED=" + std::to_string(seed));
  ASSERT_TRUE(answers());
  chance by(seed);
  torment(by, messages / 4);
  ASSERT_TRUE(comes_true([&] { return is_idle(); }));
  const std::size_t before = daemon_.descriptors();
  for (int round = 0; round < 3; ++round) {
    torment(by, messages / 4);
    EXPECT_TRUE(answers());
  }
  // What a daemon opens when it is first needed stays: a pipe, and what some polls are done by.
  constexpr std::size_t opened_late = 3;
  EXPECT_TRUE(comes_true([&] { return daemon_.descriptors() <= before + opened_late; }))
      << "before there were " << before << ":\n"
      << what_is_open(daemon_.pid());
  EXPECT_TRUE(answers());
}

}  // namespace
}  // namespace weir::testing
