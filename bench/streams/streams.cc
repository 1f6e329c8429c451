// What streams cost beside what they replace: records of 100 bytes beside write(2) and stdio with
// as large a buffer; files of 4 GiB, cold, beside loops over read(2) and write(2), buffered and
// with O_DIRECT, and what each leaves in the page cache. On the disk of $TMPDIR, else /var/tmp.

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/fail.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t record = 100;
constexpr std::size_t block_size = 256 * kib;

template <class Result>
auto expect(Result&& outcome, const char* what) {
  if (!outcome) throw std::system_error(outcome.error(), what);
  return *std::forward<Result>(outcome);
}

int open_again(const scratch_file& which, int flags) {
  return checked("open", ::open(which.path().c_str(), flags | O_CLOEXEC));
}

/// For loops that own their descriptor.
class open_descriptor {
 public:
  open_descriptor(const scratch_file& which, int flags) : fd_(open_again(which, flags)) {}
  open_descriptor(const open_descriptor&) = delete;
  open_descriptor& operator=(const open_descriptor&) = delete;
  ~open_descriptor() { ::close(fd_); }
  operator int() const noexcept { return fd_; }

 private:
  int fd_;
};

// --- small records -------------------------------------------------------------------------------

weir::task<void> write_records(weir::io_context& context, const scratch_file& to,
                               std::size_t count) {
  weir::writer out(weir::file(context, open_again(to, O_WRONLY)),
                   {.block_size = block_size, .blocks = 4});
  const std::array<std::byte, record> bytes{};
  for (std::size_t i = 0; i < count; ++i) expect(co_await out.write(bytes), "write");
  expect(co_await out.close(), "close");
}

weir::task<void> read_records(weir::io_context& context, const scratch_file& from,
                              std::size_t count) {
  weir::reader in(weir::file(context, open_again(from, O_RDONLY)),
                  {.block_size = block_size, .blocks = 4});
  std::array<std::byte, record> bytes;
  for (std::size_t i = 0; i < count; ++i) expect(co_await in.read_exactly(bytes), "read");
  expect(co_await in.close(), "close");
}

void write_records_by_calls(const scratch_file& to, std::size_t count) {
  const open_descriptor fd(to, O_WRONLY);
  const std::array<std::byte, record> bytes{};
  for (std::size_t i = 0; i < count; ++i) {
    if (::write(fd, bytes.data(), record) != record) fail("write");
  }
}

using stdio_file = std::unique_ptr<FILE, int (*)(FILE*)>;
stdio_file open_stdio(int fd, const char* mode, std::vector<char>& memory) {
  stdio_file opened(::fdopen(fd, mode), &std::fclose);
  if (!opened || std::setvbuf(opened.get(), memory.data(), _IOFBF, memory.size()) != 0) {
    fail("fdopen");
  }
  return opened;
}

void write_records_by_stdio(const scratch_file& to, std::size_t count) {
  std::vector<char> memory(block_size);
  const stdio_file out = open_stdio(open_again(to, O_WRONLY), "w", memory);
  const std::array<std::byte, record> bytes{};
  for (std::size_t i = 0; i < count; ++i) {
    if (std::fwrite(bytes.data(), 1, record, out.get()) != record) fail("fwrite");
  }
  if (std::fflush(out.get()) != 0) fail("fflush");
}

void read_records_by_stdio(const scratch_file& from, std::size_t count) {
  std::vector<char> memory(block_size);
  const stdio_file in = open_stdio(open_again(from, O_RDONLY), "r", memory);
  std::array<std::byte, record> bytes;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::fread(bytes.data(), 1, record, in.get()) != record) fail("fread");
  }
}

