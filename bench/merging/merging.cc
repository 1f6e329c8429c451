// What merging gains where there is something to merge, and what it costs where there is not: reads
// of 4 KiB, 32 at a time, by the merging driver beside the driver that it wraps. A file on the disk
// of $TMPDIR, else /var/tmp.

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "support/fail.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"
#include "weir/buffer.hpp"
#include "weir/driver.hpp"
#include "weir/io_context.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t block = 4096;
constexpr std::size_t together = 32;
constexpr std::size_t depth = 1024;

/// A context on one driver, and reads that are started together. Where they read to is shared: that
/// of whoever read last would be warmer.
class reader {
 public:
  reader(std::string_view driver, std::size_t at_once, std::size_t read_size, weir::buffer& memory)
      : context_(weir::open_driver({.name = driver, .queue_depth = depth}).value()) {
    for (std::size_t i = 0; i < at_once; ++i) {
      reads_.push_back(
          std::make_unique<weir::operation>(weir::request{.op = weir::opcode::read,
                                                          .address = memory.data() + i * read_size,
                                                          .length = read_size},
                                            [](weir::operation&) noexcept {}));
    }
  }

  /// `offset(i)` for the i-th read of the slice.
  void read(int fd, std::uint8_t hints, std::size_t count, auto&& offset) {
    for (std::size_t done = 0; done < count; done += reads_.size()) {
      for (std::size_t i = 0; i < reads_.size(); ++i) {
        weir::operation& op = *reads_[i];
        op.args.fd = fd;
        op.args.hints = hints;
        op.args.offset = offset(done + i);
        context_.start(op);
      }
      context_.run();
      for (const auto& op : reads_) {
        if (op->answer() != static_cast<std::int32_t>(op->args.length))
          fail("a read came short", EIO);
      }
    }
  }

 private:
  weir::io_context context_;
  std::vector<std::unique_ptr<weir::operation>> reads_;
};

/// Beside the driver alone, and beside one read of as much as is merged.
void compare_sequential(program& run, const std::string& where, int fd, std::uint8_t hints,
                        const std::string& driver, std::size_t at_once) {
  const std::size_t count = run.unless_quick<std::size_t>(8192, 2048);  // of blocks
  constexpr std::size_t large = 32 * block;
  weir::buffer memory(at_once * block);
  reader merged("merging:" + driver, at_once, block, memory);
  reader alone(driver, at_once, block, memory);
  reader alone_again(driver, at_once, block, memory);
  reader in_large(driver, at_once * block / large, large, memory);
  const auto slice = [&](std::string name, timed_by with, reader& by, std::size_t size) {
    return of_one_size(std::move(name), with, [fd, hints, size, count, &by] {
      by.read(fd, hints, count * block / size, [size](std::size_t i) { return i * size; });
    });
  };
  const std::string regime = "4 KiB, " + where + ", " + std::to_string(at_once) + " at a time";
  const conditions waited{.regime = regime, .operations = count};
  const contestant ours = slice("merging:" + driver, timed_by::wall, merged, block);
  const contestant peer = slice(driver, timed_by::wall, alone, block);
  run.compare(waited, ours, peer);
  run.compare(waited, slice(driver + " again: noise", timed_by::wall, alone_again, block), peer);
  run.compare(waited, ours,
              slice("reads of 128 KiB by " + driver, timed_by::wall, in_large, large));
  run.compare({.regime = regime + ", the thread's processor time", .operations = count},
              slice("merging:" + driver, timed_by::thread, merged, block),
              slice(driver, timed_by::thread, alone, block));
}

/// In processor time: none of these reads waits.
void compare_random(program& run, const scratch_file& file, const std::string& driver) {
  const std::size_t count = run.unless_quick<std::size_t>(16'384, 1'024);
  std::vector<std::uint64_t> offsets;
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i < 16 * count; ++i)
    offsets.push_back(random() % (file.size() / block) * block);
  weir::buffer memory(together * block);
  reader merged("merging:" + driver, together, block, memory);
  reader alone(driver, together, block, memory);
  reader alone_again(driver, together, block, memory);
  std::size_t next = 0;  // each slice reads other blocks: those just read are in the processor's
  const auto slice = [&](std::string name, reader& by) {
    return of_one_size(std::move(name), timed_by::thread, [&] {
      by.read(file.buffered(), 0, count,
              [&](std::size_t) { return offsets[next++ % offsets.size()]; });
    });
  };
  const conditions under{.regime = "4 KiB, random, in the page cache, 32 at a time, processor time",
                         .operations = count,
                         .pairs = 151};
  run.compare(under, slice("merging:" + driver, merged), slice(driver, alone));
  run.compare(under, slice(driver + " again: noise", alone_again), slice(driver, alone));
}

int body(int argc, char** argv) {
  program run(argc, argv, "merging", "What does merging gain, and what does it cost?");
  const scratch_file file(run.unless_quick(256 * mib, 16 * mib));
  for (const char* driver : {"uring", "linux_aio", "threads"}) {
    for (const std::size_t at_once : {together, depth}) {
      compare_sequential(run, "sequential, O_DIRECT", file.direct(), weir::hint::direct, driver,
                         at_once);
    }
  }
  for (const char* driver : {"uring", "threads"}) {
    compare_sequential(run, "sequential, in the page cache", file.buffered(), 0, driver, together);
  }
  for (const char* driver : {"uring", "sync"}) compare_random(run, file, driver);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
