#include "weir/merging.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "drivers/adjacency.hpp"
#include "drivers/drivers.hpp"

namespace weir::detail {
namespace {

/// A transfer that the inner driver carries out for several operations, its parts. Every operation
/// on its way through the merging driver is in one of its queues, with the inner driver, or here.
struct group {
  group() noexcept : transfer({}, nullptr), canceller({}, nullptr) {}

  operation transfer;       ///< readv or writev
  operation canceller;      ///< withdraws it
  iovec* vector = nullptr;  ///< room for as many as may be merged
  group* next_free = nullptr;

  operation_queue parts;    ///< by their offsets; a part whose cancel succeeded has that answer
  operation_queue cancels;  ///< of parts; answered when the canceller has been
  bool cancelling = false;  ///< the canceller is on its way
  bool withdrawn = false;   ///< the canceller succeeded: the transfer completes with ECANCELED
  bool given_up = false;    ///< all of it: what is not done now is not done later
  bool back = false;        ///< the transfer has completed, the canceller not yet
};

// An operation that is used again begins anew: nobody has asked to cancel it yet.
void renew(operation& op, const request& what) noexcept {
  std::destroy_at(&op);
  std::construct_at(&op, what, [](operation&) noexcept {});
}

/// What the file under a descriptor has to say about joining its transfers.
struct terms {
  bool may_join = false;
  std::uint64_t misaligned_offset = 0;  ///< bits that must be 0 in a part's offset and length
  std::uint64_t misaligned_memory = 0;  ///< and in its address

  bool hold_for(const request& part) const noexcept {
    return ((part.offset | part.length) & misaligned_offset) == 0 &&
           (reinterpret_cast<std::uintptr_t>(part.address) & misaligned_memory) == 0;
  }
};

// A pipe keeps packets apart, a socket datagrams; an appending write goes where the last one ended.
// Past the page cache, the kernel may take a misaligned part in company that it refuses alone.
terms terms_of(const request& what) noexcept {
  const int flags = ::fcntl(what.fd, F_GETFL);
  if (flags < 0 || (what.op == opcode::write && (flags & O_APPEND) != 0)) return {};
  struct statx status{};
  // Without asking a server: the kind of a file does not change.
  if (::statx(what.fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_DIOALIGN,
              &status) != 0) {
    return {};
  }
  if (!S_ISREG(status.stx_mode) && !S_ISBLK(status.stx_mode)) return {};
  if ((flags & O_DIRECT) == 0) return {.may_join = true};
  constexpr std::uint32_t sector = 512;  // where it is not told (before Linux 6.1)
  return {
      .may_join = true,
      .misaligned_offset = std::max(status.stx_dio_offset_align, sector) - 1,
      .misaligned_memory = (status.stx_dio_mem_align != 0 ? status.stx_dio_mem_align : sector) - 1};
}

// A driver hears in any case that memory is no longer what it was told of.
bool may_be_withdrawn(const operation& op) noexcept { return op.args.op != opcode::forget_memory; }

/// See <weir/merging.hpp>. What is taken in one `submit` is linked up, cut into groups and handed
/// over; what has to be carried out again alone waits in `waiting_`, as does what the inner driver
/// has no room for. A group has two parts or more, so half a queue depth of groups is enough.
class merging_driver final : public driver {
 public:
  merging_driver(std::unique_ptr<driver> inner, const merging_options& options)
      : queue_depth_(options.queue_depth),
        max_bytes_(options.max_bytes),
        max_segments_(std::min(options.max_segments, options.queue_depth)),
        batch_(options.queue_depth, options.max_bytes),
        groups_(options.queue_depth / 2),
        vectors_(groups_.size() * max_segments_),
        inner_(std::move(inner)) {
    iovec* vector = vectors_.data();
    for (group& each : groups_) {
      each.vector = std::exchange(vector, vector + max_segments_);
      give_back(each);
    }
  }

  void submit(operation_queue& staged) noexcept override;
  void reap(operation_queue& completed, deadline until) noexcept override;
  // What is read at once has nothing to be merged with.
  bool context_may_read() const noexcept override { return inner_->context_may_read(); }
  at_once try_at_once(operation& op) noexcept override { return inner_->try_at_once(op); }

