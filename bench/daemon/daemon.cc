// What it costs to have the daemon read: a page at a time and many outstanding, beside
// open+read+close; a large file to a socket, beside send_file; and how it does while ten thousand
// slow receivers wait.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/served_directory.hpp"
#include "support/contestant.hpp"
#include "support/fail.hpp"
#include "support/percentiles.hpp"
#include "support/program.hpp"
#include "support/units.hpp"
#include "transfer/receiver.hpp"
#include "weir/transfer.hpp"
#include "weir/weir.h"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t page = 4 * kib;
constexpr std::size_t outstanding = 32;

/// What reading a small file takes in this process.
struct by_itself {
  std::string path;
  std::array<char, page> memory{};

  void operator()() {
    const int fd = checked("open", ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    expect_whole("read", ::read(fd, memory.data(), page), page);
    ::close(fd);
  }
};

/// A client that reads small files, by descriptors alone.
class reader {
 public:
  explicit reader(const served_directory& served) : connection_(served.connect()) {}
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;
  ~reader() { ::close(connection_); }

  int ask() const {
    return checked("weir_daemon_read", ::weir_daemon_read(connection_, "small", 0, 0, 0));
  }
  // The information says how much will come, so that the end need not be waited for.
  void take(int channel) {
    std::size_t got = 0;
    while (got < whole) {
      const ssize_t more = ::read(channel, memory_.data(), memory_.size());
      if (more <= 0) fail("a channel ended early", EIO);
      got += static_cast<std::size_t>(more);
    }
    ::close(channel);
  }

  void read() { take(ask()); }
  void read_many(std::uint64_t count) {
    std::array<int, outstanding> channels{};
    std::uint64_t asked = 0;
    for (std::uint64_t taken = 0; taken < count; ++taken) {
      for (; asked < count && asked < taken + outstanding; ++asked) {
        channels[asked % outstanding] = ask();
      }
      take(channels[taken % outstanding]);
    }
  }

