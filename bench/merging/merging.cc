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

#include "support/pairs.hpp"
#include "weir/buffer.hpp"
#include "weir/driver.hpp"
#include "weir/io_context.hpp"

namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t together = 32;
constexpr std::size_t depth = 1024;
constexpr std::size_t file_size = 256 << 20;
constexpr std::size_t blocks = file_size / block;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::system_category(), what);
}

/// A file of `file_size` that is really on the disk; has no name any more.
class disk_file {
 public:
  disk_file() {
    const char* base = std::getenv("TMPDIR");
    std::string path = std::string(base != nullptr ? base : "/var/tmp") + "/weir-bench-XXXXXX";
    buffered_ = ::mkostemp(path.data(), O_CLOEXEC);
    if (buffered_ < 0) fail(path);
    direct_ = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    ::unlink(path.c_str());
    if (direct_ < 0) fail("O_DIRECT");
    std::vector<char> chunk(1 << 20, 'w');
    for (std::size_t at = 0; at < file_size; at += chunk.size()) {
      if (::pwrite(buffered_, chunk.data(), chunk.size(), static_cast<off_t>(at)) !=
          static_cast<ssize_t>(chunk.size())) {
        fail("write");
      }
    }
    if (::fsync(buffered_) != 0) fail("fsync");
  }
  disk_file(const disk_file&) = delete;
  disk_file& operator=(const disk_file&) = delete;
  ~disk_file() {
    ::close(direct_);
    ::close(buffered_);
  }

  int buffered() const noexcept { return buffered_; }
  int direct() const noexcept { return direct_; }

 private:
  int buffered_ = -1;
  int direct_ = -1;
};

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
        if (op->answer() != static_cast<std::int32_t>(op->args.length)) fail("a read came short");
      }
    }
  }

 private:
  weir::io_context context_;
  std::vector<std::unique_ptr<weir::operation>> reads_;
};

using weir::bench::compare;
using weir::bench::print;
using weir::bench::thread_clock;

/// Beside the driver alone, and beside one read of as much as is merged.
void compare_sequential(const std::string& where, int fd, std::uint8_t hints,
                        const std::string& driver, std::size_t at_once) {
  constexpr std::size_t count = 8192;  // 32 MiB
  constexpr std::size_t large = 32 * block;
  weir::buffer memory(at_once * block);
  reader merged("merging:" + driver, at_once, block, memory);
  reader alone(driver, at_once, block, memory);
  reader alone_again(driver, at_once, block, memory);
  reader in_large(driver, at_once * block / large, large, memory);
  const auto slice = [&](reader& by, std::size_t size) {
    return [fd, hints, size, &by] {
      by.read(fd, hints, count * block / size, [size](std::size_t i) { return i * size; });
    };
  };
  print(where + ", " + std::to_string(at_once) + " at a time: merging:" + driver + " / " + driver,
        compare(slice(merged, block), slice(alone, block)), count);
  print("  " + driver + " against itself", compare(slice(alone_again, block), slice(alone, block)),
        count);
  print("  merging:" + driver + " / reads of 128 KiB by " + driver,
        compare(slice(merged, block), slice(in_large, large)), count);
  print("  its thread's processor time / that of " + driver,
        compare<thread_clock>(slice(merged, block), slice(alone, block)), count);
}

/// In processor time: none of these reads waits.
void compare_random(const disk_file& file, const std::string& driver) {
  constexpr std::size_t count = 16'384;
  constexpr int pairs = 151;
  std::vector<std::uint64_t> offsets;
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i < 16 * count; ++i) offsets.push_back(random() % blocks * block);
  weir::buffer memory(together * block);
  reader merged("merging:" + driver, together, block, memory);
  reader alone(driver, together, block, memory);
  reader alone_again(driver, together, block, memory);
  std::size_t next = 0;  // each slice reads other blocks: those just read are in the processor's
  const auto slice = [&](reader& by) {
    return [&] {
      by.read(file.buffered(), 0, count,
              [&](std::size_t) { return offsets[next++ % offsets.size()]; });
    };
  };
  print("random, in the page cache, 32 at a time: merging:" + driver + " / " + driver,
        compare<thread_clock>(slice(merged), slice(alone), pairs), count);
  print("  " + driver + " against itself",
        compare<thread_clock>(slice(alone_again), slice(alone), pairs), count);
}

}  // namespace

int main() {
  const disk_file file;
  weir::bench::print_heading();
  for (const char* driver : {"uring", "linux_aio", "threads"}) {
    compare_sequential("sequential, O_DIRECT", file.direct(), weir::hint::direct, driver, 32);
    compare_sequential("sequential, O_DIRECT", file.direct(), weir::hint::direct, driver, depth);
  }
  for (const char* driver : {"uring", "threads"}) {
    compare_sequential("sequential, in the page cache", file.buffered(), 0, driver, 32);
  }
  for (const char* driver : {"uring", "sync"}) compare_random(file, driver);
}
