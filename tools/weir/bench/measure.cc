#include "bench/measure.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <random>
#include <system_error>
#include <utility>

#include "failures.hpp"
#include "interrupts.hpp"
#include <weir/buffer.hpp>

namespace weir::tools::bench {
namespace {

using steady = std::chrono::steady_clock;

// Blocks of `what` in the part of the file that it touches. Of a file with more blocks than can be
// needed: some, spread over all of it if they are random.
std::vector<std::uint64_t> offsets_for(const regime& what, std::uint64_t file_size) {
  constexpr std::uint64_t most = std::uint64_t{1} << 18;
  const std::uint64_t bytes = what.cache == cache::warm ? warm_bytes : file_size;
  const std::uint64_t blocks = bytes / what.block;
  std::vector<std::uint64_t> offsets(std::min(blocks, most));
  const bool random = what.order == order::random;
  const std::uint64_t step = random ? blocks / offsets.size() : 1;
  std::ranges::generate(offsets,
                        [&, i = std::uint64_t{0}]() mutable { return i++ * step * what.block; });
  // The same order each time the program runs: what is compared is not luck.
  if (random) std::ranges::shuffle(offsets, std::mt19937_64(what.depth));
  return offsets;
}

/// A regime, and how far its slices have come in the file.
struct course {
  row measured;
  std::vector<std::uint64_t> offsets;
  std::size_t position = 0;
};

class measuring {
 public:
  measuring(const target& file, const pace& at,
            const std::function<void(const std::string&)>& show_step)
      : file_(file), pace_(at), show_step_(show_step) {}

  std::expected<findings, std::string> run() {
    if (auto error = find_out()) return std::unexpected(*std::move(error));
    fill_with_noise(memory_.span(), 0);
    if (auto error = warm_up()) return std::unexpected(*std::move(error));
    if (auto error = all_rounds()) return std::unexpected(*std::move(error));
    for (course& each : courses_) found_.rows.push_back(std::move(each.measured));
    return std::move(found_);
  }

 private:
  using failure = std::optional<std::string>;  // a sentence

  failure find_out();
  failure warm_up();
  failure all_rounds();
  failure one_round(std::chrono::milliseconds slice_length, bool counted);
  failure one_regime(course& on, std::chrono::milliseconds slice_length, bool counted);
  failure one_slice(course& on, contestant& who, std::chrono::milliseconds length, bool counted);
  std::error_code prepare(const regime& what) noexcept;
  std::error_code read_warm_part() noexcept;
  std::string cannot(const std::string& what, std::error_code error) const;

