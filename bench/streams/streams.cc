// What streams cost beside what they replace: small writes and reads beside write(2) and stdio with
// as large a buffer, and large files streamed past the page cache beside plain, buffered and
// O_DIRECT loops, with what each leaves in the page cache.
//
//     bench_streams [--size MiB] [--pairs N] [--rounds N]

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "support/pairs.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t record = 100;
constexpr std::size_t records = 200'000;
constexpr std::size_t block_size = std::size_t{256} << 10;
constexpr std::size_t mebibyte = std::size_t{1} << 20;

[[noreturn]] void fail(std::string_view what, std::error_code why) {
  std::fprintf(stderr, "bench_streams: %.*s: %s\n", static_cast<int>(what.size()), what.data(),
               why.message().c_str());
  std::exit(1);
}
[[noreturn]] void fail(std::string_view what) { fail(what, {errno, std::system_category()}); }

template <class Result>
auto expect(Result&& outcome, std::string_view what) {
  if (!outcome) fail(what, outcome.error());
  return *outcome;
}

/// A file without a name, and a second descriptor of it that no file object owns.
class scratch_file {
 public:
  scratch_file() {
    const char* directory = std::getenv("TMPDIR");
    fd_ = ::open(directory != nullptr ? directory : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC,
                 0600);
    if (fd_ < 0) fail("open");
  }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  ~scratch_file() { ::close(fd_); }

  int fd() const { return fd_; }
  int open_again(int flags) const {
    const std::string path = "/proc/self/fd/" + std::to_string(fd_);
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
    if (fd < 0) fail("open again");
    return fd;
  }
  void empty() const {
    if (::ftruncate(fd_, 0) < 0) fail("ftruncate");
  }
  void make_cold() const {
    if (::fsync(fd_) < 0 || ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED) != 0) fail("fadvise");
  }
  /// How much of it is in the page cache: cachestat(2), Linux 6.5.
  double cached_mebibytes() const {
    struct {
      std::uint64_t offset = 0;
      std::uint64_t length = 0;
    } range;
    std::array<std::uint64_t, 5> pages{};
    constexpr long cachestat = 451;
    if (::syscall(cachestat, fd_, &range, pages.data(), 0U) < 0) fail("cachestat");
    return static_cast<double>(pages[0]) * 4096 / mebibyte;
  }

 private:
  int fd_;
};

// --- small records -------------------------------------------------------------------------------

weir::task<void> write_records(weir::io_context& context, const scratch_file& to) {
  weir::writer out(weir::file(context, to.open_again(O_WRONLY)),
                   {.block_size = block_size, .blocks = 4});
  const std::array<std::byte, record> bytes{};
  for (std::size_t i = 0; i < records; ++i) expect(co_await out.write(bytes), "write");
  expect(co_await out.close(), "close");
}

weir::task<void> read_records(weir::io_context& context, const scratch_file& from) {
  weir::reader in(weir::file(context, from.open_again(O_RDONLY)),
                  {.block_size = block_size, .blocks = 4});
  std::array<std::byte, record> bytes;
  for (std::size_t i = 0; i < records; ++i) expect(co_await in.read_exactly(bytes), "read");
  expect(co_await in.close(), "close");
}

void write_records_by_system_calls(const scratch_file& to) {
  const int fd = to.open_again(O_WRONLY);
  const std::array<std::byte, record> bytes{};
  for (std::size_t i = 0; i < records; ++i) {
    if (::write(fd, bytes.data(), record) != record) fail("write");
  }
  ::close(fd);
}

using stdio_file = std::unique_ptr<FILE, int (*)(FILE*)>;
stdio_file open_stdio(int fd, const char* mode, std::vector<char>& memory) {
  stdio_file opened(::fdopen(fd, mode), &std::fclose);
  if (!opened || std::setvbuf(opened.get(), memory.data(), _IOFBF, memory.size()) != 0) {
    fail("fdopen");
  }
  return opened;
}

void write_records_by_stdio(const scratch_file& to) {
  std::vector<char> memory(block_size);
  const stdio_file out = open_stdio(to.open_again(O_WRONLY), "w", memory);
  const std::array<std::byte, record> bytes{};
  for (std::size_t i = 0; i < records; ++i) {
    if (std::fwrite(bytes.data(), 1, record, out.get()) != record) fail("fwrite");
  }
  if (std::fflush(out.get()) != 0) fail("fflush");
}

void read_records_by_stdio(const scratch_file& from) {
  std::vector<char> memory(block_size);
  const stdio_file in = open_stdio(from.open_again(O_RDONLY), "r", memory);
  std::array<std::byte, record> bytes;
  for (std::size_t i = 0; i < records; ++i) {
    if (std::fread(bytes.data(), 1, record, in.get()) != record) fail("fread");
  }
}

void compare_small_records(weir::io_context& context, int pairs) {
  const scratch_file target;
  const auto by_writer = [&] { context.run(write_records(context, target)); };
  const auto by_stdio = [&] { write_records_by_stdio(target); };
  const auto by_reader = [&] { context.run(read_records(context, target)); };
  by_stdio();  // from now on every block of the file is there
  print_heading();
  print("writer / write(2), 100 bytes",
        compare(by_writer, [&] { write_records_by_system_calls(target); }, pairs), records);
  print("writer / fwrite, 100 bytes", compare(by_writer, by_stdio, pairs), records);
  print("fwrite / fwrite: what lies within is noise", compare(by_stdio, by_stdio, pairs), records);
  print("reader / fread, 100 bytes",
        compare(by_reader, [&] { read_records_by_stdio(target); }, pairs), records);
}

