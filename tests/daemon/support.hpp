#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/protocol.hpp"
#include "support/support.hpp"
#include "tools/command.hpp"

/// A daemon in a process of its own, and a client that speaks the protocol by its bytes: what the
/// daemon's tests have in common. Nothing here shares code with weir's own clients.
namespace weir::testing {

using detail::daemon::answer;
using detail::daemon::message;

/// What a request that names a file asks for, as it stands in the message.
struct wanted {
  std::uint64_t offset = 0;
  std::uint64_t length = detail::daemon::to_the_end;
  std::uint32_t flags = 0;
  std::uint32_t mode = 0;
  std::uint64_t memory_offset = 0;
  std::uint64_t tag = 1;
};

/// Messages, as bytes.
std::vector<std::byte> path_frame(message kind, std::string_view path, const wanted& what = {});
std::vector<std::byte> id_frame(message kind, std::uint64_t id, std::uint64_t tag = 1);
std::vector<std::byte> bare_frame(message kind, std::uint64_t tag = 1);

/// The end of a stream, or an answer on it; fails the test where neither comes in half a minute.
std::optional<answer> next_answer(int channel);
/// All answers up to the end.
std::vector<answer> answers_to_end(int channel);
/// All bytes up to the end.
std::vector<std::byte> bytes_to_end(int stream);
/// That many bytes, or fewer where the stream ends.
std::vector<std::byte> next_bytes(int stream, std::size_t count);
/// Whether the stream has ended, without another byte.
bool is_at_end(int stream);
/// What of it can be read without waiting is read, and how much that was.
std::size_t drain(int stream);

/// Bytes moved, and the status, of the last of the answers, which is `ended`; the progress before
/// adds up to it.
struct transfer_end {
  std::uint64_t total = 0;
  int error = 0;
};
::testing::AssertionResult ended_with(const std::vector<answer>& answers, transfer_end expected);
::testing::AssertionResult refused_with(const std::optional<answer>& said, int error);

/// A pair of stream sockets.
struct socket_pair {
  descriptor ours;
  descriptor theirs;
};
socket_pair make_sockets();

/// A connection to a daemon.
class raw_client {
 public:
  explicit raw_client(const std::string& socket_path);

  /// As it is, with copies of these descriptors.
  void send(std::span<const std::byte> message, std::initializer_list<int> descriptors = {}) const;
  void send_many(std::span<const std::byte> message, std::span<const int> descriptors) const;
  /// An answer on the connection.
  std::optional<answer> next() const;
  int fd() const noexcept { return connection_.get(); }
  void close() noexcept { connection_.reset(); }

  // Requests with a new pipe as their channel, whose reading end is returned.
  descriptor read(std::string_view path, const wanted& what = {}) const;
  descriptor send_to(std::string_view path, int receiver, const wanted& what = {}) const;
  descriptor open(std::string_view path, const wanted& what = {}) const;
  descriptor ask(message kind, std::string_view path, const wanted& what = {},
                 std::optional<int> other = {}) const;
  void send_open(std::uint64_t id, int receiver, std::uint64_t tag = 1) const;
  /// Waits for the acknowledgement, and returns its status.
  int cancel(std::uint64_t id) const;
  answer info() const;

 private:
  descriptor connection_;
};

/// `weir serve`, running; ended by SIGTERM, which it must obey with status 0, when this goes.
class daemon_process {
 public:
  explicit daemon_process(std::vector<std::string> options = {});
  daemon_process(const daemon_process&) = delete;
  daemon_process& operator=(const daemon_process&) = delete;
  ~daemon_process();

  const temp_directory& root() const noexcept { return root_; }
  const std::string& socket_path() const noexcept { return socket_; }
  pid_t pid() const noexcept { return command_->pid(); }
  raw_client connect() const { return raw_client(socket_); }

  void signal(int number) const noexcept { command_->kill(number); }
  /// Its end, which it was asked for by `signal`.
  test::outcome wait();
  /// SIGKILL, and its end.
  void kill();
  /// Another one, at the same place.
  void restart();

  /// Its open descriptors and its threads, those of io_uring's workers aside.
  std::size_t descriptors() const;
  std::size_t threads() const;
  /// Whether it waits, and has used no processor for a tenth of a second.
  bool is_idle() const;
  /// Resident memory in bytes.
  std::size_t memory() const;

 private:
  void start();

  temp_directory root_;
  temp_directory place_;
  std::string socket_;
  std::vector<std::string> options_;
  std::unique_ptr<test::running_command> command_;
};

/// Waits for what another process brings about: half a minute.
bool comes_true(const std::function<bool()>& condition);

}  // namespace weir::testing
