// Several files one after the other: a call for each costs more than its bytes, so small ones are
// gathered in memory and sent together.

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "file_state.hpp"
#include "transfer/account.hpp"
#include "transfer/endpoint.hpp"
#include "transfer/pieces.hpp"
#include "transfer/waiting.hpp"
#include "weir/transfer.hpp"

namespace weir {
namespace detail {
namespace {

constexpr std::uint64_t small = std::uint64_t{64} << 10;

bool is_small(const file_part& part) noexcept {
  return part.length <= small && part.from->is_open() && !state_of(*part.from)->direct;
}

/// As many small parts as there are at the beginning of `parts`, and as fit in one piece.
std::span<const file_part> run_of_small(std::span<const file_part> parts,
                                        endpoint_kind kind) noexcept {
  const std::uint64_t most = kind == endpoint_kind::pipe ? small : piece_store::piece_size;
  if (kind != endpoint_kind::pipe && kind != endpoint_kind::stream_socket) return {};
  std::uint64_t total = 0;
  const auto end = std::ranges::find_if(parts, [&](const file_part& each) {
    if (!is_small(each)) return true;
    total += each.length;
    return total > most;
  });
  return parts.first(static_cast<std::size_t>(end - parts.begin()));
}

/// Small parts on their way, in one piece of memory.
class gathering_parts {
 public:
  gathering_parts(std::span<const file_part> parts, bool more, int to, endpoint_kind kind,
                  transfer_account& account) noexcept
      : parts_(parts), account_(account), more_(more), to_(to), kind_(kind) {
    for (const file_part& each : parts) total_ += each.length;
  }

  task<void> send();

 private:
  task<bool> send_what_is_taken();
  task<std::size_t> gather(std::span<std::byte> memory);
  task<std::size_t> read_part(const file_part& part, std::uint64_t skipped,
                              std::span<std::byte> memory);

  std::span<const file_part> parts_;
  transfer_account& account_;
  std::uint64_t total_ = 0;
  std::uint64_t sent_ = 0;
  std::error_code error_;  // that what was gathered last ends with
  bool more_;
  int to_;
  endpoint_kind kind_;
};

task<void> gathering_parts::send() {
  io_context& context = parts_.front().from->context();
  readiness_wait wait;
  while (account_.may_go_on() && sent_ < total_) {
    const bool all = co_await send_what_is_taken();
    if (all || account_.failed()) continue;
    const std::error_code error = co_await wait.until(context, to_, POLLOUT, account_.limits());
    if (error) account_.fail(error);
  }
}

// False where the receiver did not take all that was gathered.
task<bool> gathering_parts::send_what_is_taken() {
  io_context& context = parts_.front().from->context();
  result<piece> memory = co_await awaited_within(account_.limits(), piece_sender(context));
  if (!memory) co_return account_.fail(memory.error());
  const std::size_t gathered = co_await gather(memory->span());
  const std::array<iovec, 1> one{iovec{memory->span().data(), gathered}};
  result<std::size_t> taken = 0;
  if (gathered != 0) {
    taken = kind_ == endpoint_kind::pipe ? send_to_pipe(to_, one)
                                         : send_to_socket(to_, one, more_ && !error_);
  }
  if (!taken && taken.error() == std::errc::resource_unavailable_try_again) co_return false;
  if (!taken) co_return account_.fail(taken.error());
  sent_ += *taken;
  account_.moved(*taken, transfer_route::buffered);
  if (*taken == gathered && error_) account_.fail(error_);
  co_return *taken == gathered;
}

// From what has been sent on, up to the first part that cannot be read.
task<std::size_t> gathering_parts::gather(std::span<std::byte> memory) {
  error_ = {};
  std::size_t gathered = 0;
  std::uint64_t skipped = sent_;
  for (const file_part& each : parts_) {
    const std::uint64_t here = std::min(skipped, each.length);
    skipped -= here;
    if (here == each.length) continue;
    const auto wanted = static_cast<std::size_t>(each.length - here);
    const std::size_t count = co_await read_part(each, here, memory.subspan(gathered, wanted));
    gathered += count;
    if (count < wanted) break;
  }
  co_return gathered;
}

task<std::size_t> gathering_parts::read_part(const file_part& part, std::uint64_t skipped,
                                             std::span<std::byte> memory) {
  std::size_t count = 0;
  while (count < memory.size()) {
    const io_sender read = part.from->read_at(memory.subspan(count), part.offset + skipped + count);
    const result<std::size_t> got = co_await awaited_within(account_.limits(), read);
    if (!got) error_ = got.error();
    if (got && *got == 0) error_ = make_error_code(errc::short_read);
    if (error_) break;
    count += *got;
  }
  co_return count;
}

// Large ones, and those of which nobody knows how large they are.
task<void> send_alone(const file_part& part, int to, bool more, const transfer_options& options,
                      transfer_account& account) {
  transfer_options alone{.stop = options.stop,
                         .route = options.route,
                         .piece = options.piece,
                         .untrusted = options.untrusted};
  alone.more_follows = more;
  if (options.deadline) alone.deadline = account.limits().left();
  const std::uint64_t before = account.outcome().transferred;
  if (options.progress) {
    alone.progress = [&, before](std::uint64_t moved) { options.progress(before + moved); };
  }
  const transfer_outcome sent =
      co_await send_file(*part.from, to, part.offset, part.length, std::move(alone));
  account.add(sent);
}

}  // namespace
}  // namespace detail

task<transfer_outcome> send_files(std::span<const file_part> parts, int to,
                                  transfer_options options) {
  using namespace detail;
  transfer_account account(to_the_end, options);
  const result<endpoint_kind> kind = kind_of(to);
  if (!kind) account.fail(kind.error());
  while (!parts.empty() && account.may_go_on()) {
    const std::span<const file_part> together = run_of_small(parts, *kind);
    const std::size_t count = std::max<std::size_t>(together.size(), 1);
    const bool more = options.more_follows || count < parts.size();
    if (together.empty()) {
      co_await send_alone(parts.front(), to, more, options, account);
    } else {
      gathering_parts work(together, more, to, *kind, account);
      co_await work.send();
    }
    parts = parts.subspan(count);
    if (parts.empty() || account.failed() || !parts.front().from->is_open()) continue;
    const result<void> turn = co_await parts.front().from->context().schedule();
    if (!turn) account.fail(turn.error());
  }
  co_return account.outcome();
}

}  // namespace weir