// --- large files ---------------------------------------------------------------------------------

struct streamed {
  double seconds = 0;
  double most_cached = 0;  // mebibytes, while it ran and at its end
};

/// Looks at the page cache every 64 MiB.
class watch {
 public:
  explicit watch(const scratch_file& file) : file_(file) {}
  void moved(std::size_t bytes) {
    since_ += bytes;
    if (since_ < 64 * mebibyte) return;
    since_ = 0;
    look();
  }
  double look() { return most_ = std::max(most_, file_.cached_mebibytes()); }

 private:
  const scratch_file& file_;
  std::size_t since_ = 0;
  double most_ = 0;
};

enum class way { streams, streams_cached, buffered, direct };

weir::task<void> stream_in(weir::io_context& context, const scratch_file& from, bool drop,
                           watch& seen) {
  weir::reader in(weir::file(context, from.open_again(O_RDONLY)), {.drop_cache = drop});
  for (;;) {
    const auto view = expect(co_await in.peek(), "peek");
    if (view.empty()) break;
    in.consume(view.size());
    seen.moved(view.size());
  }
  expect(co_await in.close(), "close");
}

weir::task<void> stream_out(weir::io_context& context, const scratch_file& to, bool drop,
                            std::size_t size, watch& seen) {
  weir::writer out(weir::file(context, to.open_again(O_WRONLY)), {.drop_cache = drop});
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

void loop_in(const scratch_file& from, bool direct, watch& seen) {
  const int fd = from.open_again(O_RDONLY | (direct ? O_DIRECT : 0));
  weir::buffer memory(mebibyte);
  for (;;) {
    const ssize_t got = ::read(fd, memory.data(), memory.size());
    if (got < 0) fail("read");
    if (got == 0) break;
    seen.moved(static_cast<std::size_t>(got));
  }
  ::close(fd);
}

void loop_out(const scratch_file& to, bool direct, std::size_t size, watch& seen) {
  const int fd = to.open_again(O_WRONLY | (direct ? O_DIRECT : 0));
  weir::buffer memory(mebibyte);
  for (std::size_t left = size; left != 0; left -= mebibyte) {
    std::fill_n(memory.data(), memory.size(), std::byte{7});
    if (::write(fd, memory.data(), mebibyte) != static_cast<ssize_t>(mebibyte)) fail("write");
    seen.moved(mebibyte);
  }
  if (::fdatasync(fd) < 0) fail("fdatasync");
  ::close(fd);
}

streamed read_once(weir::io_context& context, const scratch_file& from, way how) {
  from.make_cold();
  watch seen(from);
  const double seconds = seconds_of([&] {
    if (how == way::buffered || how == way::direct) return loop_in(from, how == way::direct, seen);
    context.run(stream_in(context, from, how == way::streams, seen));
  });
  return {seconds, seen.look()};
}

streamed write_once(weir::io_context& context, const scratch_file& to, way how, std::size_t size) {
  to.empty();
  watch seen(to);
  const double seconds = seconds_of([&] {
    if (how == way::buffered || how == way::direct) {
      return loop_out(to, how == way::direct, size, seen);
    }
    context.run(stream_out(context, to, how == way::streams, size, seen));
  });
  return {seconds, seen.look()};
}

/// Each way in turn, `rounds` times; rates are medians, the page cache's growth the most seen.
void compare_ways(std::string_view title, std::size_t size, int rounds, auto&& once) {
  constexpr std::array ways{way::streams, way::streams_cached, way::buffered, way::direct};
  constexpr std::array names{"stream, drop_cache", "stream", "1 MiB loop", "1 MiB loop, O_DIRECT"};
  std::array<std::vector<double>, ways.size()> rates;
  std::array<double, ways.size()> cached{};
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const streamed one = once(ways[i]);
      rates[i].push_back(static_cast<double>(size) / mebibyte / one.seconds);
      cached[i] = std::max(cached[i], one.most_cached);
    }
  }
  for (std::size_t i = 0; i < ways.size(); ++i) {
    std::printf("%.*s %-22s %7.0f MiB/s (%.0f to %.0f), %6.0f MiB cached at most\n",
                static_cast<int>(title.size()), title.data(), names[i], median_of(rates[i]),
                *std::ranges::min_element(rates[i]), *std::ranges::max_element(rates[i]),
                cached[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t size = std::size_t{4096} * mebibyte;
  int pairs = 15;
  int rounds = 3;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--size") size = std::strtoull(argv[i + 1], nullptr, 10) * mebibyte;
    if (option == "--pairs") pairs = std::atoi(argv[i + 1]);
    if (option == "--rounds") rounds = std::atoi(argv[i + 1]);
  }
  weir::io_context context(expect(weir::open_driver(), "open_driver"));
  compare_small_records(context, pairs);
  if (size == 0) return 0;
  const scratch_file target;
  compare_ways("write", size, rounds, [&](way how) {
    return write_once(context, target, how, size);
  });
  compare_ways("read ", size, rounds, [&](way how) { return read_once(context, target, how); });
}
