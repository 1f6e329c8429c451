// What counting costs where there is the least to count beside: no-ops, 32 to a turn, through a
// measured driver and through the same driver bare, in processor time.

#include "weir/measured.hpp"

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>

#include "support/pairs.hpp"
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
class contestant {
 public:
  explicit contestant(std::unique_ptr<weir::driver> driver) : context_(std::move(driver)) {}

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

}  // namespace

int main() {
  constexpr int pairs = 301;
  const auto counts = std::make_shared<weir::measurements>();
  weir::bench::print_heading();
  for (const std::string name : {"uring", "sync"}) {
    contestant counted(weir::make_measured(bare(name), counts, name, depth));
    contestant alone(bare(name));
    contestant alone_again(bare(name));
    using clock = weir::bench::thread_clock;
    weir::bench::print("no-ops, 32 to a turn: measured " + name + " / " + name,
                       weir::bench::compare<clock>(counted, alone, pairs), turns * at_once);
    weir::bench::print("  " + name + " against itself",
                       weir::bench::compare<clock>(alone_again, alone, pairs), turns * at_once);
  }
  std::fputs(counts->report().text().c_str(), stdout);
  return 0;
}