  void wake() noexcept override {
    wakes_.fetch_add(1);
    inner_->wake();
  }
  std::int64_t now_ns() const noexcept override { return inner_->now_ns(); }
  std::int32_t perform_now(const request& what) noexcept override {
    return inner_->perform_now(what);
  }
  result<std::uint64_t> random_bits() noexcept override { return inner_->random_bits(); }
  int fd() const noexcept override { return inner_->fd(); }

 private:
  void take_batch(operation_queue& staged) noexcept;
  void merge_batch() noexcept;
  void merge_run(std::uint16_t first, const terms& file) noexcept;
  std::uint16_t end_of_group(std::uint16_t first, const terms& file,
                             unsigned& parts) const noexcept;
  operation& merge(std::uint16_t first, unsigned parts) noexcept;
  void hand_over() noexcept;

  void take(operation_queue& finished, operation_queue& completed) noexcept;
  void complete(operation& op, operation_queue& completed) noexcept;
  void take_transfer(group& done, operation_queue& completed) noexcept;
  void take_canceller(group& of, operation_queue& completed) noexcept;
  void split(group& done, operation_queue& completed) noexcept;

  void cancel(operation& request) noexcept;
  void cancel_part(group& of, operation& request) noexcept;
  void cancel_many(operation& request) noexcept;
  void withdraw(operation& op) noexcept;
  void answer_cancel(operation& request, std::int32_t answer, operation_queue& into) noexcept;

  bool was_woken() const noexcept { return wakes_.load() != wakes_answered_; }
  bool something_waits() const noexcept { return !urgent_.empty() || !waiting_.empty(); }
  group* group_with(const operation& part) noexcept;
  group* group_of(const operation& ours) noexcept;
  void give_back(group& unused) noexcept { unused.next_free = std::exchange(free_, &unused); }

  const std::size_t queue_depth_;
  const std::size_t max_bytes_;
  const unsigned max_segments_;
  adjacency batch_;
  std::size_t in_flight_ = 0;  // taken and not given back, of those that count
  // Groups, cancellers and operations that do not count, taken or handed over: while there are
  // none, whatever comes back is simply passed on.
  std::size_t irregular_ = 0;
  operation_queue urgent_;   // cancel requests for the inner driver
  operation_queue waiting_;  // the rest for the inner driver, not to be merged any more
  operation_queue done_;     // finished here, not yet reaped
  std::atomic<unsigned> wakes_ = 0;
  unsigned wakes_answered_ = 0;

  std::vector<group> groups_;
  std::vector<iovec> vectors_;
  group* free_ = nullptr;
  const std::unique_ptr<driver> inner_;  // last: until it has gone the kernel may use the groups
};

// --- submission ----------------------------------------------------------------------------------

void merging_driver::submit(operation_queue& staged) noexcept {
  take_batch(staged);
  while (!staged.empty() && !takes_room(staged.front().args.op)) {
    operation& op = staged.pop_front();
    if (op.args.op == opcode::cancel) {
      cancel(op);
    } else {
      ++irregular_;
      waiting_.push_back(op);
    }
    take_batch(staged);
  }
  hand_over();
}

// What counts, from the front, as far as there is room.
void merging_driver::take_batch(operation_queue& staged) noexcept {
  const std::size_t room = std::min(queue_depth_ - in_flight_, staged.size());
  operation_queue taken;
  batch_.begin(room);
  while (taken.size() < room && takes_room(staged.front().args.op)) {
    operation& op = staged.pop_front();
    batch_.add(op);
    taken.push_back(op);
  }
  in_flight_ += taken.size();
  batch_.link() ? merge_batch() : waiting_.append(std::move(taken));
}

void merging_driver::merge_batch() noexcept {
  const auto items = batch_.items();
  const request* asked_for = nullptr;  // whose file's terms these are
  terms file;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].follows) continue;
    if (items[i].next == adjacency::none) {
      waiting_.push_back(*items[i].op);
      continue;
    }
    const request& what = items[i].op->args;
    if (asked_for == nullptr || asked_for->fd != what.fd || asked_for->op != what.op) {
      asked_for = &what;
      file = terms_of(what);
    }
    merge_run(static_cast<std::uint16_t>(i), file);
  }
}