/// The file is in the page cache, and as long as what is written: no disk is waited for.
void compare_records(program& run, weir::io_context& context, timed_by clock,
                     const std::string& clock_name) {
  const std::size_t count = run.unless_quick<std::size_t>(500'000, 20'000);
  const scratch_file file(count * record);
  const auto slice = [clock](std::string name, auto work) {
    return of_one_size(std::move(name), clock, work);
  };
  const auto stdio = [&] { write_records_by_stdio(file, count); };
  const contestant writer =
      slice("writer", [&] { context.run(write_records(context, file, count)); });
  const contestant fwrite = slice("fwrite", stdio);
  const contestant reader =
      slice("reader", [&] { context.run(read_records(context, file, count)); });
  const contestant fread = slice("fread", [&] { read_records_by_stdio(file, count); });

  const conditions written{.regime = "100 bytes written, blocks of 256 KiB, " + clock_name,
                           .operations = count};
  run.compare(written, writer, slice("write(2)", [&] { write_records_by_calls(file, count); }));
  run.compare(written, writer, fwrite);
  run.compare(written, slice("fwrite again: noise", stdio), fwrite);
  run.compare({.regime = "100 bytes read, blocks of 256 KiB, " + clock_name, .operations = count},
              reader, fread);
}

// --- large files ---------------------------------------------------------------------------------

/// How much of a file the page cache has, while it is read or written and at its end.
class cache_watch {
 public:
  explicit cache_watch(const scratch_file& file) : file_(file) {}

  /// Looks now and then only: that takes time, the more the more there is.
  void moved(std::size_t bytes) {
    since_ += bytes;
    if (since_ < 256 * mib) return;
    since_ = 0;
    look();
  }
  void look() {
    if (const auto cached = cached_bytes()) most_ = std::max(most_, *cached);
  }
  std::size_t most() const noexcept { return most_; }

  /// By cachestat(2), which Linux has since 6.5 and this C library has no name for.
  std::optional<std::size_t> cached_bytes() const {
    constexpr long cachestat = 451;
    const std::array<std::uint64_t, 2> whole_file{};
    std::array<std::uint64_t, 5> pages{};
    if (::syscall(cachestat, file_.buffered(), whole_file.data(), pages.data(), 0U) == 0) {
      return pages[0] * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    }
    if (errno != ENOSYS) fail("cachestat");
    return std::nullopt;
  }

 private:
  const scratch_file& file_;
  std::size_t since_ = 0;
  std::size_t most_ = 0;
};

weir::task<void> stream_in(weir::io_context& context, const scratch_file& from, bool drop,
                           cache_watch& seen) {
  weir::reader in(weir::file(context, open_again(from, O_RDONLY)), {.drop_cache = drop});
  for (;;) {
    const auto view = expect(co_await in.peek(), "peek");
    if (view.empty()) break;
    in.consume(view.size());
    seen.moved(view.size());
  }
  expect(co_await in.close(), "close");
}

weir::task<void> stream_out(weir::io_context& context, const scratch_file& to, bool drop,
                            std::size_t size, cache_watch& seen) {
  weir::writer out(weir::file(context, open_again(to, O_WRONLY)), {.drop_cache = drop});
  for (std::size_t left = size; left != 0;) {
    const auto room = expect(co_await out.room(), "room");
    const std::size_t count = std::min(left, room.size());
    std::fill_n(room.begin(), count, std::byte{7});
    out.produce(count);
    left -= count;
    seen.moved(count);
  }
  expect(co_await out.close(weir::durability::data), "close");
}

void loop_in(const scratch_file& from, int flags, cache_watch& seen) {
  const open_descriptor fd(from, O_RDONLY | flags);
  weir::buffer memory(mib);
  for (;;) {
    const ssize_t got = ::read(fd, memory.data(), memory.size());
    if (got < 0) fail("read");
    if (got == 0) break;
    seen.moved(static_cast<std::size_t>(got));
  }
}

void loop_out(const scratch_file& to, int flags, std::size_t size, cache_watch& seen) {
  const open_descriptor fd(to, O_WRONLY | flags);
  weir::buffer memory(mib);
  for (std::size_t left = size; left != 0; left -= mib) {
    std::fill_n(memory.data(), memory.size(), std::byte{7});
    if (::write(fd, memory.data(), mib) != static_cast<ssize_t>(mib)) fail("write");
    seen.moved(mib);
  }
  checked("fdatasync", ::fdatasync(fd));
}

