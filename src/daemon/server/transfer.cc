#include "daemon/server/transfer.hpp"

#include <poll.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "clock.hpp"
#include "daemon/server/client.hpp"
#include "daemon/server/server_state.hpp"

namespace weir::detail::daemon {

answer file_info(std::uint64_t tag, std::uint64_t id, const file_facts& about,
                 file_range range) noexcept {
  return {.kind = message::file_info,
          .tag = tag,
          .id = id,
          .values = {range.length, about.size, static_cast<std::uint64_t>(about.accessed_ns),
                     static_cast<std::uint64_t>(about.modified_ns),
                     static_cast<std::uint64_t>(about.changed_ns)}};
}

transfer::transfer(client& owner, const frame_header& asked, std::uint64_t id, endpoint channel)
    : owner_(owner),
      steps_(owner.server().context),
      channel_(std::move(channel)),
      kind_(asked.kind),
      tag_(asked.tag),
      id_(id),
      since_ns_(monotonic_now_ns()) {
  owner_.begun(*this);
}

transfer::~transfer() { owner_.over(*this); }

server_state& transfer::server() const noexcept { return owner_.server(); }

turns::awaiter transfer::turn() noexcept { return server().round.turn_of(owner_.place()); }

void transfer::moved(std::size_t bytes) noexcept {
  total_ += bytes;
  server().round.spend(owner_.place(), bytes);
  owner_.count_moved(kind_, bytes);
}

// POLLRDHUP is asked for, too, because io_uring carries such a poll out without a descriptor of its
// own, which is what there are too few of (docs/decisions/0024). From a receiver that will only
// read it says nothing, and is not asked for again.
//
// A socket whose queue of errors nobody reads shows POLLERR for ever, and works all the same: to
// ask it again and again would take a processor, which is what a client might want.
task<int> transfer::ready(int fd, unsigned events) {
  constexpr unsigned half_closed = POLLRDHUP;
  for (const unsigned asked : {events | half_closed, events}) {
    const request waiting{.op = opcode::poll, .fd = fd, .flags = asked};
    const std::int32_t answer = co_await steps_.perform(waiting);
    if (answer < 0) co_return -answer;
    const auto seen = static_cast<unsigned>(answer);
    if ((seen & (events | POLLHUP)) != 0) co_return 0;
    if ((seen & half_closed) == 0) break;
  }
  const auto pause = timeout_request(steps_.context(), std::chrono::milliseconds(10));
  co_return -co_await steps_.perform(pause);
}

// --- answers -------------------------------------------------------------------------------------

const endpoint& transfer::where() const noexcept {
  return channel_ ? channel_ : owner_.connection();
}

answer transfer::status_answer(message kind, int error) noexcept {
  return {.kind = kind,
          .status = -error,
          .tag = tag_,
          .id = id_,
          .values = {total_ - told_, total_, 0, 0, 0}};
}

void transfer::owe(const answer& begun, std::size_t told) noexcept {
  debt_ = begun;
  owed_ = static_cast<std::uint8_t>(sizeof begun - told);
}

// 0 once nothing is owed.
int transfer::pay_debt() noexcept {
  while (owed_ != 0) {
    const auto rest = std::as_bytes(std::span(&debt_, 1)).last(owed_);
    const long taken = server().mover.io().write(where(), rest);
    if (taken < 0) return static_cast<int>(-taken);
    owed_ = static_cast<std::uint8_t>(owed_ - taken);
  }
  return 0;
}

// 0: told, or as good as told, since its beginning is out; the rest is owed.
int transfer::try_to_tell(const answer& one) noexcept {
  if (const int error = pay_debt()) return error;
  const auto bytes = std::as_bytes(std::span(&one, 1));
  const long taken = server().mover.io().write(where(), bytes);
  if (taken < 0) return static_cast<int>(-taken);
  if (static_cast<std::size_t>(taken) < sizeof one) owe(one, static_cast<std::size_t>(taken));
  return 0;
}

task<int> transfer::tell(answer one) {
  int error = 0;
  while ((error = try_to_tell(one)) == EAGAIN) {
    if (const int gone = co_await ready(where().fd(), POLLOUT)) co_return gone;
  }
  co_return error != 0 ? error : co_await debt_paid();
}

task<int> transfer::debt_paid() {
  int error = 0;
  while ((error = pay_debt()) == EAGAIN) {
    if (const int gone = co_await ready(where().fd(), POLLOUT)) co_return gone;
  }
  co_return error;
}

task<int> transfer::tell_file(const file_facts& about, file_range range) {
  told_file_ = true;
  co_return co_await tell(file_info(tag_, id_, about, range));
}

task<int> transfer::tell_rest_of_file(const file_facts& about, file_range range, std::size_t told) {
  told_file_ = true;
  if (told < answer_size) owe(file_info(tag_, id_, about, range), told);
  co_return co_await debt_paid();
}

void transfer::tell_progress() noexcept {
  if (total_ == told_ || kind_ == message::read) return;
  const int error = try_to_tell(status_answer(message::progress, 0));
  if (error == 0) {
    told_ = total_;
  } else if (error != EAGAIN) {
    stop(error);
  }
}

// A `stop` says that nothing is to be waited for any more; but the channel hears of it, if it can.
task<> transfer::tell_end(int error) {
  owner_.count_ended(kind_, error, since_ns_);
  const answer last = status_answer(message::ended, error);
  if (kind_ == message::read && told_file_) {
    // The channel carries the file's bytes, and ends too soon.
    if (error != 0) owner_.tell(last);
    co_return;
  }
  if (stopped() != 0) {
    static_cast<void>(try_to_tell(last));
    co_return;
  }
  static_cast<void>(co_await tell(last));
}

// --- opened, to be sent --------------------------------------------------------------------------

bool transfer::give_receiver(endpoint& to) noexcept {
  if (awaited_receiver_ == nullptr) return false;
  *std::exchange(awaited_receiver_, nullptr) = std::move(to);
  steps_.interrupt();
  return true;
}

// A receiver that comes in the same turn as the time limit wins.
task<int> transfer::receiver_given(endpoint& into) {
  awaited_receiver_ = &into;
  const std::int32_t waited =
      co_await perform(timeout_request(steps_.context(), server().options.open_timeout));
  const bool given = std::exchange(awaited_receiver_, nullptr) == nullptr;
  if (stopped() != 0) co_return stopped();
  if (given) co_return 0;
  co_return waited == 0 ? ETIMEDOUT : -waited;
}

}  // namespace weir::detail::daemon