// A run of adjacent transfers, as few groups as the limits allow when filled from its beginning.
void merging_driver::merge_run(std::uint16_t first, const terms& file) noexcept {
  while (first != adjacency::none) {
    unsigned parts = 0;
    const std::uint16_t end = end_of_group(first, file, parts);
    waiting_.push_back(parts > 1 ? merge(first, parts) : *batch_.items()[first].op);
    first = end;
  }
}

// The first item that does not belong to the group that begins at `first`, which has `parts`.
std::uint16_t merging_driver::end_of_group(std::uint16_t first, const terms& file,
                                           unsigned& parts) const noexcept {
  const auto items = batch_.items();
  std::size_t bytes = 0;
  std::uint16_t at = first;
  while (at != adjacency::none && parts < max_segments_ && file.may_join) {
    const request& what = items[at].op->args;
    if (!file.hold_for(what) || what.length > max_bytes_ - bytes) break;
    bytes += what.length;
    ++parts;
    at = items[at].next;
  }
  return at != first ? at : items[first].next;
}

operation& merging_driver::merge(std::uint16_t first, unsigned parts) noexcept {
  group& made = *std::exchange(free_, free_->next_free);
  const auto items = batch_.items();
  request joined = items[first].op->args;
  joined.op = joined.op == opcode::read ? opcode::readv : opcode::writev;
  joined.address = made.vector;
  joined.length = parts;
  for (unsigned i = 0; i < parts; ++i, first = items[first].next) {
    operation& part = *items[first].op;
    made.vector[i] = {.iov_base = part.args.address, .iov_len = part.args.length};
    part.set_answer(0);
    made.parts.push_back(part);
  }
  renew(made.transfer, joined);
  ++irregular_;
  return made.transfer;
}

void merging_driver::hand_over() noexcept {
  if (!urgent_.empty()) inner_->submit(urgent_);
  if (!waiting_.empty()) inner_->submit(waiting_);
}

// --- completion ----------------------------------------------------------------------------------

// Whatever a round leaves to be done again is handed over by the next, so nothing depends on a
// later call; only what the inner driver has no room for stays, and that is shown by what it has.
void merging_driver::reap(operation_queue& completed, deadline until) noexcept {
  completed.append(std::move(done_));
  for (bool settled = false; !settled;) {
    hand_over();
    operation_queue finished;
    const bool may_wait = completed.empty() && !was_woken();
    inner_->reap(finished, may_wait ? until : deadline::now());
    const bool quiet = finished.empty();
    take(finished, completed);
    settled = quiet || (!something_waits() && (!completed.empty() || was_woken()));
  }
  wakes_answered_ = wakes_.load();
}

void merging_driver::take(operation_queue& finished, operation_queue& completed) noexcept {
  if (irregular_ == 0) {
    in_flight_ -= finished.size();
    completed.append(std::move(finished));
    return;
  }
  while (!finished.empty()) {
    operation& op = finished.pop_front();
    group* const ours = group_of(op);
    if (ours == nullptr) {
      complete(op, completed);
    } else if (&op == &ours->transfer) {
      take_transfer(*ours, completed);
    } else {
      take_canceller(*ours, completed);
    }
  }
}

void merging_driver::complete(operation& op, operation_queue& completed) noexcept {
  --(takes_room(op.args.op) ? in_flight_ : irregular_);
  completed.push_back(op);
}

void merging_driver::take_transfer(group& done, operation_queue& completed) noexcept {
  --irregular_;
  done.back = true;
  if (!done.cancelling) split(done, completed);
}

void merging_driver::take_canceller(group& of, operation_queue& completed) noexcept {
  --irregular_;
  of.cancelling = false;
  of.withdrawn = of.canceller.answer() == 0;
  while (!of.cancels.empty()) {
    operation& request = of.cancels.pop_front();
    // Not found either means that it has just been done, or in the kernel's hands for good.
    answer_cancel(request, of.withdrawn ? 0 : -EALREADY, completed);
  }
  if (of.back) split(of, completed);
}

