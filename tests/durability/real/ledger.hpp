#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "durability/scenario.hpp"

namespace weir::real_disks {

/// One promise, and where the log stood when it had been given.
struct stamped_promise {
  std::string subject;
  std::uint64_t version;
  scenarios::survives what;
  std::uint64_t stamp;
};

/// Notes promises together with a position that is asked for after the acknowledgement: what was
/// logged before it may be what the promise relies on, and what is logged after it is not.
class ledger : public scenarios::promises {
 public:
  explicit ledger(std::function<std::uint64_t()> position) : position_(std::move(position)) {}

  void promise(std::string_view subject, std::uint64_t version, scenarios::survives what) override {
    entries_.push_back({std::string(subject), version, what, position_()});
  }

  const std::vector<stamped_promise>& entries() const noexcept { return entries_; }

  /// What must be found where the power was lost with so many entries logged.
  scenarios::promise_book durable_at(std::uint64_t position) const {
    scenarios::promise_book book;
    for (const stamped_promise& each : entries_) {
      const bool outlives = each.what == scenarios::survives::power_loss;
      if (outlives && each.stamp <= position) book.add(each.subject, each.version);
    }
    return book;
  }

 private:
  std::function<std::uint64_t()> position_;
  std::vector<stamped_promise> entries_;
};

}  // namespace weir::real_disks
