// What buffered reads cost where the page cache has nothing: before each slice the files are
// dropped from it, by posix_fadvise(2), with nothing left to be written.

#include <cstdint>
#include <string>
#include <vector>

#include "peers/peers.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

/// Equal files, and how to make them cold.
class file_set {
 public:
  file_set(std::size_t count, std::size_t size) {
    for (std::size_t i = 0; i < count; ++i) files_.emplace_back(size);
  }
  std::vector<int> descriptors() const {
    std::vector<int> all;
    for (const scratch_file& each : files_) all.push_back(each.buffered());
    return all;
  }
  std::size_t bytes() const { return files_.size() * files_.front().size(); }
  std::size_t file_size() const { return files_.front().size(); }
  preparation dropped() const {
    return [this] {
      for (const scratch_file& each : files_) each.drop_from_cache();
    };
  }

 private:
  std::vector<scratch_file> files_;
};

struct kind {
  std::string title;
  std::size_t block;
  unsigned depth;
  bool sequential;
};

/// Sequential slices read all there is; random ones so little that few pages are hit twice.
std::uint64_t slice_of(const file_set& files, const kind& which) {
  const std::uint64_t all = files.bytes() / which.block;
  return which.sequential ? all : all / 16;
}

void compare_all(program& run, const file_set& files, const kind& which) {
  const workload work{.files = files.descriptors(),
                      .block = which.block,
                      .span = files.file_size(),
                      .depth = which.depth,
                      .sequential = which.sequential};
  const std::string where =
      work.files.size() == 1 ? "one file" : std::to_string(work.files.size()) + " files";
  const std::string many =
      which.depth == 1 ? "one at a time" : std::to_string(which.depth) + " in flight";
  const conditions under{.regime = which.title + ", " + where + ", " + many,
                         .shown = which.block == 4 * kib ? rate() : megabytes(which.block),
                         .operations = slice_of(files, which)};
  const contestant ours = weir_on({.name = "uring"}, work, timed_by::wall, files.dropped());
  run.compare(under, ours, calls(call::pread, work, timed_by::wall, files.dropped()));
  run.compare(under, ours, raw_ring(tuning::tuned, work, timed_by::wall, files.dropped()));
  if (which.depth > 1) {
    run.compare(under, ours, libuv(16, work, timed_by::wall, files.dropped()));
    run.compare(under, weir_on({.name = "threads"}, work, timed_by::wall, files.dropped()),
                libuv(16, work, timed_by::wall, files.dropped()));
  }
}

int body(int argc, char** argv) {
  program run(argc, argv, "cold",
              "What do buffered reads cost that find nothing in the page cache?");
  const std::size_t all = run.unless_quick(256 * mib, 8 * mib);
  const std::vector<kind> kinds{{"4 KiB random reads", 4 * kib, 1, false},
                                {"4 KiB random reads", 4 * kib, 32, false},
                                {"128 KiB sequential reads", 128 * kib, 1, true},
                                {"128 KiB sequential reads", 128 * kib, 8, true}};
  for (const std::size_t count : {std::size_t{1}, run.unless_quick<std::size_t>(64, 8)}) {
    const file_set files(count, all / count);
    for (const kind& each : kinds) compare_all(run, files, each);
  }
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
