#include "weir/streambuf.hpp"

#include <algorithm>
#include <future>
#include <optional>
#include <span>
#include <utility>

namespace weir {
namespace {

// Each of these is one visit to the context's thread.

task<result<std::span<const std::byte>>> look(reader& in, std::size_t used) {
  in.consume(used);
  co_return co_await in.peek();
}

task<std::uint64_t> move_by(reader& in, std::size_t used, std::uint64_t further) {
  in.consume(used);
  if (further != 0) in.skip(further);  // what is at hand stays so otherwise
  co_return in.position();
}

task<std::uint64_t> move_to(reader& in, std::uint64_t position) {
  in.seek(position);
  co_return position;
}

task<transfer_result> put(writer& out, std::span<const char> bytes, bool flushes) {
  const transfer_result accepted = co_await out.write(std::as_bytes(bytes));
  if (!accepted || !flushes) co_return accepted;
  const transfer_result flushed = co_await out.flush();
  if (!flushed) co_return transfer_result{std::unexpected(flushed.error()), bytes.size()};
  co_return accepted;
}

template <class T>
task<void> deliver(task<T> work, std::promise<T> to) {
  to.set_value(co_await std::move(work));
}

}  // namespace

streambuf::streambuf(io_context& context, bool drives, reader* in, writer* out,
                     std::uint64_t limit) noexcept
    : context_(context),
      drives_(drives),
      in_(in),
      out_(out),
      limited_(limit != no_limit),
      left_to_read_(limit),
      left_to_write_(limit) {
  empty_room();
}

streambuf::streambuf(io_thread& thread, reader* in, writer* out, std::uint64_t limit) noexcept
    : streambuf(thread.context(), false, in, out, limit) {}

streambuf::streambuf(io_context& driven_here, reader* in, writer* out, std::uint64_t limit) noexcept
    : streambuf(driven_here, true, in, out, limit) {}

streambuf::~streambuf() {
  if (out_ != nullptr) hand_over();
  if (in_ != nullptr && used() != 0) wait_for(move_by(*in_, used(), 0));
}

// Blocks until `work`, on the context's thread, is done.
template <class T>
T streambuf::wait_for(task<T> work) {
  if (drives_) return context_.run(std::move(work));
  // Its state belongs to both sides: whichever lets go last frees it.
  std::promise<T> done;
  std::future<T> outcome = done.get_future();
  spawn(context_, deliver(std::move(work), std::move(done)));
  return outcome.get();
}

void streambuf::remember(std::error_code failed) noexcept {
  if (!error_) error_ = failed;
}

// --- reading -------------------------------------------------------------------------------------

streambuf::int_type streambuf::underflow() {
  if (gptr() != egptr()) return traits_type::to_int_type(*gptr());
  if (in_ == nullptr || left_to_read_ == 0) return traits_type::eof();
  const auto view = wait_for(look(*in_, used()));
  setg(nullptr, nullptr, nullptr);  // what it showed is consumed
  if (!view) remember(view.error());
  if (!view || view->empty()) return traits_type::eof();
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(view->size(), left_to_read_));
  if (limited_) left_to_read_ -= count;
  // Nobody writes there: putting back another character than was read fails.
  char* first = const_cast<char*>(reinterpret_cast<const char*>(view->data()));
  setg(first, first, first + count);
  return traits_type::to_int_type(*first);
}

void streambuf::skip_rest() {
  if (in_ == nullptr || !limited_) return;
  const auto shown = static_cast<std::size_t>(egptr() - eback());
  wait_for(move_by(*in_, shown, std::exchange(left_to_read_, 0)));
  setg(nullptr, nullptr, nullptr);
}

streambuf::pos_type streambuf::seekoff(off_type offset, std::ios_base::seekdir from,
                                       std::ios_base::openmode which) {
  const pos_type refused(off_type(-1));
  if (in_ == nullptr || limited_ || (which & std::ios_base::in) == 0) return refused;
  if (from == std::ios_base::end) return refused;
  const auto here = static_cast<off_type>(wait_for(move_by(*in_, used(), 0)));
  // What is left of the view stays what it is, now without what has been read of it.
  setg(gptr(), gptr(), egptr());
  if (from == std::ios_base::cur && offset == 0) return here;
  const off_type base = from == std::ios_base::cur ? here : 0;
  off_type target = 0;
  if (__builtin_add_overflow(base, offset, &target) || target < 0) return refused;
  setg(nullptr, nullptr, nullptr);
  return static_cast<off_type>(wait_for(move_to(*in_, static_cast<std::uint64_t>(target))));
}

streambuf::pos_type streambuf::seekpos(pos_type position, std::ios_base::openmode which) {
  return seekoff(off_type(position), std::ios_base::beg, which);
}

// --- writing -------------------------------------------------------------------------------------

void streambuf::empty_room() noexcept {
  const bool writes = out_ != nullptr;
  const std::uint64_t size = writes ? std::min<std::uint64_t>(room_.size(), left_to_write_) : 0;
  setp(room_.data(), room_.data() + size);
}

// Gives the writer what has been put here; false where it does not take all of it.
bool streambuf::hand_over() {
  const std::span<const char> bytes(pbase(), pptr());
  if (bytes.empty()) return true;
  const transfer_result accepted = wait_for(put(*out_, bytes, false));
  if (limited_) left_to_write_ -= bytes.size();
  empty_room();
  if (!accepted) remember(accepted.error());
  return accepted.has_value();
}

streambuf::int_type streambuf::overflow(int_type next) {
  if (out_ == nullptr || !hand_over() || pptr() == epptr()) return traits_type::eof();
  if (traits_type::eq_int_type(next, traits_type::eof())) return traits_type::not_eof(next);
  *pptr() = traits_type::to_char_type(next);
  pbump(1);
  return next;
}

int streambuf::sync() {
  if (out_ == nullptr) return 0;
  if (!hand_over()) return -1;
  const transfer_result flushed = wait_for(put(*out_, {}, true));
  if (!flushed) remember(flushed.error());
  return flushed ? 0 : -1;
}

}  // namespace weir
