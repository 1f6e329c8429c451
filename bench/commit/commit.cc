// What sharing barriers brings: 1, 8 and 64 committers, each of which appends 4 KiB and waits until
// that is durable, again and again, in one preallocated file. weir::commit beside the same with a
// write and an fdatasync of each committer's own, on the same context and driver.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "support/program.hpp"
#include "weir/weir.hpp"

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t file_pages = 4096;

[[noreturn]] void fail(std::string_view what, std::error_code why) {
  std::fprintf(stderr, "bench_commit: %.*s: %s\n", static_cast<int>(what.size()), what.data(),
               why.message().c_str());
  std::exit(1);
}

/// A file without a name, whose blocks are all written: appends change no metadata.
int make_file() {
  const char* directory = std::getenv("TMPDIR");
  const std::string path = directory != nullptr ? directory : "/var/tmp";
  const int fd = ::open(path.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) fail(path, {errno, std::system_category()});
  const std::vector<char> zeros(page);
  for (std::size_t i = 0; i < file_pages; ++i) {
    if (::pwrite(fd, zeros.data(), page, static_cast<off_t>(i * page)) != page) {
      fail("pwrite", {errno, std::system_category()});
    }
  }
  if (::fsync(fd) < 0) fail("fsync", {errno, std::system_category()});
  return fd;
}

class log_file {
 public:
  log_file(weir::io_context& context, std::size_t appends)
      : target_(context, make_file()), bytes_(page, std::byte{7}), appends_(appends) {}

  weir::task<void> by_commit() {
    while (const auto offset = next()) {
      const auto written = co_await weir::commit(target_, bytes_, *offset);
      if (!written) fail("commit", written.error());
    }
  }
  weir::task<void> by_oneself() {
    while (const auto offset = next()) {
      const auto written = co_await target_.write_all_at(bytes_, *offset);
      if (!written) fail("write", written.error());
      const auto synced = co_await target_.datasync();
      if (!synced) fail("fdatasync", synced.error());
    }
  }
  weir::task<void> by_oneself_in_one_call() {
    while (const auto offset = next()) {
      const auto written =
          co_await target_.write_all_at(bytes_, *offset, {.sync = weir::durability::data});
      if (!written) fail("write", written.error());
    }
  }
  void rewind() { done_ = 0; }

 private:
  std::optional<std::uint64_t> next() {
    if (done_ == appends_) return std::nullopt;
    return done_++ % file_pages * page;
  }

  weir::file target_;
  std::vector<std::byte> bytes_;
  const std::size_t appends_;
  std::size_t done_ = 0;
};

template <class Committer>
void run(weir::io_context& context, log_file& log, unsigned committers, Committer committer) {
  log.rewind();
  std::vector<weir::task<void>> all;
  all.reserve(committers);
  for (unsigned i = 0; i < committers; ++i) all.push_back(committer(log));
  context.run([](std::vector<weir::task<void>> each) -> weir::task<void> {
    co_await weir::when_all(std::move(each));
  }(std::move(all)));
}

void compare(weir::bench::program& by, weir::io_context& context, unsigned committers,
             std::size_t appends) {
  log_file log(context, appends);
  const auto grouped = [&] {
    run(context, log, committers, [](log_file& to) { return to.by_commit(); });
  };
  const auto alone = [&] {
    run(context, log, committers, [](log_file& to) { return to.by_oneself(); });
  };
  const auto in_one_call = [&] {
    run(context, log, committers, [](log_file& to) { return to.by_oneself_in_one_call(); });
  };
  using namespace weir::bench;
  const conditions under{.regime = std::to_string(committers) + " committers of 4 KiB",
                         .operations = appends};
  const contestant ours = of_one_size("commit", timed_by::wall, grouped);
  const contestant own = of_one_size("write, fdatasync", timed_by::wall, alone);
  by.compare(under, ours, own);
  by.compare(under, ours, of_one_size("write with RWF_DSYNC", timed_by::wall, in_one_call));
  by.compare(under, of_one_size("write, fdatasync again: noise", timed_by::wall, alone), own);
}

int body(int argc, char** argv) {
  weir::bench::program by(argc, argv, "commit", "What does sharing barriers bring?");
  auto opened = weir::open_driver();
  if (!opened) fail("no driver", opened.error());
  weir::io_context context(*std::move(opened));
  const std::size_t each = by.unless_quick<std::size_t>(200, 10);
  compare(by, context, 1, each);
  compare(by, context, 8, 2 * each);
  compare(by, context, 64, 8 * each);
  return by.finish();
}

}  // namespace

int main(int argc, char** argv) { return weir::bench::run_main(argc, argv, &body); }
