// Scenarios whose outcome weir has promised: on simulated disks; on real file systems, cut off from
// a recorded disk (docs/durability_tests.md); and killed.
//
//     durability --seconds 600 --seed 7 --resume build/durability
//     durability disks --only "xfs uring replace_file"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "durability/contents.hpp"
#include "durability/real/campaign.hpp"

namespace weir::real_disks {
namespace {

using clock = std::chrono::steady_clock;

constexpr int skipped = 77;  // what CMakeLists.txt tells ctest

struct arguments {
  std::string what;
  std::uint64_t seconds = 30;
  std::uint64_t seed = std::random_device{}();
  std::string resume;
  std::string only;
};

/// Which round of which seed is the next, kept in a file from one run to the next.
struct progress {
  std::uint64_t seed;
  std::uint64_t round = 0;
};

progress load(const arguments& asked) {
  progress kept{.seed = asked.seed};
  std::ifstream file(asked.resume);
  if (progress found{}; file >> found.seed >> found.round) kept = found;
  return kept;
}

bool save(const arguments& asked, const progress& reached) {
  if (asked.resume.empty()) return true;
  std::ofstream file(asked.resume, std::ios::trunc);
  file << reached.seed << ' ' << reached.round << '\n';
  return static_cast<bool>(file.flush());
}

/// So that a long run is divided: each round has a seed of its own.
constexpr std::chrono::seconds longest_round{300};

/// One round whole; a further one if it is over in time, going by those before.
class round_clock {
 public:
  explicit round_clock(std::uint64_t seconds)
      : end_(clock::now() + std::chrono::seconds(seconds)) {}
  std::chrono::seconds time_for_next() const {
    const auto left = std::chrono::duration_cast<std::chrono::seconds>(end_ - clock::now());
    return std::clamp(left, std::chrono::seconds(0), longest_round);
  }
  bool has_time_after(clock::time_point last_began) const {
    const clock::time_point now = clock::now();
    return now + (now - last_began) / 2 < end_;
  }

 private:
  clock::time_point end_;
};

void print_round(const progress& reached) {
  std::printf("round %llu of seed %llu\n", static_cast<unsigned long long>(reached.round),
              static_cast<unsigned long long>(reached.seed));
}

/// One kind of test, of those that were asked for.
struct campaign {
  std::string_view name;
  campaign_outcome (*carry_out)(const campaign_options& options);
  campaign_outcome so_far;
};

std::vector<campaign> campaigns_of(const arguments& asked) {
  std::vector<campaign> all;
  const auto wanted = [&](std::string_view what) {
    return asked.what.empty() || asked.what == what;
  };
  if (wanted("simulated")) all.push_back({.name = "runs", .carry_out = &explore_disks});
  if (wanted("disks")) all.push_back({.name = "cuts", .carry_out = &cut_disks});
  if (wanted("kills")) all.push_back({.name = "kills", .carry_out = &kill_processes});
  return all;
}

/// What one kind had to tell, added to what it told before. False where there was nothing to try.
bool carry_out_round(campaign& which, const campaign_options& options) {
  if (!which.so_far.skipped.empty()) return false;
  const campaign_outcome round = which.carry_out(options);
  which.so_far.tried += round.tried;
  which.so_far.failed += round.failed;
  which.so_far.skipped = round.skipped;
  if (!round.skipped.empty()) {
    std::printf("SKIPPED: no %s: %s\n", std::string(which.name).c_str(), round.skipped.c_str());
  }
  return round.tried + round.failed != 0;
}

int conclude(const std::vector<campaign>& all) {
  const auto did_nothing = [](const campaign& each) {
    return each.so_far.skipped.empty() && each.so_far.tried + each.so_far.failed == 0;
  };
  if (std::ranges::all_of(all, did_nothing)) {
    std::printf("nothing has that in its name\n");
    return 1;
  }
  int status = skipped;
  for (const campaign& each : all) {
    if (!each.so_far.skipped.empty()) continue;
    std::printf("%zu %s, %zu failures\n", each.so_far.tried, std::string(each.name).c_str(),
                each.so_far.failed);
    if (status != 1) status = each.so_far.failed == 0 ? 0 : 1;
  }
  return status;
}

int carry_out_rounds(const arguments& asked) {
  const round_clock time(asked.seconds);
  progress reached = load(asked);
  std::vector<campaign> all = campaigns_of(asked);
  clock::time_point began;
  bool any = false;
  do {
    began = clock::now();
    any = false;
    print_round(reached);
    const std::chrono::seconds share = time.time_for_next() / all.size();
    for (campaign& each : all) {
      any |= carry_out_round(each, {.seed = scenarios::drawn(reached.seed, "round", reached.round),
                                    .time = share,
                                    .thorough = share >= std::chrono::minutes(1),
                                    .only = asked.only});
    }
    ++reached.round;
    if (!save(asked, reached)) {
      std::printf("cannot write %s\n", asked.resume.c_str());
      return 1;
    }
  } while (any && time.has_time_after(began));
  return conclude(all);
}

int run(int count, char** words) {
  arguments asked;
  CLI::App app("Cuts disks and kills processes, and looks whether what weir promised is there");
  app.add_option("WHAT", asked.what, "simulated, disks or kills; all by default")
      ->check(CLI::IsMember({"simulated", "disks", "kills"}));
  app.add_option("--seconds", asked.seconds, "How long, about; one round at the least");
  app.add_option("--seed", asked.seed, "What is done, and when it is cut off");
  app.add_option("--resume", asked.resume, "A file that says where the run before has ended")
      ->option_text("FILE");
  app.add_option("--only", asked.only, "What has this in its name: \"ext4 uring commits\"");
  CLI11_PARSE(app, count, words);
  return carry_out_rounds(asked);
}

}  // namespace
}  // namespace weir::real_disks

int main(int count, char** words) { return weir::real_disks::run(count, words); }
