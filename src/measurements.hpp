#pragma once

#include <list>
#include <mutex>
#include <string_view>

#include "drivers/route_counters.hpp"
#include "drivers/tick_clock.hpp"
#include "weir/measured.hpp"

namespace weir {

/// The rows that drivers count into, and the gauge of their clock.
struct measurements::state {
  struct row {
    detail::route_counters counters;
    bool in_use = false;
    bool shown_empty = true;
  };

  /// A row for a driver of this name, which nobody else counts into until it is given back.
  /// Reported from now on, or from when something has been counted.
  detail::route_counters& take_row(std::string_view name, bool shown_empty = true);
  void give_back(const detail::route_counters& counters) noexcept;

  const detail::tick_gauge gauge{detail::tick_source::choose()};
  mutable std::mutex mutex;  // guards the list; the counters need none
  std::list<row> rows;
};

}  // namespace weir
