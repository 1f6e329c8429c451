// From file to file: the blocks are shared, or copied by the file system, or else read and written,
// the next while the last is on its way. What one route refuses the next one does.

#include "transfer/copy.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "file_state.hpp"
#include "stream/blocks.hpp"
#include "transfer/endpoint.hpp"
#include "transfer/pieces.hpp"
#include "transfer/reading.hpp"
#include "transfer/waiting.hpp"
#include "weir/file_system.hpp"

namespace weir {
namespace detail {
namespace {

/// A part of a file, from where the copy has come to: data, or a hole.
struct extent {
  std::uint64_t end = 0;
  bool is_hole = false;
};

// As `file` adopts it, which may find no memory.
file adopt(io_context& context, int fd) {
  try {
    return {context, fd};
  } catch (...) {
    ::close(fd);
    throw;
  }
}

class copying {
 public:
  copying(file& from, file& to, copy_part part, const transfer_options& options,
          transfer_account& account) noexcept
      : from_(from),
        to_(to),
        account_(account),
        wanted_(options.route),
        at_(part.from_offset),
        shift_(part.to_offset - part.from_offset) {}

  task<void> run();

 private:
  task<bool> look_at_both();
  task<bool> share();
  task<bool> copy_extents();
  task<bool> copy_some();
  extent next_extent() noexcept;
  task<bool> skip_hole(std::uint64_t length);
  task<bool> copy_by_file_system(std::uint64_t length);
  task<bool> pass_through_memory(std::uint64_t length);
  task<result<std::span<std::byte>>> read(piece& memory, std::uint64_t offset, std::uint64_t end);
  task<bool> write(std::span<std::byte> data);

  bool tries(transfer_route route) const noexcept {
    return wanted_ == transfer_route::automatic || wanted_ == route;
  }
  bool is_refusal(std::error_code why) const noexcept;
  /// Where the data ends that is known to be there.
  std::uint64_t known_end() const noexcept {
    return from_size_ - at_ < account_.left() ? from_size_ : at_ + account_.left();
  }
  std::uint64_t target_offset() const noexcept { return at_ + shift_; }
  void advance(std::uint64_t count, transfer_route by) {
    at_ += count;
    to_size_ = std::max(to_size_, target_offset());
    account_.moved(count, by);
  }

