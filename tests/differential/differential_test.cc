// Operations on files in any order, by seed: what a driver answers, and what it leaves, is what the
// sync driver answers and leaves. fuzz/drivers.cc looks for such orders with more cunning; its
// corpus is run here, too. WEIR_SEED repeats one seed, WEIR_SEEDS says how many there are to be.

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "differential/world.hpp"
#include "support/support.hpp"

namespace weir::testing::differential {
namespace {

constexpr std::size_t script_most = 600;  // bytes

std::optional<std::uint64_t> from_environment(const char* name) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::optional(std::strtoull(text, nullptr, 10)) : std::nullopt;
}

std::vector<std::uint8_t> bytes_by(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> bytes(1 + random() % script_most);
  for (std::uint8_t& each : bytes) each = static_cast<std::uint8_t>(random());
  return bytes;
}

/// Compares the driver that is the parameter with `sync`.
class differential : public ::testing::TestWithParam<contestant> {
 protected:
  void SetUp() override {
    ::umask(022);
    std::vector<driver_report> tried;
    auto opened = open_driver(options_for(GetParam().driver), tried);
    if (!opened) GTEST_SKIP() << (tried.empty() ? opened.error().message() : tried.back().reason);
    tested_ = std::make_unique<io_context>(std::move(*opened));
    sync_ = std::make_unique<io_context>(open_driver(options_for("sync")).value());
  }

  static driver_options options_for(std::string_view driver) {
    return {.name = driver, .queue_depth = 16, .threads = 4};
  }

  std::string difference(std::span<const std::uint8_t> bytes, const std::string& directory) {
    return compare(script_of(bytes), GetParam(), *tested_, *sync_, directory);
  }

  /// From the first seed on, or the only one that is asked for.
  void compare_by_seed(const std::string& directory, std::uint64_t seeds) {
    const auto only = from_environment("WEIR_SEED");
    const std::uint64_t first = only.value_or(1);
    const std::uint64_t count = only ? 1 : from_environment("WEIR_SEEDS").value_or(seeds);
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
      ASSERT_EQ(difference(bytes_by(seed), directory), "") << "again with WEIR_SEED=" << seed;
    }
  }

 private:
  std::unique_ptr<io_context> tested_;
  std::unique_ptr<io_context> sync_;
};

INSTANTIATE_TEST_SUITE_P(drivers, differential, ::testing::ValuesIn(contestants),
                         [](const auto& tested) {
                           const ::testing::TestParamInfo<std::string_view> named(
                               tested.param.driver, tested.index);
                           return name_of_driver(named);
                         });

TEST_P(differential, answers_and_leaves_in_memory_what_sync_does) {
  if (!GetParam().kernel_files) GTEST_SKIP() << "it does what a disk's file system does, not tmpfs";
  std::string directory = "/dev/shm/weir_differential.XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) GTEST_SKIP() << "/dev/shm: " << std::strerror(errno);
  compare_by_seed(directory, 200);
  std::filesystem::remove_all(directory);
}

// Fewer: each has to wait for the disk now and then.
TEST_P(differential, answers_and_leaves_on_a_disk_what_sync_does) {
  const temp_directory directory;
  compare_by_seed(directory.path(), GetParam().kernel_files ? 30 : 100);
}

TEST_P(differential, answers_and_leaves_what_sync_does_where_the_fuzzer_has_been) {
  const temp_directory directory;
  std::size_t inputs = 0;
  for (const auto& each : std::filesystem::directory_iterator(WEIR_FUZZ_CORPUS "/drivers")) {
    std::ifstream in(each.path(), std::ios::binary);
    std::vector<char> text{std::istreambuf_iterator<char>(in), {}};
    std::vector<std::uint8_t> bytes(text.begin(), text.end());
    if (bytes.empty()) continue;
    // The first byte names a driver; here every driver is asked.
    EXPECT_EQ(difference(std::span(bytes).subspan(1), directory.path()), "") << each.path();
    ++inputs;
  }
  EXPECT_NE(inputs, 0U);
}

}  // namespace
}  // namespace weir::testing::differential
