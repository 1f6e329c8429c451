#include "durability/real/cuts.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

namespace weir::real_disks {
namespace {

// Its numbers are the same everywhere, which those of the standard's distributions are not.
using generator = std::mt19937_64;

/// Entries between two flushes: all before `begin` is stable, and at `end` is the next flush.
struct segment {
  std::uint64_t begin;
  std::uint64_t end;
};

std::vector<segment> segments_of(const disk_history& history) {
  std::vector<segment> all;
  std::uint64_t begin = 0;
  for (std::uint64_t index = 0; index < history.entries.size(); ++index) {
    if (!history.entries[index].is_flush()) continue;
    all.push_back({begin, index});
    begin = index + 1;
  }
  all.push_back({begin, history.entries.size()});
  return all;
}

void leave_at_most(std::size_t most, std::vector<cut>& all, generator& random) {
  while (all.size() > most) {
    all[random() % all.size()] = all.back();
    all.pop_back();
  }
}

// A segment without writes adds nothing to the disk: of the flushes around it the later one is the
// harder, since more has been promised by then.
std::vector<cut> cuts_at_flushes(const std::vector<segment>& segments) {
  std::vector<cut> all;
  for (std::size_t index = 0; index + 1 < segments.size(); ++index) {
    const std::uint64_t flushed = segments[index + 1].begin;
    const bool writes_follow = segments[index + 1].end > flushed;
    const bool is_last = index + 2 == segments.size();
    if (writes_follow || is_last) {
      all.push_back({.stable = flushed, .position = flushed, .rest = remainder::none, .seed = 0});
    }
  }
  return all;
}

// The last moment before a flush, with nothing left of what was written since the one before, where
// something has been promised in between: it relies on what was flushed by then, or it is broken.
std::vector<cut> cuts_behind_promises(const std::vector<segment>& segments,
                                      const std::vector<std::uint64_t>& stamps) {
  std::vector<cut> all;
  for (const segment& each : segments) {
    const auto first = std::ranges::lower_bound(stamps, each.begin);
    if (first == stamps.end() || *first > each.end) continue;
    all.push_back({.stable = each.begin, .position = each.end, .rest = remainder::none, .seed = 0});
  }
  return all;
}

/// Those in which something is written: they can be cut between two flushes.
std::vector<segment> with_writes(std::vector<segment> all) {
  std::erase_if(all, [](const segment& each) { return each.begin == each.end; });
  return all;
}

// Behind a promise where there is one, half of the time; else anywhere behind the first write.
std::uint64_t position_within(const segment& where, const std::vector<std::uint64_t>& stamps,
                              generator& random) {
  const auto begin = std::ranges::upper_bound(stamps, where.begin);
  const auto end = std::ranges::upper_bound(stamps, where.end);
  if (begin != end && random() % 2 == 0) {
    return begin[static_cast<std::ptrdiff_t>(random() % static_cast<std::uint64_t>(end - begin))];
  }
  return where.begin + 1 + random() % (where.end - where.begin);
}

cut cut_between(const std::vector<segment>& segments, const std::vector<std::uint64_t>& stamps,
                generator& random) {
  constexpr std::array rests{remainder::none, remainder::all, remainder::some, remainder::torn,
                             remainder::shredded};
  const segment& where = segments[random() % segments.size()];
  return {.stable = where.begin,
          .position = position_within(where, stamps, random),
          .rest = rests.at(random() % rests.size()),
          .seed = random()};
}

std::vector<std::uint64_t> stamps_of(const ledger& told, std::uint64_t last) {
  std::vector<std::uint64_t> stamps;
  for (const stamped_promise& each : told.entries()) {
    const bool outlives = each.what == scenarios::survives::power_loss;
    if (outlives && each.stamp <= last) stamps.push_back(each.stamp);
  }
  std::ranges::sort(stamps);
  return stamps;
}

// What is there whole, or not at all.
std::uint64_t step_of(remainder rest, std::uint64_t length) {
  if (rest == remainder::torn) return block_size;
  return rest == remainder::shredded ? sector_size : length;
}

bool keeps(const cut& which, generator& random) {
  return which.rest == remainder::all || random() % 2 == 0;
}

}  // namespace

std::string described(const cut& which) {
  constexpr std::array<std::string_view, 5> words{"nothing", "all", "some writes", "some blocks",
                                                  "some sectors"};
  std::string text = "after entry " + std::to_string(which.position);
  if (which.is_at_flush()) return text + ", a flush";
  return text + ", with " + std::string(words.at(static_cast<std::size_t>(which.rest))) +
         " of what was written after the flush before " + std::to_string(which.stable) + " (seed " +
         std::to_string(which.seed) + ")";
}

std::vector<cut> choose_cuts(const disk_history& history, const ledger& told, std::size_t most,
                             std::uint64_t seed) {
  generator random(seed);
  const std::vector<segment> segments = segments_of(history);
  const std::vector<std::uint64_t> stamps = stamps_of(told, history.entries.size());
  const std::vector<segment> open = with_writes(segments);
  std::vector<cut> chosen = cuts_at_flushes(segments);
  leave_at_most((most + 1) / 2, chosen, random);
  std::vector<cut> hardest = cuts_behind_promises(open, stamps);
  leave_at_most((most - chosen.size() + 1) / 2, hardest, random);
  chosen.insert(chosen.end(), hardest.begin(), hardest.end());
  while (!open.empty() && chosen.size() < most) {
    chosen.push_back(cut_between(open, stamps, random));
  }
  std::ranges::sort(chosen, {},
                    [](const cut& each) { return std::pair(each.stable, each.position); });
  return chosen;
}

// What is the same is not written, so that what stays zero takes no memory.
prepared_contents::prepared_contents(std::size_t disk_size, const disk_history& made)
    : base(disk_size, false), stable(disk_size, false) {
  for (const log_entry& each : made.entries) {
    if (each.is_flush()) continue;
    const auto bytes = made.bytes_of(each);
    for (const mapped_memory* copy : {&base, &stable}) {
      const auto place = copy->span().subspan(each.offset, each.length);
      if (!std::ranges::equal(place, bytes)) std::ranges::copy(bytes, place.begin());
    }
  }
}

cut_disk::cut_disk(const disk_history& history, prepared_contents& contents,
                   std::span<std::byte> disk)
    : history_(history), contents_(contents), disk_(disk) {
  was_written(history);
}

cut_disk::~cut_disk() {
  for (const log_entry& each : dirty_) restore(each, contents_.base);
  for (std::uint64_t index = 0; index < stable_; ++index) {
    const log_entry& written = history_.entries[index];
    restore(written, contents_.base);
    std::ranges::copy(contents_.base.span().subspan(written.offset, written.length),
                      contents_.stable.span().subspan(written.offset).begin());
  }
}

void cut_disk::was_written(const disk_history& since) {
  for (const log_entry& each : since.entries) {
    if (!each.is_flush()) dirty_.push_back(each);
  }
}

void cut_disk::go_to(const cut& which) {
  for (const log_entry& each : dirty_) restore(each, contents_.stable);
  dirty_.clear();
  for (; stable_ < which.stable; ++stable_) {
    const log_entry& written = history_.entries[stable_];
    const auto bytes = history_.bytes_of(written);
    put(written.offset, bytes);
    std::ranges::copy(bytes, contents_.stable.span().subspan(written.offset).begin());
  }
  if (which.rest != remainder::none) put_remainder(which);
}

// In order: of two writes to one place the later one wins, if it is there.
void cut_disk::put_remainder(const cut& which) {
  generator random(which.seed);
  for (std::uint64_t index = which.stable; index < which.position; ++index) {
    const log_entry& written = history_.entries[index];
    dirty_.push_back(written);
    const auto bytes = history_.bytes_of(written);
    const std::uint64_t step = step_of(which.rest, bytes.size());
    for (std::uint64_t at = 0; at < bytes.size(); at += step) {
      const auto part = bytes.subspan(at, std::min<std::uint64_t>(step, bytes.size() - at));
      if (keeps(which, random)) put(written.offset + at, part);
    }
  }
}

void cut_disk::put(std::uint64_t offset, std::span<const std::byte> bytes) {
  std::ranges::copy(bytes, disk_.subspan(offset).begin());
}

void cut_disk::restore(const log_entry& place, const mapped_memory& from) {
  put(place.offset, from.span().subspan(place.offset, place.length));
}

}  // namespace weir::real_disks
