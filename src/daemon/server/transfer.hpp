#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "daemon/protocol.hpp"
#include "daemon/server/endpoint.hpp"
#include "daemon/server/open_files.hpp"
#include "daemon/server/stoppable.hpp"
#include "daemon/server/turns.hpp"
#include "weir/task.hpp"

namespace weir::detail::daemon {

class client;
struct server_state;

/// The answer that says what a file is, and which part of it is meant.
answer file_info(std::uint64_t tag, std::uint64_t id, const file_facts& about,
                 file_range range) noexcept;

/// A request that is being carried out, by a coroutine in whose frame this lives: who it is of,
/// what has been told of it, and how far it has come.
///
/// Answers go to its channel, or, where it came without one, to the connection. Progress is told
/// when it can be told at once, and is added to the next answer where it cannot. The last answer is
/// waited with until the channel takes it, or has nobody at its other end.
class transfer {
 public:
  /// Counts towards the limits from here on; the client outlives it.
  transfer(client& owner, const frame_header& asked, std::uint64_t id, endpoint channel);
  transfer(const transfer&) = delete;
  transfer& operator=(const transfer&) = delete;
  ~transfer();

  std::uint64_t id() const noexcept { return id_; }
  server_state& server() const noexcept;
  const endpoint& channel() const noexcept { return channel_; }

  stoppable::awaiter perform(const request& what) noexcept { return steps_.perform(what); }
  /// Waits until a client's descriptor is ready for `events`, or has nobody at its other end: 0, or
  /// why it was stopped.
  task<int> ready(int fd, unsigned events);
  /// Before bytes are moved.
  turns::awaiter turn() noexcept;
  /// After they have been.
  void moved(std::size_t bytes) noexcept;
  std::uint64_t total() const noexcept { return total_; }

  /// Ends it as soon as can be, with that errno.
  void stop(int why) noexcept { steps_.stop(why); }
  int stopped() const noexcept { return steps_.stopped(); }

  /// Waits until the channel has taken it: 0, or why it never will.
  task<int> tell(answer one);
  task<int> tell_file(const file_facts& about, file_range range);
  /// What has been moved since the last answer, if it can be told now; not of a `read`, whose
  /// channel carries the bytes. A channel that nobody reads
  /// any more ends the transfer.
  void tell_progress() noexcept;
  /// The last answer.
  task<> tell_end(int error);
  /// The file's information has been sent by other means, but for its last bytes.
  task<int> tell_rest_of_file(const file_facts& about, file_range range, std::size_t told);

  /// Of what was opened to be sent: gives it the receiver that it waits for. False where it does
  /// not wait for one.
  bool give_receiver(endpoint& to) noexcept;
  /// Waits for that: 0, ETIMEDOUT, or why it was stopped.
  task<int> receiver_given(endpoint& into);

 private:
  task<int> debt_paid();
  void owe(const answer& begun, std::size_t told) noexcept;
  const endpoint& where() const noexcept;
  int try_to_tell(const answer& one) noexcept;
  int pay_debt() noexcept;
  answer status_answer(message kind, int error) noexcept;

  client& owner_;
  stoppable steps_;
  endpoint channel_;
  message kind_;
  std::uint64_t tag_;
  std::uint64_t id_;
  std::int64_t since_ns_;
  std::uint64_t total_ = 0;
  std::uint64_t told_ = 0;  // of these bytes
  // An answer that the channel has taken only the beginning of, and how many bytes are left.
  answer debt_;
  std::uint8_t owed_ = 0;
  bool told_file_ = false;
  endpoint* awaited_receiver_ = nullptr;
};

}  // namespace weir::detail::daemon