 private:
  static constexpr std::size_t whole = WEIR_ANSWER_SIZE + page;
  int connection_;
  std::array<char, 2 * whole> memory_{};
};

double median_microseconds(std::size_t count, auto&& work) {
  std::vector<double> times(count);
  for (double& each : times) {
    const double began = seconds_now(timed_by::wall);
    work();
    each = 1e6 * (seconds_now(timed_by::wall) - began);
  }
  return median_of(std::move(times));
}

double a_second(std::uint64_t count, auto&& work) {
  const double began = seconds_now(timed_by::wall);
  work(count);
  return static_cast<double>(count) / (seconds_now(timed_by::wall) - began);
}

void compare_small(program& run) {
  const served_directory served;
  by_itself here{.path = served.add_file("small", page)};
  reader client(served);
  const auto count = run.unless_quick<std::size_t>(5'000, 50);

  const conditions latency{.regime = "4 KiB from the page cache, one at a time, median",
                           .shown = {.unit = "\u00b5s"},
                           .pairs = 21};
  const auto ours = [&] { return median_microseconds(count, [&] { client.read(); }); };
  const auto theirs = [&] { return median_microseconds(count, [&] { here(); }); };
  run.record(latency, "the daemon", "open, read, close",
             compare_values(ours, theirs, run.pairs(latency)));
  run.record(latency, "open, read, close", "the same again: noise",
             compare_values(theirs, theirs, run.pairs(latency)));

  const conditions many{.regime = "4 KiB from the page cache, 32 outstanding",
                        .shown = {.unit = "a second", .more_is_better = true},
                        .pairs = 21};
  run.record(
      many, "the daemon", "open, read, close",
      compare_values(
          [&] { return a_second(4 * count, [&](std::uint64_t all) { client.read_many(all); }); },
          [&] {
            return a_second(4 * count, [&](std::uint64_t all) {
              for (std::uint64_t i = 0; i < all; ++i) here();
            });
          },
          run.pairs(many)));
}

// --- operations of a driver ----------------------------------------------------------------------

/// Reads of an open file, started on a context: so many in flight, each in one place of its own.
class operations {
 public:
  operations(const std::string& driver, const std::string& path)
      : context_(opened(driver)),
        file_(context_, checked("open", ::open(path.c_str(), O_RDONLY | O_CLOEXEC))) {}

  void read(std::uint64_t count) {
    left_ = count;
    for (std::size_t i = 0; i < outstanding; ++i) weir::spawn(context_, read_on());
    context_.run();
  }

 private:
  static std::unique_ptr<weir::driver> opened(const std::string& name) {
    auto driver = weir::open_driver({.name = name});
    if (!driver) throw std::system_error(driver.error(), name);
    return std::move(*driver);
  }

  weir::task<> read_on() {
    weir::buffer into(page);
    while (left_ > 0) {
      --left_;
      const auto count = co_await file_.read_at(into.span(), 0);
      expect_whole("read_at", count ? static_cast<long long>(*count) : -1, page);
    }
  }

  weir::io_context context_;
  weir::file file_;
  std::uint64_t left_ = 0;
};

void compare_operations(program& run) {
  const served_directory served;
  by_itself here{.path = served.add_file("small", page)};
  operations remote("daemon:" + served.socket(), here.path);
  const auto count = run.unless_quick<std::uint64_t>(40'000, 200);
  const conditions under{.regime = "4 KiB of an open file, 32 in flight, driver daemon:NAME",
                         .shown = {.unit = "a second", .more_is_better = true},
                         .pairs = 21};
  run.record(
      under, "the driver", "open, read, close",
      compare_values([&] { return a_second(count, [&](std::uint64_t all) { remote.read(all); }); },
                     [&] {
                       return a_second(count, [&](std::uint64_t all) {
                         for (std::uint64_t i = 0; i < all; ++i) here();
                       });
                     },
                     run.pairs(under)));
}

// --- one large file ------------------------------------------------------------------------------

void send_by_daemon(int connection, int to, std::uint64_t size) {
  const int channel =
      checked("weir_daemon_send", ::weir_daemon_send(connection, "large", to, 0, 0, 0));
  std::array<unsigned char, WEIR_ANSWER_SIZE> bytes{};
  weir_transfer_status said{};
  ssize_t got = 0;
  while ((got = ::read(channel, bytes.data(), bytes.size())) > 0) {
    ::weir_parse_transfer_status(bytes.data(), got, &said);
  }
  ::close(channel);
  if (said.kind != WEIR_ENDED || said.status != 0 || said.total != size) {
    fail("the daemon's transfer", said.status != 0 ? -said.status : EIO);
  }
}

void compare_large(program& run, weir::io_context& context) {
  const served_directory served;
  const std::uint64_t size = run.unless_quick(1024 * mib, 16 * mib);
  weir::file file(context, checked("open", ::open(served.add_file("large", size).c_str(),
                                                  O_RDONLY | O_CLOEXEC)));
  const int connection = served.connect();
  for (const auto& [kind, name] : {std::pair{link_kind::tcp, "loopback TCP"},
                                   std::pair{link_kind::unix_stream, "a UNIX socket"}}) {
    const receiver ours(kind);
    const receiver theirs(kind);
    const auto rate = [&](const receiver& link, auto&& send) {
      return static_cast<double>(size) * 1e-6 / link.carry(size, send).seconds;
    };
    const conditions under{.regime = size_name(size) + " from the page cache, " + name,
                           .shown = megabytes(1),
                           .pairs = 11};
    const auto by_daemon = [&] {
      return rate(ours, [&](int to) { send_by_daemon(connection, to, size); });
    };
    const auto in_process = [&] {
      return rate(theirs, [&](int to) {
        const auto sent = context.run(weir::send_file(file, to, 0, size));
        if (sent.error) throw std::system_error(sent.error, "send_file");
      });
    };
    run.record(under, "the daemon", "send_file",
               compare_values(by_daemon, in_process, run.pairs(under)));
  }
  ::close(connection);
}

// --- slow receivers ------------------------------------------------------------------------------

void raise_descriptor_limit() {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
}

void measure_beside_slow_receivers(program& run) {
  raise_descriptor_limit();
  const auto many = run.unless_quick<std::size_t>(10'000, 200);
  const served_directory served({"--max-transfers-per-client", "1048576"});
  served.add_file("large", mib);
  served.add_file("small", page);
  const int slow = served.connect();
  std::vector<int> channels;
  std::array<char, WEIR_ANSWER_SIZE> information{};
  const std::size_t before = served.memory();
  for (std::size_t i = 0; i < many; ++i) {
    channels.push_back(checked("weir_daemon_read", ::weir_daemon_read(slow, "large", 0, 0, 0)));
    expect_whole("read", ::read(channels.back(), information.data(), information.size()),
                 information.size());
  }
  reader other(served);
  const auto count = run.unless_quick<std::size_t>(2'000, 20);
  const double median = median_microseconds(count, [&] { other.read(); });
  std::array<char, 160> sentence{};
  std::snprintf(sentence.data(), sentence.size(),
                "While %zu transfers wait for their receivers, the daemon has %.1f MiB of memory "
                "(%.1f before), and a new client's 4 KiB take %.1f \u00b5s at the median.",
                many, static_cast<double>(served.memory()) / static_cast<double>(mib),
                static_cast<double>(before) / static_cast<double>(mib), median);
  run.remark(sentence.data());
  for (const int each : channels) ::close(each);
  ::close(slow);
}

int body(int argc, char** argv) {
  program run(argc, argv, "daemon", "What does it cost to have the daemon read?");
  auto driver = weir::open_driver();
  if (!driver) throw std::system_error(driver.error(), "open_driver");
  weir::io_context context(std::move(*driver));
  compare_small(run);
  compare_operations(run);
  compare_large(run, context);
  measure_beside_slow_receivers(run);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
