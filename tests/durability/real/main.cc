// Scenarios whose outcome weir has promised, on real file systems: cut off from a recorded disk
// (docs/durability_tests.md), and killed.
//
//     durability disks --seconds 600 --seed 7 --resume build/durability.disks
//     durability kills --seconds 600

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>

#include <CLI/CLI.hpp>

#include "durability/contents.hpp"
#include "durability/real/campaign.hpp"
#include "support/support.hpp"

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

campaign_outcome carry_out(const std::string& what, const campaign_options& options) {
  return what == "disks" ? cut_disks(options) : kill_processes(options);
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

int carry_out_rounds(const arguments& asked) {
  const round_clock time(asked.seconds);
  progress reached = load(asked);
  campaign_outcome all;
  clock::time_point began;
  do {
    began = clock::now();
    print_round(reached);
    const campaign_outcome round =
        carry_out(asked.what, {.seed = scenarios::drawn(reached.seed, "round", reached.round),
                               .time = time.time_for_next(),
                               .all_file_systems = time.time_for_next() >= std::chrono::minutes(1),
                               .only = asked.only});
    if (!round.skipped.empty()) {
      std::printf("SKIPPED: %s\n", round.skipped.c_str());
      return skipped;
    }
    all.tried += round.tried;
    all.failed += round.failed;
    ++reached.round;
    if (!save(asked, reached)) {
      std::printf("cannot write %s\n", asked.resume.c_str());
      return 1;
    }
  } while (time.has_time_after(began));
  std::printf("%zu %s, %zu failures\n", all.tried, asked.what == "disks" ? "cuts" : "kills",
              all.failed);
  return all.failed == 0 ? 0 : 1;
}

int run(int count, char** words) {
  arguments asked;
  CLI::App app("Cuts disks and kills processes, and looks whether what weir promised is there");
  app.add_option("WHAT", asked.what, "disks or kills")
      ->required()
      ->check(CLI::IsMember({"disks", "kills"}));
  app.add_option("--seconds", asked.seconds, "How long, about; one round at the least");
  app.add_option("--seed", asked.seed, "What is done, and when it is cut off");
  app.add_option("--resume", asked.resume, "A file that says where the run before has ended")
      ->option_text("FILE");
  app.add_option("--only", asked.only, "What has this in its name: \"ext4 uring commits\"");
  CLI11_PARSE(app, count, words);
  if (asked.what == "disks" && (testing::address_sanitizer || testing::thread_sanitizer)) {
    std::printf("SKIPPED: under a sanitizer processes are killed, and no disks are cut\n");
    return skipped;
  }
  return carry_out_rounds(asked);
}

}  // namespace
}  // namespace weir::real_disks

int main(int count, char** words) { return weir::real_disks::run(count, words); }
