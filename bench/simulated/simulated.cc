// What a simulated disk takes: how many operations of a storage engine's kind pass in a second of
// one core, beside the same on a file system in memory, done by the calling thread.

#include "weir/simulated.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/fail.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

constexpr unsigned at_once = 32;
constexpr std::uint64_t block = 4096;
constexpr std::uint64_t blocks = 1024;
constexpr std::uint64_t syncs = 64;  // one in so many

/// Coroutines that each write a block, read another, and sync now and then.
class engine {
 public:
  engine(std::unique_ptr<weir::driver> on, std::string path)
      : context_(std::move(on)), path_(std::move(path)) {
    file_ = context_.run(open());
  }

  void operator()(std::uint64_t operations) {
    left_ = operations;
    std::vector<weir::task<void>> all;
    for (unsigned i = 0; i < at_once; ++i) all.push_back(work());
    context_.run([](std::vector<weir::task<void>> each) -> weir::task<void> {
      co_await weir::when_all(std::move(each));
    }(std::move(all)));
  }

 private:
  weir::task<weir::file> open() {
    auto opened = co_await weir::open(context_, path_, {.write = true, .create = true});
    if (!opened) fail("open " + path_, opened.error().value());
    // Nothing is to be left behind.
    if (!co_await weir::remove_file(context_, path_)) fail("remove " + path_, EIO);
    co_return *std::move(opened);
  }

  weir::task<void> work() {
    std::array<std::byte, block> memory{};
    while (left_ > 0) {
      const std::uint64_t number = left_--;
      const std::uint64_t offset = number * 7919 % blocks * block;
      if (number % syncs == 0) {
        if (!co_await file_.sync()) fail("sync", EIO);
      } else if (number % 2 == 0) {
        if (!co_await file_.write_at(memory, offset)) fail("write", EIO);
      } else {
        if (!co_await file_.read_at(memory, offset)) fail("read", EIO);
      }
    }
  }

  weir::io_context context_;
  std::string path_;
  weir::file file_;
  std::uint64_t left_ = 0;
};

contestant simulated(std::string name, bool trace) {
  auto disk = weir::simulated_disk::make({.trace = trace}).value();
  auto work = std::make_shared<engine>(disk.open_driver(at_once).value(), "/file");
  return in_process(std::move(name), timed_by::process,
                    [work](std::uint64_t operations) { (*work)(operations); });
}

contestant in_memory() {
  auto work =
      std::make_shared<engine>(weir::open_driver({.name = "sync", .queue_depth = at_once}).value(),
                               "/dev/shm/weir-bench-" + std::to_string(getpid()));
  return in_process("sync on tmpfs", timed_by::process,
                    [work](std::uint64_t operations) { (*work)(operations); });
}

int body(int argc, char** argv) {
  program run(argc, argv, "simulated", "What does an operation on a simulated disk cost?");
  stay_on_one_core();
  const conditions under{.regime =
                             "4 KiB, as many reads as writes, a sync in 64, 32 at a time, "
                             "one core, processor time",
                         .shown = rate()};
  run.compare(under, simulated("simulated, no trace", false), in_memory());
  run.compare(under, simulated("simulated, traced", true), in_memory());
  run.compare(under, simulated("another of the same: noise", false),
              simulated("simulated, no trace", false));
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
