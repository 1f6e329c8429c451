#include "bench/advice.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <string_view>

#include "bench/shown.hpp"
#include "report/page.hpp"
#include "text_page.hpp"

namespace weir::tools::bench {
namespace {

constexpr std::string_view merging = "merging:";

// In weir's own order of preference, which decides where nothing else does.
constexpr std::array<std::string_view, 3> asynchronous{"uring", "linux_aio", "threads"};

// --- Looking things up ---------------------------------------------------------------------------

std::string times(double ratio) { return weir::report::digits_of(ratio) + " times"; }

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

/// The choice among the drivers, and what it came from.
struct election {
  std::vector<standing> all;
  std::vector<standing> tied;      // those that are as fast as the best
  std::vector<standing> as_cheap;  // of these
};

election elect(const std::vector<row>& measured, const std::vector<std::string>& drivers) {
  election held;
  std::ranges::transform(drivers, std::back_inserter(held.all), [&](const std::string& each) {
    return standing_of(each, measured, drivers);
  });
  const standing& best = *std::ranges::min_element(held.all, {}, &standing::behind);
  std::ranges::copy_if(held.all, std::back_inserter(held.tied),
                       [&best](const standing& each) { return as_fast(each, best); });
  const standing& cheapest = *std::ranges::min_element(held.tied, {}, &standing::cpu);
  std::ranges::copy_if(held.tied, std::back_inserter(held.as_cheap),
                       [&cheapest](const standing& each) { return as_cheap(each, cheapest); });
  return held;
}

std::string list_of(const std::vector<standing>& all, auto&& shown) {
  std::vector<std::string> texts;
  std::ranges::transform(all, std::back_inserter(texts), [&shown](const standing& each) {
    return each.driver + " " + shown(each);
  });
  return joined(texts, "and");
}

std::string why_elected(const election& held) {
  if (held.all.size() == 1) return "no other was measured";
  std::string why =
      "behind the fastest driver of a regime, on average: " +
      list_of(held.all, [](const standing& each) { return shown_percent(each.behind); });
  if (held.tied.size() == 1) return why;
  why += "; what speed does not decide, the processor time of an operation does: " +
         list_of(held.tied, [](const standing& each) { return shown_time(each.cpu); });
  if (held.as_cheap.size() > 1) why += ", which is no difference either";
  return why;
}

void advise_driver(const std::vector<row>& measured, advice& given) {
  const std::vector<std::string> drivers = candidates_in(measured);
  if (drivers.empty()) {
    given.lines.push_back({"Driver", "none", "no driver that lets the thread go on was measured"});
    return;
  }
  const election held = elect(measured, drivers);
  given.driver = held.as_cheap.front().driver;  // the first in weir's own order
  given.lines.push_back({"Driver", given.driver, why_elected(held)});
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

/// How one regime reads from the disk, counted in bytes, so that blocks of all sizes compare.
struct way {
  const row* in;
  series bytes;
};

way in_bytes(const row& in, const series& of) {
  way counted{.in = &in, .bytes = of};
  const auto block = static_cast<double>(in.what.block);
  for (sample& each : counted.bytes.rounds) {
    each.per_second *= block;
    each.cpu_seconds /= block;
  }
  return counted;
}

std::vector<way> ways_from_disk(const std::vector<row>& measured, std::string_view driver,
                                auto&& wanted) {
  std::vector<way> found;
  for (const row& each : measured) {
    const series* const own = find(each, driver);
    if (own == nullptr || each.what.cache == cache::warm || each.what.work != work::read ||
        each.what.neighbours || !wanted(each.what)) {
      continue;
    }
    found.push_back(in_bytes(each, *own));
  }
  return found;
}

double rate_of_way(const way& of) { return rate_of(of.bytes).median; }
double cpu_of_way(const way& of) { return cpu_of(of.bytes); }

// Different regimes were measured a few slices apart: a tenth at least.
bool as_fast(const way& one, const way& fastest) {
  const double noise = std::max({0.1, noise_of(*one.in), noise_of(*fastest.in)});
  return judge(one.bytes, fastest.bytes, noise) != verdict::slower;
}

std::string route_of(const way& which) {
  return which.in->what.cache == cache::direct ? "past the page cache (O_DIRECT)"
                                               : "through the page cache";
}

std::string conditions_of(const way& which) {
  return route_of(which) + ", " + shown_bytes(which.in->what.block) + ", " +
         std::to_string(which.in->what.depth) + " in flight";
}

std::string results_of(const way& which) {
  const double blocks = rate_of_way(which) / static_cast<double>(which.in->what.block);
  return shown_rate(which.in->what, blocks) + ", " + shown_time(cpu_of_way(which) * mib) +
         " of processor time for 1 MiB";
}

std::optional<route> choose_way(const std::vector<way>& ways, const std::string& question,
                                advice& given) {
  const auto is_direct = [](const way& each) { return each.in->what.cache == cache::direct; };
  // Of one route alone nothing can be said.
  if (std::ranges::all_of(ways, is_direct) || std::ranges::none_of(ways, is_direct)) return {};
  const way& fastest = *std::ranges::max_element(ways, {}, rate_of_way);
  std::vector<way> tied;
  std::ranges::copy_if(ways, std::back_inserter(tied),
                       [&fastest](const way& each) { return as_fast(each, fastest); });
  const way& chosen = *std::ranges::min_element(tied, {}, cpu_of_way);

  std::vector<way> others;
  std::ranges::copy_if(ways, std::back_inserter(others),
                       [&](const way& each) { return is_direct(each) != is_direct(chosen); });
  const way& other = *std::ranges::max_element(others, {}, rate_of_way);
  std::string why =
      results_of(chosen) + "; " + conditions_of(other) + ", at best: " + results_of(other);
  if (as_fast(other, fastest)) {
    why += "; as fast within the noise, but the processor has more to do";
  }
  given.lines.push_back({question, conditions_of(chosen), why});
  return is_direct(chosen) ? route::direct : route::buffered;
}

void advise_route(const std::vector<row>& measured, advice& given) {
  given.streams =
      choose_way(ways_from_disk(measured, given.driver,
                                [](const regime& w) { return w.order == order::sequential; }),
                 "Streams read once", given);
  given.random = choose_way(
      ways_from_disk(measured, given.driver,
                     [](const regime& w) { return w.order == order::random && w.depth == 32; }),
      "Random reads", given);
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
