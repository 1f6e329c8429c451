// Receiving: what a socket has is taken without waiting, and written by the driver; what a pipe
// has goes to the file by splice(2), which the driver carries out, since the file may wait for its
// disk. Nobody waits for the sender but by poll(2).

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <span>
#include <utility>

#include "file_state.hpp"
#include "transfer/account.hpp"
#include "transfer/copy.hpp"
#include "transfer/endpoint.hpp"
#include "transfer/pieces.hpp"
#include "transfer/waiting.hpp"
#include "weir/file_system.hpp"
#include "weir/transfer.hpp"

namespace weir {
namespace detail {
namespace {

/// What came of getting on.
enum class step : std::uint8_t { moved, blocked, over };

class receiving {
 public:
  receiving(int from, endpoint_kind kind, file& to, std::uint64_t offset,
            const transfer_options& options, transfer_account& account) noexcept
      : to_(to),
        account_(account),
        offset_(offset),
        from_(from),
        kind_(kind),
        splices_(kind == endpoint_kind::pipe && options.route != transfer_route::buffered &&
                 !state_of(to)->appends && !state_of(to)->direct) {}

  task<step> get_on() {
    if (!account_.may_go_on() || account_.left() == 0) co_return step::over;
    if (splices_) co_return co_await splice_piece();
    co_return co_await pass_piece();
  }

 private:
  /// What came in, and whether that is all there is for now, or for ever.
  struct received {
    std::size_t count = 0;
    bool ended = false;
    std::error_code error;
  };

  task<step> splice_piece();
  task<step> pass_piece();
  task<received> fill(std::span<std::byte> memory);
  received fill_from_socket(std::span<std::byte> memory) const noexcept;
  task<void> write(std::span<const std::byte> data);

  step now() const noexcept { return account_.failed() ? step::over : step::moved; }
  step failed(std::error_code why) noexcept {
    account_.fail(why);
    return step::over;
  }
  step sender_ended() noexcept {
    account_.ended();
    return step::over;
  }

  file& to_;
  transfer_account& account_;
  std::uint64_t offset_;
  int from_;
  endpoint_kind kind_;
  bool splices_;
  bool ready_ = false;  // has been waited for since the last read by the driver
};

task<step> receiving::splice_piece() {
  const io_sender move = splice(to_.context(), from_, no_offset, to_.native_handle(), offset_,
                                account_.next(), SPLICE_F_NONBLOCK);
  const result<std::size_t> moved = co_await awaited_within(account_.limits(), move);
  if (!moved && moved.error() == std::errc::resource_unavailable_try_again) {
    co_return step::blocked;
  }
  if (!moved && moved.error() == std::errc::invalid_argument) {  // this file system cannot
    splices_ = false;
    co_return step::moved;
  }
  if (!moved) co_return failed(moved.error());
  if (*moved == 0) co_return sender_ended();
  offset_ += *moved;
  account_.moved(*moved, transfer_route::splice);
  co_return now();
}

task<step> receiving::pass_piece() {
  const bool asks_driver = kind_ != endpoint_kind::stream_socket;
  if (asks_driver && !std::exchange(ready_, !ready_)) co_return step::blocked;
  result<piece> taken = co_await awaited_within(account_.limits(), piece_sender(to_.context()));
  if (!taken) co_return failed(taken.error());
  piece memory = *std::move(taken);
  const std::size_t wanted = std::min(account_.next(), memory.span().size());
  const received got = co_await fill(memory.span().first(wanted));
  if (got.count != 0) co_await write(memory.span().first(got.count));
  if (got.error) co_return failed(got.error);
  if (got.ended) co_return sender_ended();
  co_return got.count == 0 ? step::blocked : now();
}

// A pipe or device may wait, whatever it is asked, so it is left to the driver.
task<receiving::received> receiving::fill(std::span<std::byte> memory) {
  if (kind_ == endpoint_kind::stream_socket) co_return fill_from_socket(memory);
  const request what{
      .op = opcode::read, .fd = from_, .address = memory.data(), .length = memory.size()};
  const io_sender read(&to_.context(), what);
  const result<std::size_t> got = co_await awaited_within(account_.limits(), read);
  if (!got) co_return received{.error = got.error()};
  co_return received{.count = *got, .ended = *got == 0};
}

// Writes are dear, so it is filled as far as there is something.
receiving::received receiving::fill_from_socket(std::span<std::byte> memory) const noexcept {
  received all;
  while (all.count < memory.size()) {
    const auto got = receive_from_socket(from_, memory.subspan(all.count));
    if (!got && got.error() == std::errc::resource_unavailable_try_again) break;
    if (!got) all.error = got.error();
    all.ended = got && *got == 0;
    if (all.error || all.ended) break;
    all.count += *got;
  }
  return all;
}

task<void> receiving::write(std::span<const std::byte> data) {
  const transfer_result written = co_await to_.write_all_at(data, offset_);
  offset_ += written.transferred;
  account_.moved(written.transferred, transfer_route::buffered);
  if (!written) account_.fail(written.error());
}

task<void> receive_from_stream(int from, endpoint_kind kind, file& to, std::uint64_t offset,
                               const transfer_options& options, transfer_account& account) {
  io_context& context = to.context();
  receiving work(from, kind, to, offset, options, account);
  readiness_wait wait;
  for (;;) {
    const step came = co_await work.get_on();
    if (came == step::over) co_return;
    if (came == step::blocked) {
      const std::error_code error = co_await wait.until(context, from, POLLIN, account.limits());
      if (error) account.fail(error);
    } else {
      wait.succeeded();
      const result<void> turn = co_await context.schedule();
      if (!turn) account.fail(turn.error());
    }
  }
}

task<void> receive_from_file(int from, file& to, std::uint64_t offset,
                             const transfer_options& options, transfer_account& account) {
  auto source = borrow_file(to.context(), from);
  if (!source) {
    account.fail(source.error());
    co_return;
  }
  const copy_part part{.from_offset = source->position, .to_offset = offset};
  co_await copy_between(source->own, to, part, options, account);
  const std::uint64_t reached = source->position + account.outcome().transferred;
  if (const std::error_code error = seek(source->own, reached)) account.fail(error);
}

}  // namespace
}  // namespace detail

task<transfer_outcome> receive_file(int from, file& to, std::uint64_t offset, std::uint64_t length,
                                    transfer_options options) {
  using namespace detail;
  transfer_account account(length, options);
  const result<endpoint_kind> kind = kind_of(from);
  if (!to.is_open()) {
    account.fail(errno_code(EBADF));
  } else if (!kind) {
    account.fail(kind.error());
  } else if (!leads_to(options.route, *kind) || options.route == transfer_route::sendfile) {
    account.fail(errno_code(EINVAL));
  } else if (*kind == endpoint_kind::file) {
    co_await receive_from_file(from, to, offset, options, account);
  } else {
    co_await receive_from_stream(from, *kind, to, offset, options, account);
  }
  if (!account.failed()) co_await make_durable(to, options.sync, account);
  co_return account.outcome();
}

}  // namespace weir
