// What counting costs where there is the least to count beside: no-ops, 32 to a turn, through a
// measured driver and through the same driver bare, in processor time.

#include "weir/measured.hpp"

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>

#include "support/program.hpp"
#include "weir/driver.hpp"
#include "weir/io_context.hpp"

namespace {

constexpr std::size_t at_once = 32;
constexpr unsigned depth = 64;
constexpr std::size_t turns = 2'000;

struct no_op : weir::operation {
  no_op() noexcept : operation({}, [](weir::operation&) noexcept {}) {}
};

/// A context, and the operations that go through it again and again.
class looped {
 public:
  explicit looped(std::unique_ptr<weir::driver> driver) : context_(std::move(driver)) {}

  void operator()() {
    for (std::size_t turn = 0; turn < turns; ++turn) {
      for (no_op& each : operations_) context_.start(each);
      context_.run();
    }
  }

 private:
  weir::io_context context_;
  std::array<no_op, at_once> operations_;
};

std::unique_ptr<weir::driver> bare(const std::string& name) {
  return weir::open_driver({.name = name, .queue_depth = depth}).value();
}

int body(int argc, char** argv) {
  using namespace weir::bench;
  program run(argc, argv, "measured", "What does counting cost where there is the least to count?");
  const auto counts = std::make_shared<weir::measurements>();
  const auto timed = [](const std::string& name, looped& of) {
    return of_one_size(name, timed_by::thread, [&of] { of(); });
  };
  for (const std::string name : {"uring", "sync"}) {
    looped counted(weir::make_measured(bare(name), counts, name, depth));
    looped alone(bare(name));
    looped alone_again(bare(name));
    const conditions under{.regime = "no-ops, 32 to a turn, processor time, " + name,
                           .operations = turns * at_once,
                           .pairs = 301};
    run.compare(under, timed("measured " + name, counted), timed(name, alone));
    run.compare(under, timed(name + " itself: noise", alone_again), timed(name, alone));
  }
  std::fputs(counts->report().text().c_str(), stdout);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return weir::bench::run_main(argc, argv, &body); }
