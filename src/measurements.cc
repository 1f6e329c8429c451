#include "measurements.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "opcode_names.hpp"

namespace weir {
namespace detail {

double log_histogram::least_of(std::size_t bucket) noexcept {
  constexpr std::size_t linear = std::size_t{1} << sub_bits;
  if (bucket < linear) return static_cast<double>(bucket);
  const auto exponent = static_cast<int>(bucket >> sub_bits) - 1;
  return std::ldexp(static_cast<double>(linear + bucket % linear), exponent);
}

namespace {

latency_report report_of(const log_histogram& ticks, double ns_per_tick) {
  const auto in_ns = [&](double count) {
    return static_cast<std::uint64_t>(std::llround(count * ns_per_tick));
  };
  latency_report report{.max_ns = in_ns(static_cast<double>(ticks.max()))};
  for (std::size_t i = 0; i < log_histogram::buckets; ++i) {
    const std::uint64_t count = ticks.count_of(i);
    if (count == 0) continue;
    report.count += count;
    report.buckets.push_back({.from_ns = in_ns(log_histogram::least_of(i)),
                              .to_ns = in_ns(log_histogram::least_of(i + 1)),
                              .count = count});
  }
  return report;
}

route_report report_of(const route_counters& counters, double ns_per_tick) {
  route_report report{.name = counters.name,
                      .in_flight = counters.in_flight.get(),
                      .most_in_flight = counters.most_in_flight.get()};
  for (std::size_t i = 0; i < opcode_count; ++i) {
    const operation_counters& counted = counters.operations[i];
    operation_report each{.op = static_cast<opcode>(i),
                          .failed = counted.failed.get(),
                          .cancelled = counted.cancelled.get(),
                          .bytes = counted.bytes.get(),
                          .latency = report_of(counted.ticks, ns_per_tick)};
    each.completed = each.latency.count + counted.untimed.get();
    if (each.completed != 0) report.operations.push_back(std::move(each));
  }
  return report;
}

// --- words and numbers ---------------------------------------------------------------------------

// Three digits or more, in the unit in which few suffice.
std::string scaled(std::uint64_t value, unsigned step, std::span<const std::string_view> units) {
  auto number = static_cast<double>(value);
  std::size_t unit = 0;
  for (; number >= step && unit + 1 < units.size(); ++unit) number /= step;
  std::array<char, 32> digits{};
  const int decimals = unit != 0 && number < 100 ? 1 : 0;
  const auto [end, _] = std::to_chars(digits.data(), digits.data() + digits.size(), number,
                                      std::chars_format::fixed, decimals);
  return std::string(digits.data(), end).append(" ").append(units[unit]);
}

std::string duration(std::uint64_t ns) {
  static constexpr std::array<std::string_view, 4> units = {"ns", "us", "ms", "s"};
  return scaled(ns, 1000, units);
}

std::string size(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  return scaled(bytes, 1024, units);
}

/// A line of the table: the first cell to the left, the others to the right of theirs.
using cells = std::array<std::string, 10>;
std::string line_of(const cells& row) {
  static constexpr std::array<std::size_t, 10> widths = {15, 13, 9, 10, 11, 10, 10, 10, 10, 10};
  std::string line = "  ";
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::string space(widths[i] - std::min(widths[i], row[i].size()), ' ');
    line += i == 0 ? row[i] + space : space + row[i];
  }
  return line += '\n';
}

cells headings() {
  return {"operation", "completed", "failed", "cancelled", "bytes",
          "p50",       "p90",       "p99",    "p99.9",     "max"};
}

cells cells_of(const operation_report& of) {
  const auto within = [&](double fraction) { return duration(of.latency.quantile_ns(fraction)); };
  return {std::string(name_of(of.op)),
          std::to_string(of.completed),
          std::to_string(of.failed),
          std::to_string(of.cancelled),
          size(of.bytes),
          within(0.5),
          within(0.9),
          within(0.99),
          within(0.999),
          duration(of.latency.max_ns)};
}

// --- JSON ----------------------------------------------------------------------------------------

std::string quoted(std::string_view text) {
  std::string made = "\"";
  for (const char each : text) {
    if (each == '"' || each == '\\') {
      made += '\\';
      made += each;
    } else if (static_cast<unsigned char>(each) < 0x20) {
      static constexpr std::string_view hex = "0123456789abcdef";
      const unsigned code = static_cast<unsigned char>(each);
      made.append("\\u00").append({hex[code / 16], hex[code % 16]});
    } else {
      made += each;
    }
  }
  return made += '"';
}

std::string field(std::string_view name, std::uint64_t value) {
  return quoted(name) + ": " + std::to_string(value);
}

// The elements' texts, separated, in brackets.
template <class Elements, class Text>
std::string array_of(const Elements& elements, Text text) {
  std::string made = "[";
  for (const auto& each : elements) {
    if (made.size() > 1) made += ", ";
    made += text(each);
  }
  return made += "]";
}

std::string json_of(const latency_bucket& bucket) {
  return "[" + std::to_string(bucket.from_ns) + ", " + std::to_string(bucket.to_ns) + ", " +
         std::to_string(bucket.count) + "]";
}

std::string json_of(const latency_report& latency) {
  return "{" + field("count", latency.count) + ", " + field("p50", latency.quantile_ns(0.5)) +
         ", " + field("p90", latency.quantile_ns(0.9)) + ", " +
         field("p99", latency.quantile_ns(0.99)) + ", " +
         field("p99.9", latency.quantile_ns(0.999)) + ", " + field("max", latency.max_ns) +
         ", \"buckets\": " +
         array_of(latency.buckets, [](const latency_bucket& each) { return json_of(each); }) + "}";
}

std::string json_of(const operation_report& of) {
  return "{\"operation\": " + quoted(name_of(of.op)) + ", " + field("completed", of.completed) +
         ", " + field("failed", of.failed) + ", " + field("cancelled", of.cancelled) + ", " +
         field("bytes", of.bytes) + ", \"latency_ns\": " + json_of(of.latency) + "}";
}

std::string json_of(const route_report& route) {
  return "{\"name\": " + quoted(route.name) + ", " + field("in_flight", route.in_flight) + ", " +
         field("most_in_flight", route.most_in_flight) + ", \"operations\": " +
         array_of(route.operations, [](const operation_report& each) { return json_of(each); }) +
         "}";
}

}  // namespace
}  // namespace detail