/// Ways of moving one large file, and the most of it that each has left in the page cache.
class large_file {
 public:
  large_file(program& run, const scratch_file& file, conditions under)
      : run_(run), file_(file), under_(std::move(under)) {}

  using work = std::function<void(cache_watch& seen)>;
  void compare(const std::string& ours, const work& our_work, const std::string& peer,
               const work& peer_work, const preparation& before) {
    run_.compare(under_, watched(ours, our_work, before), watched(peer, peer_work, before));
  }
  void say_what_was_cached() const {
    if (!cache_watch(file_).cached_bytes()) {
      return run_.remark("Without cachestat(2), nobody knows what is in the page cache.");
    }
    for (const auto& [name, most] : most_cached_) {
      run_.remark(under_.regime + ", " + name + ": at most " + std::to_string(most / mib) +
                  " MiB in the page cache.");
    }
  }

 private:
  contestant watched(const std::string& name, const work& of, const preparation& before) {
    return in_process(
        name, timed_by::wall,
        [this, name, of](std::uint64_t) {
          cache_watch seen(file_);
          of(seen);
          seen.look();
          most_cached_[name] = std::max(most_cached_[name], seen.most());
        },
        before);
  }

  program& run_;
  const scratch_file& file_;
  conditions under_;
  std::map<std::string, std::size_t> most_cached_;
};

void compare_reading(program& run, weir::io_context& context, std::size_t size) {
  const scratch_file file(size);
  large_file ways(run, file,
                  {.regime = size_name(size) + " read, cold",
                   .shown = megabytes(size),
                   .operations = 1,
                   .pairs = 5});
  const auto cold = [&] { file.drop_from_cache(); };
  const auto stream = [&](cache_watch& seen) { context.run(stream_in(context, file, true, seen)); };
  const auto loop = [&](int flags) {
    return [&file, flags](cache_watch& seen) { loop_in(file, flags, seen); };
  };
  ways.compare("reader, drop_cache", stream, "read(2), 1 MiB", loop(0), cold);
  if (file.direct() >= 0) {
    ways.compare("reader, drop_cache", stream, "read(2), 1 MiB, O_DIRECT", loop(O_DIRECT), cold);
  }
  ways.compare("read(2) again: noise", loop(0), "read(2), 1 MiB", loop(0), cold);
  ways.say_what_was_cached();
}

/// Into a file that is empty each time, and durable in the end.
void compare_writing(program& run, weir::io_context& context, std::size_t size) {
  const scratch_file file(0);
  large_file ways(run, file,
                  {.regime = size_name(size) + " written, with fdatasync",
                   .shown = megabytes(size),
                   .operations = 1,
                   .pairs = 5});
  const auto empty = [&] { checked("ftruncate", ::ftruncate(file.buffered(), 0)); };
  const auto stream = [&](cache_watch& seen) {
    context.run(stream_out(context, file, true, size, seen));
  };
  const auto loop = [&](int flags) {
    return [&file, flags, size](cache_watch& seen) { loop_out(file, flags, size, seen); };
  };
  ways.compare("writer, drop_cache", stream, "write(2), 1 MiB", loop(0), empty);
  if (file.direct() >= 0) {
    ways.compare("writer, drop_cache", stream, "write(2), 1 MiB, O_DIRECT", loop(O_DIRECT), empty);
  }
  ways.compare("write(2) again: noise", loop(0), "write(2), 1 MiB", loop(0), empty);
  ways.say_what_was_cached();
}

int body(int argc, char** argv) {
  program run(argc, argv, "streams", "What do streams cost, and what do they leave behind?");
  weir::io_context context(expect(weir::open_driver(), "open_driver"));
  compare_records(run, context, timed_by::process, "processor time");
  compare_records(run, context, timed_by::wall, "wall time");
  const std::size_t large = run.unless_quick(4096 * mib, 16 * mib);
  compare_reading(run, context, large);
  compare_writing(run, context, large);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
