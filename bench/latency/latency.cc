// How long a read takes when reads arrive on a schedule, whether or not those before are done: 4
// KiB at random places past the page cache. Each read's time counts from when it was to begin, so
// that a stall is felt by all that it holds up. Both loops poll, so that neither has to be woken.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "latency/readers.hpp"
#include "peers/workload.hpp"
#include "support/percentiles.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

constexpr unsigned pool = 16;

/// What is to come, and what became of it.
class schedule {
 public:
  schedule(double rate, std::size_t count)
      : began_(seconds_now(timed_by::wall)), interval_(1 / rate), count_(count) {
    taken_.reserve(count);
  }

  bool over() const noexcept { return taken_.size() == count_; }
  bool is_due() const noexcept {
    return next_ < count_ && seconds_now(timed_by::wall) >= time_of(next_);
  }
  std::size_t take() noexcept { return next_++; }
  void done(std::size_t number) { taken_.push_back(seconds_now(timed_by::wall) - time_of(number)); }
  std::vector<double> latencies() && { return std::move(taken_); }

 private:
  double time_of(std::size_t number) const noexcept {
    return began_ + static_cast<double>(number) * interval_;
  }

  double began_;
  double interval_;
  std::size_t count_;
  std::size_t next_ = 0;
  std::vector<double> taken_;
};

latencies slice_by(reader& by, double rate, std::size_t count) {
  return [&by, rate, count] {
    schedule all(rate, count);
    by.when_done([&all](std::size_t number) { all.done(number); });
    while (!all.over()) {
      while (by.has_room() && all.is_due()) by.start(all.take());
      by.poll();
    }
    return std::move(all).latencies();
  };
}

int body(int argc, char** argv) {
  program run(argc, argv, "latency", "How long does a read take under a load that does not wait?");
  const scratch_file file(run.unless_quick(256 * mib, 16 * mib));
  if (file.direct() < 0) {
    run.remark("The file system of " + scratch_directory() + " has no O_DIRECT: nothing measured.");
    return run.finish();
  }
  const workload work{.files = {file.direct()}, .span = file.size(), .depth = 512};
  const auto uring = weir_reader({.name = "uring", .queue_depth = 512}, work);
  const auto threads = weir_reader({.name = "threads", .queue_depth = 512, .threads = pool}, work);
  const auto peer = libuv_reader(pool, work);
  if (!peer) {
    run.remark("Without libuv: libuv1-dev was not there when this was built.");
    return run.finish();
  }
  for (const double rate : {5'000.0, 20'000.0, 40'000.0}) {
    const auto count = static_cast<std::size_t>(rate * run.unless_quick(0.4, 0.01));
    const std::string regime = "4 KiB random reads, O_DIRECT, " +
                               weir::report::grouped(static_cast<std::uint64_t>(rate)) +
                               " a second, from the scheduled time";
    const auto compare = [&](const std::string& name, reader& ours) {
      compare_percentiles(run, regime, {50, 99, 99.9}, name, slice_by(ours, rate, count),
                          "libuv, pool of 16", slice_by(*peer, rate, count));
    };
    compare("weir uring", *uring);
    compare("weir threads, pool of 16", *threads);
  }
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
