// Sending: directly from the page cache, where the receiver takes that without waiting and the
// bytes are there; else through memory, by reads that the driver carries out.

#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "file_state.hpp"
#include "transfer/account.hpp"
#include "transfer/copy.hpp"
#include "transfer/endpoint.hpp"
#include "transfer/pieces.hpp"
#include "transfer/reading.hpp"
#include "transfer/waiting.hpp"
#include "weir/transfer.hpp"

namespace weir {
namespace detail {
namespace {

/// What came of getting on.
enum class step : std::uint8_t { moved, blocked, needs_memory, over };

/// Memory in the order in which it is sent.
class gathered_parts {
 public:
  void add(std::span<const std::byte> part) noexcept {
    // Only read.
    if (!part.empty()) parts_[count_++] = {const_cast<std::byte*>(part.data()), part.size()};
    size_ += part.size();
  }
  std::span<const iovec> all() const noexcept { return std::span(parts_).first(count_); }
  std::size_t size() const noexcept { return size_; }

 private:
  std::array<iovec, 3> parts_{};
  std::size_t count_ = 0;
  std::size_t size_ = 0;
};

class sending {
 public:
  sending(file& from, int to, endpoint_kind kind, std::uint64_t offset,
          const transfer_options& options, transfer_account& account) noexcept
      : from_(from),
        account_(account),
        header_(options.header),
        trailer_(options.trailer),
        offset_(offset),
        to_(to),
        kind_(kind),
        more_follows_(options.more_follows),
        direct_(direct_route(to, kind, account.left(), options)),
        room_(most_room()) {}

  /// All of a few pages, if they are in memory, and as much as is taken of them; for the small file
  /// in a hurry. Nothing where that is not so simple.
  step at_once();
  /// What can be done without memory and without waiting.
  step directly();
  /// One piece by way of memory, for which it waits.
  task<step> through_memory();

 private:
  static transfer_route direct_route(int to, endpoint_kind kind, std::uint64_t length,
                                     const transfer_options& options) noexcept;

  step file_directly(std::size_t length);
  std::size_t cached_length() noexcept;
  task<step> put_by_driver(std::span<const std::byte> data);
  step put(std::span<const std::byte> data);
  gathered_parts around(std::span<const std::byte> data) const noexcept;
  bool more_after(std::span<const std::byte> data) const noexcept;
  void count(std::size_t sent, std::size_t data);
  void expect_room(std::size_t taken, bool was_full) noexcept;
  std::size_t most_room() const noexcept {
    return kind_ == endpoint_kind::pipe ? least_room : piece_store::piece_size;
  }

  step now() const noexcept {
    const bool done = account_.left() == 0 && header_.empty() && trailer_.empty();
    return done || account_.failed() ? step::over : step::moved;
  }
  /// Less was taken than was there: another attempt would only say EAGAIN.
  step full() const noexcept { return now() == step::over ? step::over : step::blocked; }
  step failed(std::error_code why) noexcept {
    account_.fail(why);
    return step::over;
  }

  file& from_;
  transfer_account& account_;
  std::span<const std::byte> header_;  // what is left of it
  std::span<const std::byte> trailer_;
  std::uint64_t offset_;
  std::uint64_t size_ = 0;  // of the file, when that was last looked at
  int to_;
  endpoint_kind kind_;
  bool more_follows_;
  transfer_route direct_;  // `buffered` for none
  std::size_t room_;       // that the receiver is likely to have

