#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "weir/driver.hpp"

namespace weir::detail {

/// The timeouts in flight, the earliest on top of a binary heap. Each knows its place there, in
/// `args.length`, so that a million of them cost no search: to start or to cancel one takes
/// O(log n), and 16 bytes.
class timer_queue {
 public:
  /// 0, or -ENOMEM and `op` is not taken.
  int insert(operation& op) noexcept;

  /// Takes `op` out; false where it is not here: expired, never inserted, no timeout at all.
  bool remove(const operation& op) noexcept;

  /// Completes those whose time has come, with 0, the earliest first.
  void expire(operation_queue& completed) noexcept;

  /// Completes all of them with ECANCELED.
  /// All, if `cancel`, a request for many, means all: they have no descriptor.
  void cancel_named(const request& cancel, operation_queue& completed) noexcept;

  bool empty() const noexcept { return heap_.empty(); }
  deadline earliest() const noexcept { return empty() ? deadline::never() : heap_.front().time; }

 private:
  struct entry {
    deadline time;
    operation* op;
  };

  operation& pop() noexcept;
  void take_out(std::size_t at) noexcept;
  void rise(std::size_t at, entry what) noexcept;
  void sink(std::size_t at, entry what) noexcept;
  void put(std::size_t at, entry what) noexcept;

  std::vector<entry> heap_;
};

}  // namespace weir::detail
