// What a connection asks for, and who carries it out:
//
//   quick_read.cc   reads that the memory has, at once
//   sending.cc      read, send, open and send_open
//   receiving.cc    receive
//   memory.cc       read_memory and write_memory
//   status.cc       stat and sync

#include "daemon/server/client.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>
#include <string>
#include <utility>

#include "clock.hpp"
#include "daemon/server/carrying_out.hpp"

namespace weir::detail::daemon {
namespace {

// What is heard of one client before others are.
constexpr int messages_in_a_turn = 32;

endpoint endpoint_of(incoming& with, std::size_t which) noexcept {
  return which < with.what().descriptors ? endpoint(with.take(which)) : endpoint();
}

bool writes(message kind) noexcept {
  return kind == message::receive || kind == message::write_memory;
}

}  // namespace

client::client(server_state& server, endpoint connection, peer who)
    : server_(server),
      connection_(std::move(connection)),
      who_(who),
      steps_(server.context),
      operations_(server.context, connection_.fd(), server.options.allow_write),
      nothing_left_(server.context),
      number_(++server.counts.accepted_clients) {
  server_.clients.insert(this);
}

client::~client() {
  server_.clients.erase(this);
  server_.ended.tell();
}

// --- hearing -------------------------------------------------------------------------------------

task<> client::serve() {
  const request readable{.op = opcode::poll, .fd = connection_.fd(), .flags = POLLIN | POLLRDHUP};
  bool connected = true;
  while (connected && co_await steps_.perform(readable) > 0) {
    int heard = 0;
    int batch = 0;
    do {
      batch = server_.inbox.receive(connection_.fd(), [this](incoming& one) { hear(one); });
      heard += batch;
    } while (batch == frame_inbox::most && heard < messages_in_a_turn);
    connected = batch >= 0;
  }
  stop_transfers(ECANCELED);
  operations_.end([this] {
    operations_over_ = true;
    nothing_left_.tell();
  });
  while (!transfers_.empty() || !operations_over_) co_await nothing_left_;
}

void client::hear(incoming& one) {
  const auto asked = check(one.what());
  if (!asked) {
    ++server_.counts.malformed;
    const auto header = one.what().bytes.size() >= sizeof(frame_header)
                            ? read_as<frame_header>(one.what().bytes)
                            : frame_header{};
    return tell({.kind = message::ended, .status = -asked.error(), .tag = header.tag});
  }
  try {
    dispatch(*asked, one);
  } catch (const std::bad_alloc&) {
    tell({.kind = message::ended, .status = -ENOMEM, .tag = asked->header.tag});
  }
}

void client::tell(const answer& one) noexcept {
  static_cast<void>(server_.mover.io().write(connection_, std::as_bytes(std::span(&one, 1))));
}

void client::dispatch(const checked_frame& asked, incoming& with) {
  switch (asked.header.kind) {
    case message::attach:
      return attach(asked, with);
    case message::submit:
      return submit(asked, with);
    case message::send_open:
      return send_opened(asked, with);
    case message::cancel:
      return cancel(asked, with);
    case message::info:
      return tell_about_daemon(asked, with);
    case message::metrics:
      return begin_metrics(asked, with);
    default:
      return begin_transfer(asked, with);
  }
}

// On the channel, if it is one, else on the connection. A channel that has no room for its first
// and only answer is closed without.
void client::answer_to(const checked_frame& asked, const endpoint& channel, int status) noexcept {
  const answer one{.kind = message::ended, .status = status, .tag = asked.header.tag};
  if (!channel || !channel.carries_answers()) return tell(one);
  static_cast<void>(server_.mover.io().write(channel, std::as_bytes(std::span(&one, 1))));
}

// --- operations ----------------------------------------------------------------------------------

void client::attach(const checked_frame& asked, incoming& with) {
  const int refused = server_.draining ? -ESHUTDOWN : 0;
  const int status = refused < 0 ? refused : operations_.attach(asked.attach, with.take(0));
  tell({.kind = message::attached, .status = status, .tag = asked.header.tag});
}

void client::submit(const checked_frame& asked, incoming& with) {
  std::array<descriptor, descriptors_max> files;
  const std::size_t count = with.what().descriptors;
  for (std::size_t i = 0; i < count; ++i) files[i] = with.take(i);
  if (operations_.submit(asked, std::span(files).first(count))) return;
  tell({.kind = message::ended, .status = -EBADMSG, .tag = asked.header.tag});
}

// --- transfers -----------------------------------------------------------------------------------

int client::refusal_of(message kind) const noexcept {
  const daemon_options& options = server_.options;
  if (server_.draining) return ESHUTDOWN;
  if (server_.transfers >= options.max_transfers) return EMFILE;
  if (transfers_.size() >= options.max_transfers_per_client) return EMFILE;
  return writes(kind) && !options.allow_write ? EROFS : 0;
}

void client::begin_transfer(const checked_frame& asked, incoming& with) {
  endpoint channel = endpoint_of(with, 0);
  const message kind = asked.header.kind;
  if (const int error = refusal_of(kind)) {
    ++server_.counts.refused;
    return answer_to(asked, channel, -error);
  }
  endpoint other = endpoint_of(with, 1);
  const std::uint64_t id = server_.ids.next();
  head_start begun;
  if (kind == message::read && read_quickly(*this, asked, id, channel, begun)) return;
  const bool usable = kind == message::read ? channel.takes_bytes() : channel.carries_answers();
  if (channel && !usable) return answer_to(asked, {}, -EINVAL);
  if (kind == message::send && !other.takes_files()) return answer_to(asked, channel, -EINVAL);
  carry_out({.asked = asked.file,
             .id = id,
             .memory_offset = asked.memory_offset,
             .path = std::string(asked.path),
             .channel = std::move(channel),
             .other = std::move(other)},
            std::move(begun));
}

// By themselves from here on: each is a coroutine that owns itself.
void client::carry_out(order what, head_start begun) {
  switch (what.asked.header.kind) {
    case message::receive:
      carry_out_receiving(*this, std::move(what));
      return;
    case message::read_memory:
      carry_out_reading_memory(*this, std::move(what));
      return;
    case message::write_memory:
      carry_out_writing_memory(*this, std::move(what));
      return;
    case message::stat:
      carry_out_stat(*this, std::move(what));
      return;
    case message::sync:
      carry_out_sync(*this, std::move(what));
      return;
    default:
      carry_out_sending(*this, std::move(what), std::move(begun));
  }
}

void client::begin_metrics(const checked_frame& asked, incoming& with) {
  endpoint channel = endpoint_of(with, 0);
  if (!channel.takes_bytes()) return answer_to(asked, {}, -EINVAL);
  if (const int error = refusal_of(asked.header.kind)) return answer_to(asked, channel, -error);
  carry_out_metrics(*this, asked.header, server_.ids.next(), std::move(channel));
}

void client::send_opened(const checked_frame& asked, incoming& with) noexcept {
  endpoint receiver = endpoint_of(with, 0);
  if (!receiver.takes_files()) return answer_to(asked, {}, -EINVAL);
  const auto found = transfers_.find(asked.id);
  if (found == transfers_.end() || !found->second->give_receiver(receiver)) {
    answer_to(asked, {}, -ENOENT);
  }
}

void client::cancel(const checked_frame& asked, incoming& with) noexcept {
  const endpoint channel = endpoint_of(with, 0);
  const auto found = transfers_.find(asked.id);
  if (found == transfers_.end()) return answer_to(asked, channel, -ENOENT);
  found->second->stop(ECANCELED);
  answer_to(asked, channel, 0);
}

void client::stop_transfers(int why) noexcept {
  for (const auto& [id, each] : transfers_) each->stop(why);
}

void client::begun(transfer& one) {
  transfers_.emplace(one.id(), &one);
  ++server_.transfers;
}

void client::over(transfer& one) noexcept {
  transfers_.erase(one.id());
  --server_.transfers;
  if (transfers_.empty()) nothing_left_.tell();
  server_.ended.tell();
}

void client::count_moved(message kind, std::uint64_t bytes) noexcept {
  moved_ += bytes;
  server_.counts.of(kind).bytes += bytes;
}

void client::count_ended(message kind, int error, std::int64_t since_ns) noexcept {
  ++ended_;
  request_counts& counted = server_.counts.of(kind);
  if (error == 0) {
    ++counted.completed;
  } else {
    ++(error == ECANCELED ? counted.cancelled : counted.failed);
  }
  counted.latency.add(static_cast<std::uint64_t>(monotonic_now_ns() - since_ns));
}

void client::tell_about_daemon(const checked_frame& asked, incoming& with) noexcept {
  const endpoint channel = endpoint_of(with, 0);
  const answer one{
      .kind = message::daemon_info,
      .tag = asked.header.tag,
      .values = {static_cast<std::uint64_t>(::getpid()), server_.options.allow_write ? 1U : 0U,
                 server_.options.max_transfers, server_.transfers, server_.clients.size()}};
  if (!channel) return tell(one);
  if (!channel.carries_answers()) return answer_to(asked, {}, -EINVAL);
  static_cast<void>(server_.mover.io().write(channel, std::as_bytes(std::span(&one, 1))));
}

}  // namespace weir::detail::daemon
