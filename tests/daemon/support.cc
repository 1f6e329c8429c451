#include "daemon/support.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>

namespace weir::testing {
namespace {

using detail::daemon::frame_header;
using detail::daemon::id_request;
using detail::daemon::memory_request;
using detail::daemon::path_request;

constexpr int patience_ms = 30'000;
constexpr std::chrono::milliseconds patience{patience_ms};

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

template <class Structure>
std::vector<std::byte> frame_of(Structure start, std::string_view path) {
  frame_header header = detail::daemon::read_as<frame_header>(std::as_bytes(std::span(&start, 1)));
  header.size = static_cast<std::uint32_t>(sizeof start + path.size());
  std::vector<std::byte> bytes(header.size);
  std::memcpy(bytes.data(), &start, sizeof start);
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!path.empty()) std::memcpy(bytes.data() + sizeof start, path.data(), path.size());
  return bytes;
}

// Whether there is something to read, or an end.
bool comes(int fd) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, patience_ms) == 1;
}

}  // namespace

// --- messages ------------------------------------------------------------------------------------

std::vector<std::byte> path_frame(message kind, std::string_view path, const wanted& what) {
  const path_request file{.header = {.kind = kind, .tag = what.tag},
                          .offset = what.offset,
                          .length = what.length,
                          .flags = what.flags,
                          .mode = what.mode};
  const bool memory = kind == message::read_memory || kind == message::write_memory;
  return memory ? frame_of(memory_request{file, what.memory_offset}, path) : frame_of(file, path);
}

std::vector<std::byte> id_frame(message kind, std::uint64_t id, std::uint64_t tag) {
  return frame_of(id_request{.header = {.kind = kind, .tag = tag}, .id = id}, {});
}

std::vector<std::byte> bare_frame(message kind, std::uint64_t tag) {
  return frame_of(frame_header{.kind = kind, .tag = tag}, {});
}

// --- streams -------------------------------------------------------------------------------------

std::vector<std::byte> next_bytes(int stream, std::size_t count) {
  std::vector<std::byte> bytes(count);
  std::size_t got = 0;
  while (got < count) {
    if (!comes(stream)) {
      ADD_FAILURE() << "nothing came after " << got << " of " << count << " bytes";
      break;
    }
    const ssize_t more = ::read(stream, bytes.data() + got, count - got);
    if (more <= 0) break;
    got += static_cast<std::size_t>(more);
  }
  bytes.resize(got);
  return bytes;
}

std::vector<std::byte> bytes_to_end(int stream) {
  std::vector<std::byte> all;
  for (;;) {
    const auto more = next_bytes(stream, 1 << 20);
    if (more.empty()) return all;
    all.insert(all.end(), more.begin(), more.end());
  }
}

std::optional<answer> next_answer(int channel) {
  const auto bytes = next_bytes(channel, sizeof(answer));
  if (bytes.empty()) return {};
  EXPECT_EQ(bytes.size(), sizeof(answer)) << "a part of an answer";
  return bytes.size() == sizeof(answer) ? std::optional(detail::daemon::read_as<answer>(bytes))
                                        : std::nullopt;
}

std::vector<answer> answers_to_end(int channel) {
  std::vector<answer> all;
  while (const auto one = next_answer(channel)) all.push_back(*one);
  return all;
}

bool is_at_end(int stream) { return next_bytes(stream, 1).empty(); }

std::size_t drain(int stream) {
  std::array<std::byte, 65536> unwanted;
  std::size_t all = 0;
  pollfd ready{.fd = stream, .events = POLLIN, .revents = 0};
  while (::poll(&ready, 1, 0) == 1) {
    const ssize_t got = ::read(stream, unwanted.data(), unwanted.size());
    if (got <= 0) break;
    all += static_cast<std::size_t>(got);
  }
  return all;
}

::testing::AssertionResult ended_with(const std::vector<answer>& answers, transfer_end expected) {
  if (answers.empty()) return ::testing::AssertionFailure() << "nothing was said";
  const answer& last = answers.back();
  if (last.kind != message::ended) {
    return ::testing::AssertionFailure() << "the last answer is of another kind";
  }
  std::uint64_t told = 0;
  for (const answer& each : answers) {
    if (each.kind == message::progress || each.kind == message::ended) told += each.values[0];
  }
  if (told != last.values[1]) {
    return ::testing::AssertionFailure()
           << "progress adds up to " << told << ", not to " << last.values[1];
  }
  if (last.status == -expected.error && told == expected.total) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "ended with " << last.status << " after " << told << " bytes";
}

::testing::AssertionResult refused_with(const std::optional<answer>& said, int error) {
  if (!said) return ::testing::AssertionFailure() << "nothing was said";
  if (said->kind == message::ended && said->status == -error) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "kind " << static_cast<unsigned>(said->kind) << ", status " << said->status;
}

socket_pair make_sockets() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) fail("socketpair");
  return {descriptor(ends[0]), descriptor(ends[1])};
}

// --- a client ------------------------------------------------------------------------------------

raw_client::raw_client(const std::string& socket_path)
    : connection_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(connection_.get(), at, sizeof address) != 0) fail("connect");
}

