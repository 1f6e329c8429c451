#include "daemon/client/remote_operations.hpp"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "daemon/served.hpp"
#include "kernel_abi.hpp"
#include "perform.hpp"

namespace weir::detail::daemon {
namespace {

constexpr std::size_t vectors_max = 1024;  // IOV_MAX
constexpr std::size_t piece_max = std::size_t{1} << 20;

// Tags of cancel requests; those of operations have the number of a record below this bit.
constexpr std::uint64_t cancel_bit = std::uint64_t{1} << 63;

bool is_read(opcode op) noexcept { return op == opcode::read || op == opcode::readv; }
bool is_write(opcode op) noexcept { return op == opcode::write || op == opcode::writev; }
bool is_vectored(opcode op) noexcept { return op == opcode::readv || op == opcode::writev; }
bool is_transfer(opcode op) noexcept { return is_read(op) || is_write(op); }

// What the daemon is asked for: in the shared memory, what a vector held lies together.
opcode as_sent(opcode op) noexcept {
  if (!is_transfer(op)) return op;
  return is_read(op) ? opcode::read : opcode::write;
}

std::span<const iovec> vectors_of(const request& what) noexcept {
  return {static_cast<const iovec*>(what.address), static_cast<std::size_t>(what.length)};
}

// In pieces it would be something else.
bool is_indivisible(const request& what, const shared_files::found& file) noexcept {
  return is_write(what.op) && (file.appends || (what.flags & (RWF_APPEND | rwf_atomic)) != 0);
}

}  // namespace

// With room for the caller's alignment beside the largest piece.
remote_operations::remote_operations(std::size_t most, shared_memory& memory, shared_files& files)
    : memory_(memory),
      files_(files),
      piece_most_(std::min(piece_max, memory.size() / 2 / block_map::block * block_map::block)),
      blocks_(memory.size()),
      records_(most) {
  free_.reserve(most);
  for (std::size_t i = most; i > 0; --i) free_.push_back(static_cast<std::uint32_t>(i - 1));
  waiting_.reserve(most);
  to_send_.reserve(most);
  parts_.reserve(vectors_max);
}

// --- which ---------------------------------------------------------------------------------------

// The bytes of a transfer; nothing where they are too many, or where the request is odd.
std::optional<std::uint64_t> remote_operations::length_of(const request& what) const noexcept {
  if (what.address == nullptr) return std::nullopt;
  if (!is_vectored(what.op)) {
    if (what.length == 0 || what.length > transfer_max) return std::nullopt;
    return what.length;
  }
  if (what.length == 0 || what.length > vectors_max) return std::nullopt;
  std::uint64_t total = 0;
  for (const iovec& each : vectors_of(what)) {
    if (each.iov_len > piece_most_) return std::nullopt;
    total += each.iov_len;
  }
  const bool fits = total != 0 && total <= piece_most_;
  return fits ? std::optional(total) : std::nullopt;
}

std::optional<remote_operations::route> remote_operations::route_of(const request& what,
                                                                    std::int64_t now_ns) noexcept {
  if (!is_served(as_sent(what.op)) || what.fd < 0 || out_of_range(what)) return std::nullopt;
  if (!is_lent(what.priority)) return std::nullopt;
  if (is_transfer(what.op) && !length_of(what)) return std::nullopt;
  // The limit is this process's; the daemon would not stop there.
  if (changes_files(as_sent(what.op)) && file_size_limit() != UINT64_MAX) return std::nullopt;
  route by{.file = files_.use(what.fd, now_ns)};
  if (by.file.slot < 0) return std::nullopt;
  if (what.op == opcode::copy_file_range) {
    by.second_slot = files_.use(static_cast<std::int32_t>(what.mode), now_ns).slot;
  }
  const bool both = what.op != opcode::copy_file_range || by.second_slot >= 0;
  const bool whole = what.length <= piece_most_ || !is_indivisible(what, by.file);
  const bool aligned = !is_vectored(what.op) || !by.file.direct;  // each part as it is
  if (both && whole && aligned) return by;
  files_.release(by.file.slot);
  if (by.second_slot >= 0) files_.release(by.second_slot);
  return std::nullopt;
}

// --- beginning -----------------------------------------------------------------------------------

std::uint64_t remote_operations::tag_of(const record& which) const noexcept {
  const auto index = static_cast<std::uint64_t>(&which - records_.data());
  return (std::uint64_t{which.generation} << 32) | index;
}

remote_operations::record* remote_operations::find(std::uint64_t tag) noexcept {
  const std::uint64_t index = tag & UINT32_MAX;
  if (index >= records_.size()) return nullptr;
  record& which = records_[index];
  return which.op != nullptr && tag_of(which) == tag ? &which : nullptr;
}

remote_operations::record* remote_operations::find(const operation& op) noexcept {
  const auto found = std::ranges::find(records_, &op, &record::op);
  return found != records_.end() ? &*found : nullptr;
}

void remote_operations::begin(operation& op, const route& by) noexcept {
  record& which = records_[free_.back()];
  free_.pop_back();
  which.op = &op;
  which.by = by;
  which.length = is_transfer(op.args.op) ? *length_of(op.args) : 0;
  next_piece(which);
}

// A generation is 31 bits, so that the highest bit of a tag stays for cancel requests.
void remote_operations::free(record& which) noexcept {
  give_memory_back(which);
  files_.release(which.by.file.slot);
  if (which.by.second_slot >= 0) files_.release(which.by.second_slot);
  const std::uint32_t next = (which.generation + 1) & (UINT32_MAX >> 1);
  which = {.generation = next};
  free_.push_back(static_cast<std::uint32_t>(&which - records_.data()));
}

// --- pieces --------------------------------------------------------------------------------------

void remote_operations::next_piece(record& which) noexcept {
  const bool needs_memory = is_transfer(which.op->args.op);
  which.piece = std::min<std::uint64_t>(which.length - which.moved, piece_most_);
  // Nobody overtakes those who wait.
  if (needs_memory && (!waiting_.empty() || !take_memory(which))) {
    which.waits = true;
    waiting_.push_back(static_cast<std::uint32_t>(&which - records_.data()));
    return;
  }
  if (store_piece(which)) send(which);
}

// O_DIRECT looks at the address: the place has the caller's alignment, no better and no worse.
bool remote_operations::take_memory(record& which) noexcept {
  const request& what = which.op->args;
  const auto address = reinterpret_cast<std::uintptr_t>(what.address) + which.moved;
  const std::size_t skew = which.by.file.direct ? address % block_map::block : 0;
  const auto place = blocks_.take(which.piece + skew);
  if (!place) return false;
  which.taken = which.piece + skew;
  which.place = *place + skew;
  return true;
}

void remote_operations::give_memory_back(record& which) noexcept {
  if (which.taken == 0) return;
  blocks_.give_back(which.place / block_map::block * block_map::block, which.taken);
  which.taken = 0;
}

// False where the operation has ended here. What the caller's memory has less of is written less
// of, as the kernel does it.
bool remote_operations::store_piece(record& which) noexcept {
  const request& what = which.op->args;
  if (!is_write(what.op)) return true;
  const iovec piece{static_cast<std::byte*>(what.address) + which.moved, which.piece};
  const auto from = is_vectored(what.op) ? vectors_of(what) : std::span(&piece, 1);
  const std::int64_t stored = memory_.store(from, which.place);
  if (stored <= 0) {
    settle(which, stored < 0 ? stored : -EFAULT);
    return false;
  }
  which.piece = static_cast<std::uint64_t>(stored);
  return true;
}

void remote_operations::send(const record& which) noexcept {
  const request& what = which.op->args;
  wire_operation said{.tag = tag_of(which),
                      .op = as_sent(what.op),
                      .priority = what.priority,
                      .slot = which.by.file.slot,
                      .flags = what.flags,
                      .mode = what.mode,
                      .memory = reinterpret_cast<std::uintptr_t>(what.address),
                      .offset = what.offset,
                      .length = what.length};
  if (is_transfer(what.op)) {
    said.hints = which.by.file.direct ? hint::direct : std::uint8_t{0};
    said.memory = which.place;
    said.offset += which.moved;
    said.length = which.piece;
  } else if (which.by.second_slot >= 0) {
    said.mode = static_cast<std::uint32_t>(which.by.second_slot);
  }
  to_send_.push_back(said);
}

// --- answers -------------------------------------------------------------------------------------

// What an honest daemon can have moved at most.
std::int64_t remote_operations::most_moved(const record& which) noexcept {
  const request& what = which.op->args;
  if (is_transfer(what.op)) return static_cast<std::int64_t>(which.piece);
  if (what.op != opcode::copy_file_range) return 0;
  return static_cast<std::int64_t>(std::min(what.length, transfer_max));
}

bool remote_operations::take_answers(std::span<const std::byte> came) noexcept {
  if (came.size() < sizeof(completed_answer)) return false;
  const auto head = read_as<completed_answer>(came);
  if (head.header.kind != message::completed || head.header.size != came.size()) return false;
  const auto rest = came.subspan(sizeof head);
  if (rest.size() != head.count * sizeof(completed_operation)) return false;
  for (std::size_t i = 0; i < head.count; ++i) {
    if (!take_answer(read_as<completed_operation>(rest, i))) return false;
  }
  return true;
}

bool remote_operations::take_answer(const completed_operation& came) noexcept {
  if ((came.tag & cancel_bit) != 0) return take_cancel_answer(came);
  record* which = find(came.tag);
  if (which == nullptr || which->waits) return false;
  if (came.result < -4095 || came.result > most_moved(*which)) return false;
  if (came.result == -not_served) {
    files_.refuse(which->by.file.slot);
    if (which->by.second_slot >= 0) files_.refuse(which->by.second_slot);
    returned_.push_back(*which->op);
    free(*which);
  } else {
    settle(*which, came.result);
  }
  serve_waiting();
  return true;
}

// A piece, or the whole, has come to this.
void remote_operations::settle(record& which, std::int64_t result) noexcept {
  if (!is_transfer(which.op->args.op)) return finish(which, result);
  if (result > 0) result = load_piece(which, result);
  const bool whole_piece = result == static_cast<std::int64_t>(which.piece);
  if (result > 0) which.moved += static_cast<std::uint64_t>(result);
  if (whole_piece && which.moved < which.length && !which.cancelled) {
    give_memory_back(which);
    return next_piece(which);
  }
  finish(which, which.moved != 0 ? static_cast<std::int64_t>(which.moved) : result);
}

// How many bytes have reached the caller's memory.
std::int64_t remote_operations::load_piece(record& which, std::int64_t count) noexcept {
  const request& what = which.op->args;
  if (!is_read(what.op)) return count;
  const iovec piece{static_cast<std::byte*>(what.address) + which.moved,
                    static_cast<std::size_t>(count)};
  if (!is_vectored(what.op)) return memory_.load({&piece, 1}, which.place);
  // Beyond what was read the caller's memory stays as it was.
  parts_.clear();
  auto left = static_cast<std::size_t>(count);
  for (const iovec& each : vectors_of(what)) {
    parts_.push_back({each.iov_base, std::min(each.iov_len, left)});
    left -= parts_.back().iov_len;
  }
  return memory_.load(parts_, which.place);
}

void remote_operations::finish(record& which, std::int64_t answer) noexcept {
  which.op->set_answer(static_cast<std::int32_t>(answer));
  finished_.push_back(*which.op);
  free(which);
}

void remote_operations::serve_waiting() noexcept {
  std::size_t served = 0;
  while (served < waiting_.size() && take_memory(records_[waiting_[served]])) {
    record& which = records_[waiting_[served++]];
    which.waits = false;
    if (store_piece(which)) send(which);
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(served));
}

void remote_operations::lose_all(std::int32_t answer) noexcept {
  for (const cancelling& each : std::exchange(cancels_, {})) {
    if (each.request->args.address != nullptr) {
      answer_cancel(*each.request, -EALREADY);
    }
  }
  for (operation* each : std::exchange(told_elsewhere_, {})) answer_cancel(*each, 0);
  waiting_.clear();
  to_send_.clear();
  for (record& each : records_) {
    if (each.op != nullptr) finish(each, answer);
  }
}

// --- cancelling ----------------------------------------------------------------------------------

std::optional<std::int32_t> remote_operations::cancel(operation& request,
                                                      operation& target) noexcept {
  record* which = find(target);
  if (which == nullptr) return -ENOENT;
  target.request_cancel();
  which->cancelled = true;
  const bool begun = which->moved != 0;
  if (which->waits) {
    std::erase(waiting_, static_cast<std::uint32_t>(which - records_.data()));
    finish(*which, begun ? static_cast<std::int64_t>(which->moved) : -ECANCELED);
    return begun ? -EALREADY : 0;
  }
  // It ends with the piece that is on its way.
  if (begun) return -EALREADY;
  send_cancel(*which, request);
  return std::nullopt;
}

void remote_operations::cancel_named(operation& request) noexcept {
  for (record& each : records_) {
    // What could be answered here has been told; what will be asked of the daemon is remembered.
    if (each.op != nullptr && names(request.args, *each.op)) cancel(request, *each.op);
  }
}

void remote_operations::others_told(operation& request) noexcept {
  const bool all_told =
      std::ranges::find(cancels_, &request, &cancelling::request) == cancels_.end();
  if (all_told) return answer_cancel(request, 0);
  told_elsewhere_.push_back(&request);
}

void remote_operations::send_cancel(record& target, operation& request) noexcept {
  const std::uint64_t tag = cancel_bit | ++next_cancel_;
  cancels_.push_back({.tag = tag, .request = &request});
  to_send_.push_back({.tag = tag, .op = opcode::cancel, .memory = tag_of(target)});
}

bool remote_operations::take_cancel_answer(const completed_operation& came) noexcept {
  const auto found = std::ranges::find(cancels_, came.tag, &cancelling::tag);
  if (found == cancels_.end() || came.result > 0 || came.result < -4095) return false;
  operation& request = *found->request;
  cancels_.erase(found);
  if (request.args.address != nullptr) {
    answer_cancel(request, came.result);
  } else if (std::erase(told_elsewhere_, &request) != 0) {
    others_told(request);
  }
  return true;
}

void remote_operations::answer_cancel(operation& request, std::int64_t answer) noexcept {
  request.set_answer(static_cast<std::int32_t>(answer));
  finished_.push_back(request);
}

}  // namespace weir::detail::daemon
