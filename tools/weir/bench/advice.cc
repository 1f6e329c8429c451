#include "bench/advice.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "bench/shown.hpp"

namespace weir::tools::bench {
namespace {

constexpr std::string_view merging = "merging:";

// In weir's own order of preference, which decides where nothing else does.
constexpr std::array<std::string_view, 3> asynchronous{"uring", "linux_aio", "threads"};

// --- Looking things up ---------------------------------------------------------------------------

const row* find(const std::vector<row>& measured, const regime& what) {
  const auto found = std::ranges::find(measured, what, &row::what);
  return found != measured.end() ? &*found : nullptr;
}

const series* find(const std::vector<row>& measured, const regime& what, std::string_view who) {
  const row* const in = find(measured, what);
  return in != nullptr ? find(*in, who) : nullptr;
}

double noise_in(const std::vector<row>& measured, const regime& what) {
  const row* const in = find(measured, what);
  return in != nullptr ? noise_of(*in) : 0;
}

std::string times(double ratio) { return shown_digits(ratio) + " times"; }

std::string joined(const std::vector<std::string>& names, std::string_view last) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) text += i + 1 == names.size() ? " " + std::string(last) + " " : ", ";
    text += names[i];
  }
  return text;
}

// --- Which driver --------------------------------------------------------------------------------

/// How a driver did in all regimes.
struct standing {
  std::string driver;
  double behind = 0;  ///< the fastest driver of each regime, on average; 0.1: a tenth slower
  double cpu = 0;     ///< processor time of an operation: the geometric mean
};

std::vector<std::string> candidates_in(const std::vector<row>& measured) {
  std::vector<std::string> found;
  for (const std::string_view each : asynchronous) {
    if (std::ranges::any_of(measured, [each](const row& r) { return find(r, each) != nullptr; })) {
      found.emplace_back(each);
    }
  }
  return found;
}

const series& fastest_of(const row& in, const std::vector<std::string>& drivers) {
  const auto rate = [&in](const std::string& driver) {
    const series* const found = find(in, driver);
    return found != nullptr ? rate_of(*found).median : 0;
  };
  return *find(in, *std::ranges::max_element(drivers, {}, rate));
}

standing standing_of(const std::string& driver, const std::vector<row>& measured,
                     const std::vector<std::string>& drivers) {
  double lost = 0;
  double cpu = 0;
  unsigned rows = 0;
  for (const row& each : measured) {
    const series* const own = find(each, driver);
    if (own == nullptr || each.what.neighbours) continue;
    const series& fastest = fastest_of(each, drivers);
    ++rows;
    cpu += std::log(std::max(cpu_of(*own), 1e-9));
    if (judge(*own, fastest, noise_of(each)) == verdict::slower) {
      lost -= std::log(ratio_of(*own, fastest).median);
    }
  }
  if (rows == 0) return {.driver = driver};
  return {.driver = driver, .behind = -std::expm1(-lost / rows), .cpu = std::exp(cpu / rows)};
}

// Not the differences that chance makes, as between two that are each the fastest now and then.
bool as_fast(const standing& one, const standing& best) { return one.behind < best.behind + 0.02; }

bool as_cheap(const standing& one, const standing& cheapest) {
  return one.cpu < cheapest.cpu * 1.05;
}

std::string shown_standing(const standing& of) {
  return of.behind < 0.005 ? of.driver + " is never measurably behind"
                           : of.driver + " is " + shown_percent(of.behind) + " behind";
}

void advise_driver(const std::vector<row>& measured, advice& given) {
  const std::vector<std::string> drivers = candidates_in(measured);
  if (drivers.empty()) {
    given.lines.push_back({"Driver", "none", "no driver that lets the thread go on was measured"});
    return;
  }
  std::vector<standing> all;
  for (const std::string& each : drivers) all.push_back(standing_of(each, measured, drivers));
  const standing& best = *std::ranges::min_element(all, {}, &standing::behind);

  std::vector<standing> tied;
  std::ranges::copy_if(all, std::back_inserter(tied),
                       [&best](const standing& each) { return as_fast(each, best); });
  const standing cheapest = *std::ranges::min_element(tied, {}, &standing::cpu);
  const standing chosen = *std::ranges::find_if(
      tied, [&cheapest](const standing& each) { return as_cheap(each, cheapest); });
  given.driver = chosen.driver;

  std::vector<std::string> standings;
  for (const standing& each : all) standings.push_back(shown_standing(each));
  std::string why = all.size() == 1 ? "no other was measured"
                                    : "beside the fastest in each regime, on average, " +
                                          joined(standings, "and");
  if (tied.size() > 1) {
    std::vector<std::string> names;
    for (const standing& each : tied) {
      names.push_back(each.driver + " " + shown_time(each.cpu));
    }
    why += "; what speed does not decide, the processor time of an operation does: " +
           joined(names, "and");
    if (std::ranges::count_if(tied,
                              [&](const standing& each) { return as_cheap(each, cheapest); }) > 1) {
      why += ", which is no difference either";
    }
  }
  given.lines.push_back({"Driver", given.driver, why});
}