  file& from_;
  file& to_;
  transfer_account& account_;
  const transfer_route wanted_;
  std::uint64_t at_;           // in the source
  const std::uint64_t shift_;  // from there to the place in the target
  std::uint64_t from_size_ = 0;
  std::uint64_t to_size_ = 0;
  bool sparse_ = false;
  bool by_file_system_ = false;
};

// What has come to the source since, or what of the range it does not have, is found by reading on.
task<void> copying::run() {
  bool good = co_await look_at_both();
  if (good && at_ < from_size_ && account_.left() != 0) {
    const bool shared = co_await share();
    good = !account_.failed();
    if (good && !shared) good = co_await copy_extents();
  }
  if (!good || account_.left() == 0) co_return;
  good = co_await pass_through_memory(account_.left());
  if (good) account_.ended();
}

task<bool> copying::look_at_both() {
  const result<file_status> source = co_await from_.stat();
  if (!source) co_return account_.fail(source.error());
  const result<file_status> target = co_await to_.stat();
  if (!target) co_return account_.fail(target.error());
  if (source->device == target->device && source->inode == target->inode) {
    co_return account_.fail(errno_code(EINVAL));
  }
  const bool appends = state_of(to_)->appends;
  const bool direct = state_of(from_)->direct || state_of(to_)->direct;
  from_size_ = source->size;
  to_size_ = target->size;
  // Only what has a length can be given holes.
  const bool has_length = (target->mode & S_IFMT) == S_IFREG;
  sparse_ = source->allocated < source->size && has_length && !appends;
  by_file_system_ = tries(transfer_route::copy_file_range) && !appends && !direct;
  co_return true;
}

// By which a file system, or two of them, or an O_APPEND target say that they cannot do it so.
bool copying::is_refusal(std::error_code why) const noexcept {
  if (wanted_ != transfer_route::automatic) return false;
  constexpr std::array known = {EOPNOTSUPP, EXDEV, EINVAL, ENOTTY, ENOSYS, EBADF, EPERM, ETXTBSY};
  return why.category() == std::system_category() &&
         std::ranges::find(known, why.value()) != known.end();
}

// --- without reading -----------------------------------------------------------------------------

// Of a length that ends where the file does not end, a file system wants whole blocks; where the
// file has become longer or shorter meanwhile it refuses.
task<bool> copying::share() {
  if (!tries(transfer_route::reflink)) co_return false;
  const std::uint64_t length = known_end() - at_;
  const request what{.op = opcode::clone_range,
                     .fd = from_.native_handle(),
                     .mode = static_cast<std::uint32_t>(to_.native_handle()),
                     .address = reinterpret_cast<void*>(target_offset()),
                     .offset = at_,
                     .length = length};
  const result<void> shared = co_await io_void_sender(&from_.context(), what);
  if (!shared) {
    if (!is_refusal(shared.error())) account_.fail(shared.error());
    co_return false;
  }
  advance(length, transfer_route::reflink);
  co_return true;
}

task<bool> copying::copy_by_file_system(std::uint64_t length) {
  const io_sender copy = copy_range(from_.context(), from_.native_handle(), at_,
                                    to_.native_handle(), target_offset(), length);
  const result<std::size_t> copied = co_await copy;
  if (!copied && is_refusal(copied.error())) {
    by_file_system_ = false;
    co_return true;
  }
  if (!copied) co_return account_.fail(copied.error());
  if (*copied == 0) from_size_ = at_;  // it has become shorter
  advance(*copied, transfer_route::copy_file_range);
  co_return true;
}

// --- extents -------------------------------------------------------------------------------------

task<bool> copying::copy_extents() {
  while (at_ < known_end()) {
    if (!account_.may_go_on()) co_return false;
    const bool good = co_await copy_some();
    if (!good) co_return false;
  }
  co_return true;
}

task<bool> copying::copy_some() {
  const extent next = next_extent();
  const std::uint64_t length = next.end - at_;
  if (next.is_hole) co_return co_await skip_hole(length);
  if (!by_file_system_) co_return co_await pass_through_memory(length);
  co_return co_await copy_by_file_system(std::min<std::uint64_t>(length, account_.next()));
}

// From here on. Whole pages, so that O_DIRECT is content.
extent copying::next_extent() noexcept {
  const std::uint64_t end = known_end();
  if (!sparse_) return {.end = end};
  const int fd = from_.native_handle();
  const off_t data = ::lseek(fd, static_cast<off_t>(at_), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return {.end = end, .is_hole = true};
  const off_t hole = data < 0 ? -1 : ::lseek(fd, data, SEEK_HOLE);
  if (hole < 0) {
    sparse_ = false;  // nobody can say where the holes are
    return {.end = end};
  }
  const std::uint64_t begin = page_start(static_cast<std::uint64_t>(data));
  if (begin > at_) return {.end = std::min(begin, end), .is_hole = true};
  return {.end = std::min(page_end(static_cast<std::uint64_t>(hole)), end)};
}

// The target may have had data there, or may not be as long.
task<bool> copying::skip_hole(std::uint64_t length) {
  if (to_size_ > target_offset()) {
    const std::uint64_t there = std::min(length, to_size_ - target_offset());
    const result<void> punched =
        co_await to_.allocate(target_offset(), there, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    if (!punched) {
      if (punched.error() != std::errc::operation_not_supported) {
        co_return account_.fail(punched.error());
      }
      co_return co_await pass_through_memory(length);
    }
  }
  if (target_offset() + length > to_size_) {
    const result<void> longer = co_await to_.truncate(target_offset() + length);
    if (!longer) co_return account_.fail(longer.error());
  }
  advance(length, by_file_system_ ? transfer_route::copy_file_range : transfer_route::buffered);
  co_return true;
}

// --- through memory ------------------------------------------------------------------------------

// With a second piece the next read is under way during a write. It is not waited for: those who
// hold one each would wait for each other.
task<bool> copying::pass_through_memory(std::uint64_t length) {
  const std::uint64_t end = at_ + std::min(length, to_the_end - at_);
  result<piece> taken = co_await awaited_within(account_.limits(), piece_sender(from_.context()));
  if (!taken) co_return account_.fail(taken.error());
  std::optional<piece> spare = piece_store::of_this_thread()->try_take();
  auto data = co_await read(*taken, at_, end);
  while (data && !data->empty()) {
    if (!account_.may_go_on()) co_return false;
    bool written = false;
    if (spare) {
      auto both = co_await when_all(write(*data), read(*spare, at_ + data->size(), end));
      std::tie(written, data) = std::move(both);
      std::swap(*taken, *spare);
    } else {
      written = co_await write(*data);
      if (written) data = co_await read(*taken, at_, end);
    }
    if (!written) co_return false;
  }
  if (!data) co_return account_.fail(data.error());
  if (at_ < end) from_size_ = at_;  // it ends here
  co_return true;
}

task<result<std::span<std::byte>>> copying::read(piece& memory, std::uint64_t offset,
                                                 std::uint64_t end) {
  if (offset >= end) co_return std::span<std::byte>{};
  const piece_read next(from_, memory.span(), offset, end - offset);
  const result<std::size_t> got = co_await awaited_within(account_.limits(), next.on(from_));
  if (!got) co_return std::unexpected(got.error());
  co_return next.of(*got);
}

// The last page for O_DIRECT is filled up, and the file cut; but not where the target has data of
// its own behind it. A piece consists of whole pages, so there is room if the data begins at one.
task<bool> copying::write(std::span<std::byte> data) {
  const bool at_page = reinterpret_cast<std::uintptr_t>(data.data()) % page == 0;
  const bool pads = state_of(to_)->direct && at_page && data.size() % page != 0 &&
                    target_offset() + data.size() >= to_size_;
  const std::size_t length = pads ? page_end(data.size()) : data.size();
  if (pads) std::memset(data.data() + data.size(), 0, length - data.size());
  const transfer_result written = co_await to_.write_all_at({data.data(), length}, target_offset());
  advance(std::min(written.transferred, data.size()), transfer_route::buffered);
  if (!written) co_return account_.fail(written.error());
  if (!pads) co_return true;
  const result<void> cut = co_await to_.truncate(target_offset());
  co_return cut ? true : account_.fail(cut.error());
}

}  // namespace

task<void> copy_between(file& from, file& to, copy_part part, const transfer_options& options,
                        transfer_account& account) {
  copying work(from, to, part, options, account);
  co_await work.run();
}

task<void> make_durable(file& written, durability how, transfer_account& account) {
  if (how == durability::none) co_return;
  result<void> synced;
  if (how == durability::data) {
    synced = co_await written.datasync();
  } else {
    synced = co_await written.sync();
  }
  if (!synced) account.fail(synced.error());
}

// --- somebody else's descriptor ------------------------------------------------------------------

result<borrowed_file> borrow_file(io_context& context, int fd) {
  const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return std::unexpected(errno_code(errno));
  borrowed_file borrowed{.own = adopt(context, own)};
  const bool appends = state_of(borrowed.own)->appends;
  const off_t position = ::lseek(own, 0, appends ? SEEK_END : SEEK_CUR);
  if (position < 0) return std::unexpected(errno_code(errno));
  borrowed.position = static_cast<std::uint64_t>(position);
  return borrowed;
}

std::error_code seek(const file& of, std::uint64_t position) noexcept {
  const auto to = static_cast<off_t>(position);
  return ::lseek(of.native_handle(), to, SEEK_SET) < 0 ? errno_code(errno) : std::error_code{};
}

}  // namespace detail

task<transfer_outcome> copy_file(file& from, file& to, copy_part part, transfer_options options) {
  using namespace detail;
  transfer_account account(part.length, options);
  if (!from.is_open() || !to.is_open()) {
    account.fail(errno_code(EBADF));
  } else if (!leads_to(options.route, endpoint_kind::file)) {
    account.fail(errno_code(EINVAL));
  } else {
    co_await copy_between(from, to, part, options, account);
  }
  if (!account.failed()) co_await make_durable(to, options.sync, account);
  co_return account.outcome();
}

}  // namespace weir
