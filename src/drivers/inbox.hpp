#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "weir/operation.hpp"

namespace weir::detail {

/// Where any thread leaves operations, and one takes them out: without a lock, and with a system
/// call only where the one who takes has fallen asleep.
class inbox {
 public:
  inbox() noexcept = default;
  inbox(const inbox&) = delete;
  inbox& operator=(const inbox&) = delete;
  ~inbox() = default;

  /// What the taker does next: looks again, or waits to be woken.
  enum class taker { stays_awake, falls_asleep };

  /// Any thread. True where the taker is asleep, and the caller is the one to wake it. From here on
  /// the operation belongs to the taker.
  bool put(operation& op) noexcept {
    operation* newest = newest_.load(std::memory_order_relaxed);
    do {
      op.next_ = newest == asleep() ? nullptr : newest;
    } while (!newest_.compare_exchange_weak(newest, &op, std::memory_order_release,
                                            std::memory_order_relaxed));
    return newest == asleep();
  }

  /// Appends everything to `into`, in the order in which it was put; returns how much. A taker that
  /// falls asleep is woken by the next that is put, even if it was given something now.
  std::size_t take(operation_queue& into, taker then) noexcept {
    operation* const empty = then == taker::falls_asleep ? asleep() : nullptr;
    // A load first: looking into an empty box costs no locked cycle.
    if (newest_.load(std::memory_order_relaxed) == empty) return 0;
    operation* newest = newest_.exchange(empty, std::memory_order_acquire);
    if (newest == asleep()) return 0;
    operation* oldest = nullptr;
    while (newest != nullptr) {
      operation* const next = newest->next_;
      newest->next_ = oldest;
      oldest = newest;
      newest = next;
    }
    const std::size_t before = into.size();
    while (oldest != nullptr) {
      operation* const next = oldest->next_;
      into.push_back(*oldest);
      oldest = next;
    }
    return into.size() - before;
  }

 private:
  // An address that no operation can have.
  static operation* asleep() noexcept { return reinterpret_cast<operation*>(std::uintptr_t{1}); }

  std::atomic<operation*> newest_ = asleep();
};

}  // namespace weir::detail