// --- Which depth ---------------------------------------------------------------------------------

std::vector<const row*> depths(const std::vector<row>& measured, cache where,
                               std::string_view driver) {
  std::vector<const row*> found;
  for (const row& each : measured) {
    if (each.what.cache == where && each.what.work == work::read && !each.what.neighbours &&
        each.what.order == order::random && find(each, driver) != nullptr) {
      found.push_back(&each);
    }
  }
  std::ranges::sort(found, {}, [](const row* each) { return each->what.depth; });
  return found;
}

std::string rate_at(const row& of, std::string_view driver) {
  const double rate = rate_of(*find(of, driver)).median;
  return shown_rate(of.what, rate) + " with " + std::to_string(of.what.depth) + " in flight (" +
         shown_time(of.what.depth / rate) + " each)";
}

void advise_depth(const std::vector<row>& measured, advice& given) {
  std::vector<const row*> rows = depths(measured, cache::direct, given.driver);
  if (rows.empty()) rows = depths(measured, cache::cold, given.driver);
  if (rows.size() < 2) return;
  const auto rate = [&](const row* each) { return rate_of(*find(*each, given.driver)).median; };
  const row* const most = *std::ranges::max_element(rows, {}, rate);
  // Deeper, every operation waits longer: that must be worth it.
  const auto enough = [&](const row* each) {
    const double noise = std::max({0.05, noise_of(*each), noise_of(*most)});
    return rate(each) * (1 + noise) >= rate(most);
  };
  const row* const chosen = *std::ranges::find_if(rows, enough);
  given.queue_depth = chosen->what.depth;

  std::string why = "random reads of 4 KiB from the disk: " + rate_at(*rows.front(), given.driver);
  if (chosen != rows.front()) why += ", " + rate_at(*chosen, given.driver);
  if (chosen != rows.back()) {
    why += ", " + rate_at(*rows.back(), given.driver) +
           ": more in flight does not bring more, every one only waits longer";
  }
  given.lines.push_back({"Queue depth", std::to_string(chosen->what.depth), why});
}

// --- Through the page cache, or past it ----------------------------------------------------------

struct comparison_of_routes {
  route better = route::buffered;
  std::string why;
};

std::optional<comparison_of_routes> compare_routes(const std::vector<row>& measured,
                                                   std::string_view driver, regime what) {
  what.cache = cache::cold;
  const double cold_noise = noise_in(measured, what);
  const series* const cold = find(measured, what, driver);
  what.cache = cache::direct;
  const double direct_noise = noise_in(measured, what);
  const series* const direct = find(measured, what, driver);
  if (cold == nullptr || direct == nullptr) return std::nullopt;

  const double saved = cpu_of(*cold) / std::max(cpu_of(*direct), 1e-9);
  const auto shown = [&what](const series& of) {
    return shown_rate(what, rate_of(of).median) + " and " + shown_time(cpu_of(of)) +
           " of processor time for each";
  };
  comparison_of_routes found;
  found.why = "past the page cache " + shown(*direct) + ", through it " + shown(*cold);
  // Different regimes, a few slices apart: a tenth at least.
  switch (judge(*direct, *cold, std::max({0.1, cold_noise, direct_noise}))) {
    case verdict::faster:
      found.better = route::direct;
      found.why += ": " + times(ratio_of(*direct, *cold).median) + " the rate";
      break;
    case verdict::slower:
      found.why += ": " + times(ratio_of(*cold, *direct).median) + " the rate";
      break;
    case verdict::same:
      // Equally fast: then it is the processor that counts, and what stays in memory.
      if (saved >= 1.25) found.better = route::direct;
      found.why += saved >= 1.25 ? ": as fast, and the processor is spared"
                                 : ": no difference beyond the noise, and what stays in memory "
                                   "need not be read again";
      break;
  }
  return found;
}

