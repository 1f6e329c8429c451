#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/context_test.hpp"
#include "support/support.hpp"
#include "weir/transfer.hpp"

namespace weir::testing {

/// What a transfer passes through: its own end, which it writes to or reads from, and the other's.
struct channel {
  descriptor near;
  descriptor far;
};

inline channel unix_channel(int type = SOCK_STREAM) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::system_error(errno, std::system_category(), "socketpair");
  }
  return {descriptor(ends[0]), descriptor(ends[1])};
}

inline channel tcp_channel() {
  const descriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  channel made;
  made.near = descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool connected = ::bind(listening.get(), generic, size) == 0 &&
                         ::listen(listening.get(), 1) == 0 &&
                         ::getsockname(listening.get(), generic, &size) == 0 &&
                         ::connect(made.near.get(), generic, size) == 0;
  made.far = descriptor(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connected || !made.far) throw std::system_error(errno, std::system_category(), "TCP");
  return made;
}

inline channel pipe_channel() {
  pipe_ends made = make_pipe();
  return {std::move(made.write), std::move(made.read)};
}

inline channel fifo_channel(const std::string& path) {
  if (::mkfifo(path.c_str(), 0600) != 0) {
    throw std::system_error(errno, std::system_category(), "mkfifo");
  }
  descriptor far = open_file(path, O_RDONLY | O_NONBLOCK);
  descriptor near = open_file(path, O_WRONLY);
  ::fcntl(far.get(), F_SETFL, 0);
  return {std::move(near), std::move(far)};
}

inline void set_nonblocking(const descriptor& fd) {
  ASSERT_EQ(::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK), 0);
}

inline bool is_writable(const descriptor& fd) {
  pollfd looked{.fd = fd.get(), .events = POLLOUT, .revents = 0};
  return ::poll(&looked, 1, 0) == 1 && (looked.revents & POLLOUT) != 0;
}

/// Everything up to the other side's end, which it waits for.
inline std::vector<std::byte> read_all(const descriptor& from) {
  std::vector<std::byte> all;
  std::vector<std::byte> part(std::size_t{64} << 10);
  for (;;) {
    const auto count = ::read(from.get(), part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return all;
    all.insert(all.end(), part.begin(), part.begin() + count);
  }
}

/// The same on a thread of its own. Whoever writes closes its end, then asks.
class collector {
 public:
  explicit collector(descriptor from)
      : from_(std::move(from)), reads_([this] { all_ = read_all(from_); }) {}
  collector(const collector&) = delete;
  collector& operator=(const collector&) = delete;
  ~collector() {
    if (reads_.joinable()) reads_.join();
  }
  const std::vector<std::byte>& all() {
    if (reads_.joinable()) reads_.join();
    return all_;
  }

 private:
  descriptor from_;
  std::vector<std::byte> all_;
  std::thread reads_;
};

/// Tests of transfers: a file on each side.
class transfer_test : public context_test {
 protected:
  /// A file of `size` bytes of the pattern, opened with `flags`.
  file patterned(std::size_t size, int flags = O_RDONLY) {
    make_patterned_file(path(), size);
    return file(*context_, open_file(path(), flags).release());
  }
  file empty_target(int flags = O_RDWR | O_CREAT | O_TRUNC) {
    return file(*context_, open_file(target(), flags).release());
  }
  transfer_outcome send(file& from, const descriptor& to, std::uint64_t offset = 0,
                        std::uint64_t length = to_the_end, transfer_options options = {}) {
    return context_->run(send_file(from, to.get(), offset, length, std::move(options)));
  }

  std::string target() const { return directory_ / "target"; }
};

inline ::testing::AssertionResult succeeded(const transfer_outcome& outcome,
                                            std::uint64_t transferred) {
  if (outcome.error) return ::testing::AssertionFailure() << outcome.error.message();
  if (outcome.transferred == transferred) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << outcome.transferred << " bytes, not " << transferred;
}

inline ::testing::AssertionResult failed_with(const transfer_outcome& outcome,
                                              std::error_condition why) {
  if (outcome.error == why) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << (outcome.error ? outcome.error.message() : std::string("it succeeded"));
}

}  // namespace weir::testing
