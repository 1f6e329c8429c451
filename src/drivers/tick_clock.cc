#include "drivers/tick_clock.hpp"

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>

namespace weir::detail {
namespace {

#if defined(__x86_64__)
constexpr bool has_cycle_counter = true;
#else
constexpr bool has_cycle_counter = false;
#endif

// What the kernel itself keeps time by runs alike on all processors, at all frequencies and in all
// states of sleep: at the first doubt it takes another.
bool kernel_counts_cycles() noexcept {
  constexpr const char* path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "re"), &std::fclose);
  std::array<char, 8> name{};
  return file && std::fgets(name.data(), name.size(), file.get()) != nullptr &&
         std::strcmp(name.data(), "tsc\n") == 0;
}

}  // namespace

tick_source tick_source::choose() noexcept {
  tick_source chosen;
  chosen.counts_cycles_ = has_cycle_counter && kernel_counts_cycles();
  return chosen;
}

// Both clocks at the same instant, as near as they can be read: of a few tries, the quickest.
tick_gauge::instant tick_gauge::look() const noexcept {
  instant best{};
  std::uint64_t quickest = UINT64_MAX;
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = source_.now();
    const std::int64_t ns = monotonic_now_ns();
    const std::uint64_t took = source_.now() - before;
    if (took >= quickest) continue;
    quickest = took;
    best = {.ticks = before + took / 2, .ns = ns};
  }
  return best;
}

double tick_gauge::ns_per_tick() const noexcept {
  if (!source_.counts_cycles()) return 1;
  constexpr std::int64_t long_enough = 1'000'000;
  instant last = look();
  while (last.ns - made_.ns < long_enough) last = look();
  return static_cast<double>(last.ns - made_.ns) / static_cast<double>(last.ticks - made_.ticks);
}

}  // namespace weir::detail