std::string name_of_route(route which) {
  return which == route::direct ? "past the page cache (O_DIRECT)" : "through the page cache";
}

void advise_route(const std::vector<row>& measured, advice& given) {
  const auto streams = compare_routes(
      measured, given.driver,
      {.cache = cache::cold, .order = order::sequential, .block = 1 * mib, .depth = 32});
  if (streams) {
    given.streams = streams->better;
    given.lines.push_back({"Streams read once", name_of_route(streams->better),
                           "1 MiB sequential, 32 at a time: " + streams->why});
  }
  const auto random = compare_routes(measured, given.driver, {.cache = cache::cold, .depth = 32});
  if (random) {
    given.random = random->better;
    given.lines.push_back({"Random reads that miss", name_of_route(random->better),
                           "4 KiB random, 32 at a time: " + random->why});
  }
}

// --- Merging, and the plain calls ----------------------------------------------------------------

void advise_merging(const std::vector<row>& measured, advice& given) {
  for (const row& each : measured) {
    if (!each.what.neighbours) continue;
    for (const series& merged : each.contestants) {
      if (!merged.contestant.starts_with(merging) || merged.rounds.empty()) continue;
      const series* const alone = find(each, merged.contestant.substr(merging.size()));
      if (alone == nullptr) continue;
      const verdict found = judge(merged, *alone, noise_of(each));
      given.merging = found == verdict::faster;
      const std::string measured_as = "neighbouring reads of 4 KiB, 32 at a time, come at " +
                                      times(ratio_of(merged, *alone).median) + " the rate of " +
                                      alone->contestant + " alone";
      given.lines.push_back({"Merging", *given.merging ? "for many small neighbours" : "no",
                             measured_as + (found == verdict::same ? ", within the noise" : "")});
    }
  }
}

// The honest part: where a thread that waits is as good or better.
void compare_with_plain(const std::vector<row>& measured, advice& given) {
  std::vector<std::string> faster;
  unsigned compared = 0;
  bool ever_slower = false;
  for (const row& each : measured) {
    const series* const calls = find(each, plain);
    const series* const chosen = find(each, given.driver);
    if (calls == nullptr || chosen == nullptr || each.what.neighbours) continue;
    ++compared;
    const verdict found = judge(*calls, *chosen, noise_of(each));
    if (found == verdict::slower) ever_slower = true;
    if (found != verdict::faster) continue;
    faster.push_back(std::string(name_of(each.what.cache)) + " " + title_of(each.what) + " (" +
                     times(ratio_of(*calls, *chosen).median) + " the rate)");
  }
  if (compared == 0) return;
  if (faster.empty()) {
    given.lines.push_back(
        {"Plain pread", ever_slower ? "never faster" : "no slower",
         ever_slower ? "in none of " + std::to_string(compared) + " regimes, beyond the noise"
                     : "all differences are within the noise: on this disk the "
                       "driver is a matter of not stopping the thread, not of speed"});
    return;
  }
  given.lines.push_back({"Plain pread",
                         "faster in " + std::to_string(faster.size()) + " of " +
                             std::to_string(compared) + " regimes",
                         joined(faster, "and") + "; but it stops the thread while it waits"});
}

void mention_noise(const std::vector<row>& measured, advice& given) {
  std::vector<double> noises;
  std::ranges::transform(measured, std::back_inserter(noises), &noise_of);
  const spread noise = spread_of(std::move(noises));
  given.lines.push_back({"Noise", shown_percent(noise.median),
                         "what one contestant's slices differed by, " + shown_percent(noise.least) +
                             " to " + shown_percent(noise.most) +
                             " by regime; no smaller difference counted above"});
}

}  // namespace

advice advise(const std::vector<row>& measured) {
  advice given;
  if (measured.empty()) return given;
  advise_driver(measured, given);
  if (!given.driver.empty()) {
    advise_depth(measured, given);
    advise_route(measured, given);
    advise_merging(measured, given);
    compare_with_plain(measured, given);
  }
  mention_noise(measured, given);
  return given;
}

}  // namespace weir::tools::bench
