// Operations on files in any order, with one of the drivers and with `sync`: the answers and what
// is left must be the same. The first byte chooses the driver; the others are a script
// (tests/differential/script.hpp). tests/differential/differential_test.cc does the same by seed.
//
// The trees are in memory (/dev/shm), or below WEIR_FUZZ_DIRECTORY.

#include <stdlib.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "differential/world.hpp"
#include "support/promise.hpp"
#include "weir/driver.hpp"

namespace {

using namespace weir::testing::differential;
using weir::fuzzing::promise;

/// The drivers, opened once, and a directory for the trees.
class arena {
 public:
  arena() : sync_(open("sync")), directory_(make_directory()) {
    ::umask(022);
    promise(sync_ != nullptr);
    for (std::size_t i = 0; i < contestants.size(); ++i) tested_[i] = open(contestants[i].driver);
  }
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;
  ~arena() { std::filesystem::remove_all(directory_); }

  std::string outcome(std::size_t contestant, const std::vector<step>& script) {
    if (!tested_[contestant]) return "";
    return compare(script, contestants[contestant], *tested_[contestant], *sync_, directory_);
  }

 private:
  static std::unique_ptr<weir::io_context> open(std::string_view driver) {
    std::vector<weir::driver_report> tried;
    auto opened = weir::open_driver({.name = driver, .queue_depth = 16, .threads = 4}, tried);
    if (opened) return std::make_unique<weir::io_context>(std::move(*opened));
    std::fprintf(stderr, "left out: %s: %s\n", std::string(driver).c_str(),
                 tried.empty() ? opened.error().message().c_str() : tried.back().reason.c_str());
    return nullptr;
  }

  static std::string make_directory() {
    const char* const wanted = std::getenv("WEIR_FUZZ_DIRECTORY");
    std::string path = std::string(wanted != nullptr ? wanted : "/dev/shm") + "/weir_fuzz.XXXXXX";
    promise(::mkdtemp(path.data()) != nullptr);
    return path;
  }

  std::unique_ptr<weir::io_context> sync_;
  std::array<std::unique_ptr<weir::io_context>, contestants.size()> tested_;
  std::string directory_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static arena drivers;
  if (size == 0) return -1;
  const std::string difference =
      drivers.outcome(data[0] % contestants.size(), script_of({data + 1, size - 1}));
  if (!difference.empty()) std::fprintf(stderr, "%s\n", difference.c_str());
  promise(difference.empty());
  return 0;
}