void raw_client::send(std::span<const std::byte> message,
                      std::initializer_list<int> descriptors) const {
  send_many(message, std::span(descriptors.begin(), descriptors.size()));
}

void raw_client::send_many(std::span<const std::byte> message,
                           std::span<const int> descriptors) const {
  iovec part{const_cast<std::byte*>(message.data()), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const std::size_t size = descriptors.size() * sizeof(int);
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(253 * sizeof(int))> control{};
  if (size != 0) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(size);
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(rights), descriptors.data(), size);
  }
  if (::sendmsg(fd(), &header, MSG_NOSIGNAL) < 0) fail("sendmsg");
}

std::optional<answer> raw_client::next() const { return next_answer(fd()); }

descriptor raw_client::ask(message kind, std::string_view path, const wanted& what,
                           std::optional<int> other) const {
  pipe_ends channel = make_pipe(O_CLOEXEC);
  const auto frame = path_frame(kind, path, what);
  if (other) {
    send(frame, {channel.write.get(), *other});
  } else {
    send(frame, {channel.write.get()});
  }
  return std::move(channel.read);
}

descriptor raw_client::read(std::string_view path, const wanted& what) const {
  return ask(message::read, path, what);
}
descriptor raw_client::send_to(std::string_view path, int receiver, const wanted& what) const {
  return ask(message::send, path, what, receiver);
}
descriptor raw_client::open(std::string_view path, const wanted& what) const {
  return ask(message::open, path, what);
}

void raw_client::send_open(std::uint64_t id, int receiver, std::uint64_t tag) const {
  send(id_frame(message::send_open, id, tag), {receiver});
}

int raw_client::cancel(std::uint64_t id) const {
  const pipe_ends channel = make_pipe(O_CLOEXEC);
  send(id_frame(message::cancel, id), {channel.write.get()});
  const auto said = next_answer(channel.read.get());
  if (!said || said->kind != message::ended) {
    ADD_FAILURE() << "a cancel was not answered";
    return 1;
  }
  return said->status;
}

answer raw_client::info() const {
  send(bare_frame(message::info));
  return next().value();
}

// --- a daemon ------------------------------------------------------------------------------------

daemon_process::daemon_process(std::vector<std::string> options)
    : socket_(place_ / "daemon.socket"), options_(std::move(options)) {
  start();
}

void daemon_process::start() {
  std::vector<std::string> arguments{"serve", "--root", root_.path(), "--socket", socket_};
  arguments.insert(arguments.end(), options_.begin(), options_.end());
  // Sanitizers look into the process from outside, as debuggers do.
  if (address_sanitizer || thread_sanitizer) arguments.emplace_back("--unconfined");
  command_ = std::make_unique<test::running_command>(arguments);
  if (!comes_true([&] { return listens(); })) {
    throw std::runtime_error("weir serve did not begin to listen");
  }
}

bool daemon_process::listens() const {
  try {
    // A connection is not enough: the kernel may hold the socket of one that was killed.
    const raw_client asking = connect();
    asking.send(bare_frame(message::info));
    return asking.next().has_value();
  } catch (const std::system_error&) {
    return false;
  }
}

daemon_process::~daemon_process() {
  if (!command_) return;
  signal(SIGTERM);
  EXPECT_EQ(wait().exit_code, 0);
}

test::outcome daemon_process::wait() {
  const test::outcome end = command_->wait();
  command_.reset();
  if (end.exit_code != 0) ADD_FAILURE() << "weir serve: signal " << end.signal << "\n" << end.err;
  return end;
}

void daemon_process::kill() {
  signal(SIGKILL);
  EXPECT_EQ(command_->wait().signal, SIGKILL);
  command_.reset();
}

void daemon_process::restart() { start(); }

namespace {

std::size_t entries(const std::filesystem::path& directory) {
  const std::filesystem::directory_iterator each(directory);
  return static_cast<std::size_t>(std::distance(begin(each), end(each)));
}

std::string proc(pid_t process, const char* what) {
  return "/proc/" + std::to_string(process) + "/" + what;
}

bool is_kernel_worker(const std::filesystem::path& task) {
  std::string name;
  std::getline(std::ifstream(task / "comm"), name);
  return name.starts_with("iou-");
}

}  // namespace

std::size_t daemon_process::descriptors() const { return entries(proc(pid(), "fd")); }

std::size_t daemon_process::threads() const {
  std::size_t count = 0;
  for (const auto& task : std::filesystem::directory_iterator(proc(pid(), "task"))) {
    if (!is_kernel_worker(task.path())) ++count;
  }
  return count;
}

// Two looks, a tenth of a second apart: the time is what is measured, not waited for.
bool daemon_process::is_idle() const {
  const auto used = [&] {
    std::ifstream stat(proc(pid(), "stat"));
    std::string word;
    for (int i = 0; i < 13; ++i) stat >> word;
    long user = 0;
    long system = 0;
    stat >> user >> system;
    return user + system;
  };
  const long before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return used() - before <= 2;  // hundredths of a second
}

std::size_t daemon_process::memory() const {
  std::size_t all = 0;
  std::size_t resident = 0;
  std::ifstream(proc(pid(), "statm")) >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Nothing tells of what another process does, so this looks again and again.
bool comes_true(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace weir::testing
