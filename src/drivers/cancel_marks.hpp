#pragma once

#include <algorithm>
#include <new>
#include <vector>

#include "weir/operation.hpp"

namespace weir::detail {

/// What a driver was asked to cancel as a whole, a descriptor or everything: an operation that
/// comes back cancelled and was not named itself was covered by this, or was given up by the
/// kernel.
class cancel_marks {
 public:
  void mark(const request& cancel) noexcept {
    if (cancel.fd < 0) everything_ = true;
    if (everything_ || has(cancel.fd)) return;
    try {
      fds_.push_back(cancel.fd);
    } catch (const std::bad_alloc&) {
      everything_ = true;  // errs on the side of what was asked for
    }
  }

  bool covers(const operation& op) const noexcept {
    return everything_ || (!fds_.empty() && has(op.args.fd));
  }

  /// The number may soon be another file's.
  void closed(int fd) noexcept { std::erase(fds_, fd); }

  /// When nothing is in flight that was marked.
  void clear() noexcept {
    everything_ = false;
    fds_.clear();
  }

 private:
  bool has(int fd) const noexcept { return std::ranges::find(fds_, fd) != fds_.end(); }

  bool everything_ = false;
  std::vector<int> fds_;
};

}  // namespace weir::detail
