#include "bench/regime.hpp"

#include <algorithm>
#include <array>

namespace weir::tools::bench {
namespace {

constexpr auto table = std::to_array<regime>({
    {.cache = cache::warm, .depth = 1},
    {.cache = cache::warm, .depth = 32},
    {.cache = cache::warm, .order = order::sequential, .block = 128 * kib, .depth = 1},
    {.cache = cache::warm, .order = order::sequential, .block = 1 * mib, .depth = 32},

    {.cache = cache::cold, .depth = 1},
    {.cache = cache::cold, .depth = 32},
    {.cache = cache::cold, .order = order::sequential, .block = 128 * kib, .depth = 1},
    {.cache = cache::cold, .order = order::sequential, .block = 1 * mib, .depth = 32},

    {.cache = cache::direct, .depth = 1},
    {.cache = cache::direct, .order = order::sequential, .block = 128 * kib, .depth = 1},
    {.cache = cache::direct, .order = order::sequential, .block = 1 * mib, .depth = 1},

    {.cache = cache::direct, .depth = 8},
    {.cache = cache::direct, .depth = 32},
    {.cache = cache::direct, .depth = 128},
    {.cache = cache::direct, .order = order::sequential, .block = 128 * kib, .depth = 32},
    {.cache = cache::direct, .order = order::sequential, .block = 1 * mib, .depth = 32},
    {.cache = cache::direct, .order = order::sequential, .depth = 32, .neighbours = true},

    {.cache = cache::warm, .work = work::write, .depth = 32},
    {.cache = cache::direct, .work = work::write, .depth = 32},
    {.cache = cache::direct,
     .work = work::write,
     .order = order::sequential,
     .block = 1 * mib,
     .depth = 32},
    {.cache = cache::warm, .work = work::durable_write, .depth = 1},
    {.cache = cache::warm, .work = work::durable_write, .depth = 32},
});

static_assert(std::ranges::all_of(table, [](const regime& each) {
  return each.depth <= max_depth && each.depth * each.block <= max_bytes_in_flight &&
         each.block <= warm_bytes;
}));

std::string shown_block(std::size_t bytes) {
  return bytes % mib == 0 ? std::to_string(bytes / mib) + " MiB"
                          : std::to_string(bytes / kib) + " KiB";
}

const char* verb_of(work which) noexcept {
  switch (which) {
    case work::read:
      return "reads";
    case work::write:
      return "writes";
    case work::durable_write:
      break;
  }
  return "writes, each with fdatasync";
}

}  // namespace

std::span<const regime> all_regimes() noexcept { return table; }

std::string group_of(const regime& what) {
  if (what.work != work::read) return "Writing";
  switch (what.cache) {
    case cache::warm:
      return "Reading what is in the page cache";
    case cache::cold:
      return "Reading through the page cache what is not in it";
    case cache::direct:
      break;
  }
  return what.depth == 1 ? "Reading past the page cache (O_DIRECT), one at a time"
                         : "Reading past the page cache (O_DIRECT), many at a time";
}

std::string title_of(const regime& what) {
  std::string title = shown_block(what.block) + " " + name_of(what.order) + " ";
  if (what.work != work::read) title += what.cache == cache::direct ? "O_DIRECT " : "buffered ";
  title += verb_of(what.work);
  title += what.depth == 1 ? ", one at a time" : ", " + std::to_string(what.depth) + " at a time";
  return title;
}

const char* name_of(cache which) noexcept {
  constexpr std::array names{"warm", "cold", "direct"};
  return names.at(static_cast<std::size_t>(which));
}

const char* name_of(work which) noexcept {
  constexpr std::array names{"read", "write", "durable_write"};
  return names.at(static_cast<std::size_t>(which));
}

const char* name_of(order which) noexcept {
  constexpr std::array names{"random", "sequential"};
  return names.at(static_cast<std::size_t>(which));
}

}  // namespace weir::tools::bench
