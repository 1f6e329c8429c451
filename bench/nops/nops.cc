// What weir itself takes: operations that do nothing, 32 at a time, beside the same by hand. The
// difference is all that lies between `co_await` and the ring.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "peers/raw_nops.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

constexpr unsigned at_once = 32;

std::unique_ptr<weir::driver> opened(const std::string& driver) {
  return weir::open_driver({.name = driver, .queue_depth = 2 * at_once}).value();
}

/// As many coroutines, each of which awaits one no-op after another.
class coroutines {
 public:
  explicit coroutines(const std::string& driver) : context_(opened(driver)) {}

  void operator()(std::uint64_t operations) {
    left_ = operations;
    std::vector<weir::task<void>> all;
    for (unsigned i = 0; i < at_once; ++i) all.push_back(work());
    context_.run([](std::vector<weir::task<void>> each) -> weir::task<void> {
      co_await weir::when_all(std::move(each));
    }(std::move(all)));
  }

 private:
  weir::task<void> work() {
    while (left_ > 0) {
      --left_;
      if (const auto done = co_await context_.schedule(); !done) {
        fail("a no-op", done.error().value());
      }
    }
  }

  weir::io_context context_;
  std::uint64_t left_ = 0;
};

/// The same without coroutines: operations in the program's own storage.
class embedded {
 public:
  explicit embedded(const std::string& driver) : context_(opened(driver)) {}

  void operator()(std::uint64_t operations) {
    for (std::uint64_t done = 0; done < operations; done += at_once) {
      for (no_op& each : all_) context_.start(each);
      context_.run();
    }
  }

 private:
  struct no_op : weir::operation {
    no_op() noexcept : operation({}, [](weir::operation&) noexcept {}) {}
  };

  weir::io_context context_;
  std::array<no_op, at_once> all_;
};

template <class Work>
contestant contestant_of(std::string name, std::shared_ptr<Work> work) {
  return in_process(std::move(name), timed_by::process,
                    [work = std::move(work)](std::uint64_t operations) { (*work)(operations); });
}

contestant by_hand() {
  auto ring = std::make_shared<nop_ring>(at_once);
  return in_process("IORING_OP_NOP by hand", timed_by::process,
                    [ring](std::uint64_t operations) { ring->run(operations, at_once); });
}

int body(int argc, char** argv) {
  program run(argc, argv, "nops", "What does an operation cost that does nothing?");
  stay_on_one_core();
  const conditions under{.regime = "no-ops, 32 at a time, one core, processor time"};
  const auto ours = contestant_of("weir uring, coroutines", std::make_shared<coroutines>("uring"));
  run.compare(under, ours, by_hand());
  run.compare(under,
              contestant_of("weir uring, embedded operations", std::make_shared<embedded>("uring")),
              by_hand());
  run.compare(under, ours,
              contestant_of("another of the same: noise", std::make_shared<coroutines>("uring")));
  run.compare(under, contestant_of("weir sync, coroutines", std::make_shared<coroutines>("sync")),
              by_hand());
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