// Bytes that moved belong to the parts in their order. A part that has none of them says nothing
// about itself yet: neither that the file ends there, nor why a neighbour failed.
void merging_driver::split(group& done, operation_queue& completed) noexcept {
  auto moved = static_cast<std::uint64_t>(std::max(done.transfer.answer(), 0));
  while (!done.parts.empty()) {
    operation& part = done.parts.pop_front();
    const std::uint64_t share = std::min(moved, part.args.length);
    moved -= share;
    if (share > 0) {
      part.set_answer(static_cast<std::int32_t>(share));
      complete(part, completed);
    } else if (done.given_up || part.answer() == -ECANCELED) {
      part.set_answer(-ECANCELED);
      complete(part, completed);
    } else {
      waiting_.push_back(part);
    }
  }
  done.withdrawn = done.given_up = done.back = false;
  give_back(done);
}

// --- cancelling ----------------------------------------------------------------------------------

void merging_driver::cancel(operation& request) noexcept {
  auto* const target = static_cast<operation*>(request.args.address);
  if (target == nullptr) return cancel_many(request);
  if (group* const of = group_with(*target)) return cancel_part(*of, request);
  if (may_be_withdrawn(*target) && waiting_.remove(*target)) {
    withdraw(*target);
    return answer_cancel(request, 0, done_);
  }
  ++irregular_;
  urgent_.push_back(request);
}

// The other parts go on alone if the transfer is withdrawn, so that need not be avoided.
void merging_driver::cancel_part(group& of, operation& request) noexcept {
  if (of.withdrawn) return answer_cancel(request, 0, done_);
  if (waiting_.remove(of.transfer)) {
    answer_cancel(request, 0, done_);
    return withdraw(of.transfer);
  }
  of.cancels.push_back(request);
  if (of.cancelling) return;
  of.cancelling = true;
  ++irregular_;
  renew(of.canceller, cancel_request(of.transfer));
  urgent_.push_back(of.canceller);
}

void merging_driver::cancel_many(operation& request) noexcept {
  for (group& each : groups_) {
    if (!each.parts.empty() && names(request.args, each.transfer)) each.given_up = true;
  }
  operation_queue waiting = std::move(waiting_);
  while (!waiting.empty()) {
    operation& op = waiting.pop_front();
    names(request.args, op) && may_be_withdrawn(op) ? withdraw(op) : waiting_.push_back(op);
  }
  ++irregular_;
  urgent_.push_back(request);
}

// Of those that the inner driver has not been given.
void merging_driver::withdraw(operation& op) noexcept {
  op.set_answer(-ECANCELED);
  if (group* const ours = group_of(op)) return take_transfer(*ours, done_);
  complete(op, done_);
}

// A part keeps in mind that it has been cancelled until its group comes back.
void merging_driver::answer_cancel(operation& request, std::int32_t answer,
                                   operation_queue& into) noexcept {
  if (answer == 0) static_cast<operation*>(request.args.address)->set_answer(-ECANCELED);
  request.set_answer(answer);
  into.push_back(request);
}

group* merging_driver::group_with(const operation& part) noexcept {
  for (group& each : groups_) {
    bool found = false;
    each.parts.for_each([&](const operation& op) { found = found || &op == &part; });
    if (found) return &each;
  }
  return nullptr;
}

// By its address: it is one of those that lie within `groups_`, or somebody else's.
group* merging_driver::group_of(const operation& ours) noexcept {
  const auto distance =
      reinterpret_cast<std::uintptr_t>(&ours) - reinterpret_cast<std::uintptr_t>(groups_.data());
  const std::size_t index = distance / sizeof(group);
  return index < groups_.size() ? &groups_[index] : nullptr;
}

static_assert(max_queue_depth <= adjacency::most);

bool make_sense(const merging_options& options) noexcept {
  return options.queue_depth >= 1 && options.queue_depth <= max_queue_depth &&
         options.max_bytes >= 1 && options.max_bytes <= transfer_max && options.max_segments >= 1 &&
         options.max_segments <= IOV_MAX;
}

}  // namespace
}  // namespace weir::detail

namespace weir {

result<std::unique_ptr<driver>> make_merging(std::unique_ptr<driver> inner,
                                             const merging_options& options) {
  if (!inner || !detail::make_sense(options)) return std::unexpected(detail::errno_code(EINVAL));
  try {
    return std::make_unique<detail::merging_driver>(std::move(inner), options);
  } catch (const std::bad_alloc&) {
    return std::unexpected(detail::errno_code(ENOMEM));
  }
}

}  // namespace weir