  const target& file_;
  pace pace_;
  const std::function<void(const std::string&)>& show_step_;
  std::vector<std::unique_ptr<contestant>> contestants_;
  std::vector<course> courses_;
  buffer memory_{max_bytes_in_flight};
  std::size_t round_ = 0;
  findings found_;
};

std::string measuring::cannot(const std::string& what, std::error_code error) const {
  return "cannot " + what + " " + file_.description() + ": " + error.message();
}

// Which regimes can be had of this file, and by whom.
measuring::failure measuring::find_out() {
  found_.remarks = file_.remarks();
  const std::error_code refused = file_.direct_refusal();
  if (refused) {
    found_.remarks.push_back("not past the page cache: O_DIRECT is refused here: " +
                             refused.message());
  }
  if (const auto error = file_.drop_pages()) return cannot("drop the pages of", error);
  const bool cold = file_.pages_are_dropped();
  if (!cold) {
    found_.remarks.emplace_back(
        "nothing that is not in the page cache: this file system keeps the pages of a file there, "
        "or does not say");
  }
  for (const regime& each : all_regimes()) {
    if (each.cache == cache::direct && refused) continue;
    if (each.cache == cache::cold && !cold) continue;
    if (each.work != work::read && !file_.is_scratch()) continue;
    courses_.push_back({.measured = {.what = each, .contestants = {}},
                        .offsets = offsets_for(each, file_.size())});
  }
  auto assembled = assemble(file_, !refused);
  if (!assembled) return assembled.error();
  contestants_ = std::move(assembled->contestants);
  found_.absent = std::move(assembled->absent);
  for (course& each : courses_) {
    for (const auto& who : contestants_) {
      if (!takes_part(*who, each.measured.what)) continue;
      each.measured.contestants.push_back({.contestant = std::string(who->name()), .rounds = {}});
    }
  }
  return {};
}

std::error_code measuring::read_warm_part() noexcept {
  std::uint64_t at = 0;
  while (at < warm_bytes) {
    const ssize_t count = ::pread(file_.fd(), memory_.data(), mib, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return last_error();
    if (count == 0) break;  // the slice will say so
    at += static_cast<std::uint64_t>(count);
  }
  return {};
}

std::error_code measuring::prepare(const regime& what) noexcept {
  return what.cache == cache::warm ? read_warm_part() : file_.drop_pages();
}

// Threads start, kernel workers too, pages are faulted in: nothing of that is to be counted.
measuring::failure measuring::warm_up() {
  show_step_("warming up");
  return one_round(std::min(pace_.slice, std::chrono::milliseconds(10)), false);
}

measuring::failure measuring::all_rounds() {
  steady::duration longest{};
  while (round_ < pace_.rounds && !interrupted) {
    const auto begun = steady::now();
    if (round_ != 0 && begun + longest > pace_.until) break;
    if (auto error = one_round(pace_.slice, true)) return error;
    longest = std::max(longest, steady::now() - begun);
    ++round_;
  }
  found_.rounds = round_;
  return {};
}

measuring::failure measuring::one_round(std::chrono::milliseconds slice_length, bool counted) {
  for (course& each : courses_) {
    if (interrupted) return {};
    if (counted) {
      show_step_("round " + std::to_string(round_ + 1) + " of " + std::to_string(pace_.rounds) +
                 ": " + name_of(each.measured.what.cache) + ", " + title_of(each.measured.what));
    }
    if (auto error = one_regime(each, slice_length, counted)) return error;
  }
  return {};
}

measuring::failure measuring::one_regime(course& on, std::chrono::milliseconds slice_length,
                                         bool counted) {
  const regime& what = on.measured.what;
  if (const auto error = prepare(what)) return cannot("prepare", error);
  for (std::size_t i = 0; i < contestants_.size() && !interrupted; ++i) {
    contestant& who = *contestants_[(i + round_) % contestants_.size()];
    if (!takes_part(who, what)) continue;
    if (auto error = one_slice(on, who, slice_length, counted)) return error;
  }
  return {};
}

measuring::failure measuring::one_slice(course& on, contestant& who,
                                        std::chrono::milliseconds length, bool counted) {
  const regime& what = on.measured.what;
  if (what.cache == cache::cold) {
    if (const auto error = file_.drop_pages()) return cannot("drop the pages of", error);
  }
  // What has been read once is not cold any more.
  const std::size_t most = what.cache == cache::cold ? on.offsets.size() : SIZE_MAX;
  slice work({.what = what,
              .offsets = on.offsets,
              .first = on.position,
              .most = most,
              .length = length,
              .memory = memory_.span(),
              .interrupted = &interrupted});
  who.run(work);
  if (work.error()) {
    const std::string verb = what.work == bench::work::read ? "read" : "write";
    return cannot(verb, work.error()) + " (" + std::string(who.name()) + ")";
  }
  on.position = work.position();
  // Left to itself, what was written would be written back during somebody else's slice.
  if (what.work != bench::work::read) {
    if (const auto error = file_.write_back()) return cannot("write back", error);
  }
  if (!counted || work.operations() == 0) return {};  // none: interrupted
  const auto operations = static_cast<double>(work.operations());
  const auto entry = std::ranges::find(on.measured.contestants, who.name(), &series::contestant);
  entry->rounds.push_back(
      {.per_second = operations / work.seconds(), .cpu_seconds = work.cpu_seconds() / operations});
  return {};
}

}  // namespace

std::expected<findings, std::string> measure(
    const target& file, const pace& at, const std::function<void(const std::string&)>& show_step) {
  return measuring(file, at, show_step).run();
}

}  // namespace weir::tools::bench