  static constexpr std::size_t few_pages = std::size_t{16} << 10;
  static constexpr std::size_t least_room = std::size_t{64} << 10;  // a pipe's
};

// A few pages are read and sent before it has been found out what the receiver is.
transfer_route sending::direct_route(int to, endpoint_kind kind, std::uint64_t length,
                                     const transfer_options& options) noexcept {
  const bool hurries = options.route == transfer_route::automatic && length <= few_pages &&
                       kind == endpoint_kind::stream_socket;
  if (hurries || options.route == transfer_route::buffered) return transfer_route::buffered;
  return direct_route_to(to, kind, options.untrusted);
}

// --- a few pages ---------------------------------------------------------------------------------

// The memory is the stack's, which is in the nearest cache, and there is no coroutine.
step sending::at_once() {
  if (!account_.may_go_on() || now() == step::over) return step::over;
  if (kind_ != endpoint_kind::stream_socket || direct_ != transfer_route::buffered ||
      account_.left() == 0 || account_.next() > few_pages || state_of(from_)->direct) {
    return step::needs_memory;
  }
  std::array<std::byte, few_pages> memory;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  const auto wanted = static_cast<std::size_t>(account_.left());
  awaiter<io_sender> read(from_.read_at(std::span(memory).first(wanted), offset_));
  if (!read.await_ready()) return step::needs_memory;
  const result<std::size_t> got = read.await_resume();
  if (!got || *got == 0) return step::needs_memory;
  return put(std::span(memory).first(*got));
}

// --- without memory ------------------------------------------------------------------------------

step sending::directly() {
  if (!account_.may_go_on()) return step::over;
  if (kind_ == endpoint_kind::device) return now() == step::over ? step::over : step::needs_memory;
  if (account_.left() == 0) return now() == step::over ? step::over : put({});
  const std::size_t length = direct_ == transfer_route::buffered ? 0 : cached_length();
  if (length == 0) return step::needs_memory;
  return header_.empty() ? file_directly(length) : put({});
}

// Only of what the file is known to have: the end is left to a read, which can tell.
std::size_t sending::cached_length() noexcept {
  const int fd = from_.native_handle();
  if (offset_ >= size_) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return 0;
    size_ = static_cast<std::uint64_t>(status.st_size);
    if (offset_ >= size_) return 0;
  }
  const auto length =
      static_cast<std::size_t>(std::min<std::uint64_t>(account_.next(), size_ - offset_));
  return all_cached(fd, offset_, length) ? length : 0;
}

step sending::file_directly(std::size_t length) {
  const auto moved = move_directly(direct_, from_.native_handle(), offset_, to_, length);
  if (moved && *moved != 0) {
    offset_ += *moved;
    account_.moved(*moved, direct_);
    return *moved < length ? full() : now();
  }
  if (!moved && moved.error() == std::errc::resource_unavailable_try_again) return step::blocked;
  // The file has become shorter, or its file system cannot do this.
  if (moved || moved.error() == std::errc::invalid_argument) {
    direct_ = transfer_route::buffered;
    return step::needs_memory;
  }
  return failed(moved.error());
}

// --- through memory ------------------------------------------------------------------------------

task<step> sending::through_memory() {
  piece memory;
  std::span<const std::byte> data;
  if (account_.left() != 0) {
    result<piece> taken = co_await awaited_within(account_.limits(), piece_sender(from_.context()));
    if (!taken) co_return failed(taken.error());
    memory = *std::move(taken);
    const piece_read next(from_, memory.span(), offset_, std::min(account_.next(), room_));
    const result<std::size_t> got = co_await awaited_within(account_.limits(), next.on(from_));
    if (!got) co_return failed(got.error());
    data = next.of(*got);
    if (data.empty()) account_.ended();
    if (now() == step::over) co_return step::over;
  }
  if (kind_ == endpoint_kind::device) co_return co_await put_by_driver(data);
  co_return put(data);
}

// A device may wait, whatever it is asked, so it is left to the driver.
task<step> sending::put_by_driver(std::span<const std::byte> data) {
  const gathered_parts parts = around(data);
  const request what{.op = opcode::writev,
                     .fd = to_,
                     .address = const_cast<iovec*>(parts.all().data()),  // only read
                     .length = parts.all().size()};
  const io_sender write(&from_.context(), what);
  const result<std::size_t> written = co_await awaited_within(account_.limits(), write);
  if (!written) co_return failed(written.error());
  count(*written, data.size());
  co_return now();
}

step sending::put(std::span<const std::byte> data) {
  const gathered_parts parts = around(data);
  const auto sent = kind_ == endpoint_kind::pipe
                        ? send_to_pipe(to_, parts.all())
                        : send_to_socket(to_, parts.all(), more_after(data));
  if (!sent && sent.error() == std::errc::resource_unavailable_try_again) return step::blocked;
  if (!sent) return failed(sent.error());
  count(*sent, data.size());
  expect_room(*sent, *sent < parts.size());
  return *sent < parts.size() ? full() : now();
}

// What is not taken has been read in vain, and is read again.
void sending::expect_room(std::size_t taken, bool was_full) noexcept {
  room_ = std::clamp(was_full ? taken : 2 * room_, least_room, most_room());
}

gathered_parts sending::around(std::span<const std::byte> data) const noexcept {
  gathered_parts parts;
  parts.add(header_);
  parts.add(data);
  if (data.size() == account_.left()) parts.add(trailer_);
  return parts;
}

// Never said where nothing may follow: the last packet would wait for it.
bool sending::more_after(std::span<const std::byte> data) const noexcept {
  if (more_follows_) return true;
  if (account_.is_explicit() || data.empty()) return data.size() < account_.left();
  return !trailer_.empty();
}

void sending::count(std::size_t sent, std::size_t data) {
  const auto take_from = [&](std::span<const std::byte>& framing) {
    const std::size_t part = std::min(sent, framing.size());
    framing = framing.subspan(part);
    sent -= part;
    account_.framed(part);
  };
  take_from(header_);
  const std::size_t moved = std::min(sent, data);
  sent -= moved;
  offset_ += moved;
  take_from(trailer_);
  account_.moved(moved, transfer_route::buffered);
}

// --- to something that may not be ready ----------------------------------------------------------

task<void> go_on_sending(io_context& context, int to, sending& work, transfer_account& account) {
  readiness_wait wait;
  for (;;) {
    step came = work.directly();
    if (came == step::needs_memory) came = co_await work.through_memory();
    if (came == step::over) co_return;
    if (came == step::blocked) {
      const std::error_code error = co_await wait.until(context, to, POLLOUT, account.limits());
      if (error) account.fail(error);
    } else {
      wait.succeeded();
      const result<void> turn = co_await context.schedule();
      if (!turn) account.fail(turn.error());
    }
  }
}

// --- to a file, where it stands ------------------------------------------------------------------

task<void> write_framing(file& to, std::uint64_t& position, std::span<const std::byte> framing,
                         transfer_account& account) {
  const transfer_result written = co_await to.write_all_at(framing, position);
  position += written.transferred;
  account.framed(written.transferred);
  if (!written) account.fail(written.error());
}

task<void> send_to_file(file& from, int to, std::uint64_t offset, const transfer_options& options,
                        transfer_account& account) {
  auto target = borrow_file(from.context(), to);
  if (!target) {
    account.fail(target.error());
    co_return;
  }
  std::uint64_t& position = target->position;
  if (!options.header.empty()) {
    co_await write_framing(target->own, position, options.header, account);
  }
  if (!account.failed()) {
    const copy_part part{.from_offset = offset, .to_offset = position};
    co_await copy_between(from, target->own, part, options, account);
    position += account.outcome().transferred;
  }
  if (!account.failed() && !options.trailer.empty()) {
    co_await write_framing(target->own, position, options.trailer, account);
  }
  if (const std::error_code error = seek(target->own, position)) account.fail(error);
}

}  // namespace
}  // namespace detail

task<transfer_outcome> send_file(file& from, int to, std::uint64_t offset, std::uint64_t length,
                                 transfer_options options) {
  using namespace detail;
  transfer_account account(length, options);
  const result<endpoint_kind> kind = kind_of(to);
  if (!from.is_open()) {
    account.fail(errno_code(EBADF));
  } else if (!kind) {
    account.fail(kind.error());
  } else if (!leads_to(options.route, *kind)) {
    account.fail(errno_code(EINVAL));
  } else if (*kind == endpoint_kind::file) {
    co_await send_to_file(from, to, offset, options, account);
  } else {
    sending work(from, to, *kind, offset, options, account);
    if (work.at_once() != step::over) {
      co_await go_on_sending(from.context(), to, work, account);
    }
  }
  co_return account.outcome();
}

}  // namespace weir