// --- reports -------------------------------------------------------------------------------------

std::uint64_t latency_report::quantile_ns(double fraction) const noexcept {
  const double rank = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count));
  std::uint64_t seen = 0;
  for (const latency_bucket& each : buckets) {
    seen += each.count;
    if (static_cast<double>(seen) >= rank) return std::min(each.to_ns, max_ns);
  }
  return max_ns;
}

std::string measurement_report::text() const {
  std::string made;
  for (const route_report& route : routes) {
    made += route.name + ": " + std::to_string(route.in_flight) + " in flight, " +
            std::to_string(route.most_in_flight) + " at most\n";
    if (route.operations.empty()) continue;
    made += detail::line_of(detail::headings());
    for (const operation_report& each : route.operations) {
      made += detail::line_of(detail::cells_of(each));
    }
  }
  return made;
}

std::string measurement_report::json() const {
  return "{\"routes\": " +
         detail::array_of(routes, [](const route_report& each) { return detail::json_of(each); }) +
         "}";
}

// --- rows ----------------------------------------------------------------------------------------

detail::route_counters& measurements::state::take_row(std::string_view name, bool shown_empty) {
  const std::scoped_lock lock(mutex);
  auto found = std::ranges::find_if(
      rows, [&](const row& each) { return !each.in_use && each.counters.name == name; });
  if (found == rows.end()) {
    found = rows.emplace(rows.end());
    found->counters.name = name;
    found->shown_empty = shown_empty;
  }
  found->in_use = true;
  return found->counters;
}

void measurements::state::give_back(const detail::route_counters& counters) noexcept {
  const std::scoped_lock lock(mutex);
  const auto found =
      std::ranges::find_if(rows, [&](const row& each) { return &each.counters == &counters; });
  found->counters.in_flight.set(0);
  found->in_use = false;
}

measurements::measurements() : state_(std::make_unique<state>()) {}
measurements::~measurements() = default;

measurement_report measurements::report() const {
  const double ns_per_tick = state_->gauge.ns_per_tick();
  const std::scoped_lock lock(state_->mutex);
  measurement_report made;
  for (const state::row& each : state_->rows) {
    route_report route = detail::report_of(each.counters, ns_per_tick);
    if (each.shown_empty || !route.operations.empty()) made.routes.push_back(std::move(route));
  }
  return made;
}

}  // namespace weir
