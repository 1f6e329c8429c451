#include "commit_group.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "file_state.hpp"
#include "misuse.hpp"
#include "weir/io_context.hpp"

namespace weir::detail {
namespace {

constexpr std::int64_t longest_pause_ns = 1'000'000;

}  // namespace

commit_group::barrier::~barrier() {
  if (waiter_) misuse("a commit was destroyed while it waited for its barrier");
}

// Nothing that was lost can be made durable.
bool commit_group::barrier::await_ready() noexcept {
  answer_ = group_.file_.failed_sync.load(std::memory_order_relaxed);
  return answer_ != 0;
}

void commit_group::barrier::await_suspend(std::coroutine_handle<> waiter) noexcept {
  waiter_ = waiter;
  group_.join(*this);
}

void commit_group::barrier::answer_with(std::int32_t answer) noexcept {
  answer_ = answer;
  std::exchange(waiter_, nullptr).resume();  // `this` is gone from here on
}

void commit_group::join(barrier& one) noexcept {
  one.next_ = std::exchange(waiting_, &one);
  ++waiting_count_;
  if (step_ == step::idle) return prepare();
  if (step_ == step::pausing && all_wait()) begin();
}

void commit_group::leave() noexcept {
  --under_way_;
  if (step_ == step::pausing && all_wait()) begin();
}

void commit_group::prepare() noexcept {
  if (all_wait()) return begin();
  step_ = step::pausing;
  if (pause_.in_flight()) return;  // from before: it ends this one the sooner
  const std::int64_t most = std::min(took_ns_, longest_pause_ns);
  pause_.args = timeout_request(*file_.context, std::chrono::nanoseconds(most));
  start(*file_.context, pause_, &file_);
}

void commit_group::paused() noexcept {
  file_state& file = file_;
  if (step_ == step::pausing) begin();
  finish(&file);  // `this` may be gone from here on
}

void commit_group::begin() noexcept {
  step_ = step::syncing;
  served_ = std::exchange(waiting_, nullptr);
  waiting_count_ = 0;
  bool full = false;
  for (const barrier* each = served_; each != nullptr; each = each->next_) full |= each->full_;
  const request what{.op = full ? opcode::fsync : opcode::fdatasync, .fd = file_.fd};
  began_ns_ = file_.context->now_ns();
  in_flight_.emplace(file_.context, what, &file_);
  if (in_flight_->ready()) return ended();  // poisoned since they joined
  in_flight_->begin(continuation::calling<&commit_group::ended>(*this));
}

// Who waits by now keeps this alive; if nobody does, the last of those that are answered may end
// it.
void commit_group::ended() noexcept {
  const std::int32_t answer = in_flight_->answer();
  took_ns_ = file_.context->now_ns() - began_ns_;
  in_flight_.reset();
  barrier* each = std::exchange(served_, nullptr);
  const bool more = waiting_ != nullptr;
  if (!more) step_ = step::idle;
  while (each != nullptr) std::exchange(each, each->next_)->answer_with(answer);
  if (more) prepare();
}

}  // namespace weir::detail
