#include "drivers/timer_queue.hpp"

#include <cerrno>
#include <new>

#include "clock.hpp"

namespace weir::detail {
namespace {

bool before(deadline one, deadline other) noexcept { return one.monotonic_ns < other.monotonic_ns; }

}  // namespace

int timer_queue::insert(operation& op) noexcept {
  const entry added{{static_cast<std::int64_t>(op.args.offset)}, &op};
  try {
    heap_.push_back(added);
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
  rise(heap_.size() - 1, added);
  return 0;
}

bool timer_queue::remove(const operation& op) noexcept {
  const std::uint64_t at = op.args.length;
  if (at >= heap_.size() || heap_[at].op != &op) return false;
  take_out(at);
  return true;
}

void timer_queue::expire(operation_queue& completed) noexcept {
  if (empty()) return;
  const deadline now{monotonic_now_ns()};
  while (!empty() && !before(now, earliest())) {
    operation& op = pop();
    op.set_answer(0);
    completed.push_back(op);
  }
}

void timer_queue::cancel_named(const request& cancel, operation_queue& completed) noexcept {
  if (cancel.fd >= 0) return;
  for (const entry& each : heap_) {
    each.op->set_answer(-ECANCELED);
    completed.push_back(*each.op);
  }
  heap_.clear();
}

// --- the heap ------------------------------------------------------------------------------------

operation& timer_queue::pop() noexcept {
  operation& op = *heap_.front().op;
  take_out(0);
  return op;
}

// The last takes the place of what goes, and moves to where it belongs from there.
void timer_queue::take_out(std::size_t at) noexcept {
  const entry last = heap_.back();
  heap_.pop_back();
  if (at == heap_.size()) return;
  const bool earlier = at > 0 && before(last.time, heap_[(at - 1) / 2].time);
  earlier ? rise(at, last) : sink(at, last);
}

void timer_queue::rise(std::size_t at, entry what) noexcept {
  while (at > 0) {
    const std::size_t parent = (at - 1) / 2;
    if (!before(what.time, heap_[parent].time)) break;
    put(at, heap_[parent]);
    at = parent;
  }
  put(at, what);
}

void timer_queue::sink(std::size_t at, entry what) noexcept {
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(heap_[child + 1].time, heap_[child].time)) ++child;
    if (!before(heap_[child].time, what.time)) break;
    put(at, heap_[child]);
    at = child;
  }
  put(at, what);
}

void timer_queue::put(std::size_t at, entry what) noexcept {
  heap_[at] = what;
  what.op->args.length = at;
}

}  // namespace weir::detail
