#pragma once

#include <cstddef>

namespace weir::campaign {

class trial;

/// What a process holds, and must not hold more of once a context is gone.
struct resources {
  std::size_t descriptors;
  std::size_t threads;      ///< but io_uring's own, which the kernel keeps for a while
  std::size_t allocations;  ///< by `new`, not yet deleted
  std::size_t rings;        ///< mappings of io_uring's and Linux AIO's queues

  static resources of_this_process();

  /// Nothing more than in `before`.
  bool within(const resources& before) const noexcept;
};

/// Says what there is more of than `before`, as soon as nothing has been given back for a while.
void check_for_leaks(trial& now, const resources& before);

}  // namespace weir::campaign
