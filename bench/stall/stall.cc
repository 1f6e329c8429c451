// How late a timer of an event loop is, while a file is read in that loop whose disk takes 100 ms
// to answer: with ready files, with an attached context, and with plain reads. The disk is a file
// system of this program's own (FUSE), so all three wait for the same. The file is open before the
// timer begins: io_uring opens what it knows the name of within the submission, and waits there for
// what such a file system has to do.

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iomanip>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "slow_disk.hpp"
#include "support/fail.hpp"
#include "support/percentiles.hpp"
#include "support/program.hpp"
#include "support/units.hpp"
#include "weir/adapters/epoll.hpp"
#include "weir/ready_file.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t block = 64 * kib;
constexpr std::int64_t interval_ns = 1'000'000;

std::int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

/// Expires every millisecond. Each expiration counts, also those that nobody came to in time.
class ticker {
 public:
  explicit ticker(std::size_t ticks)
      : ticks_(ticks),
        fd_(checked("timerfd_create",
                    ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK))),
        began_(now_ns()) {
    const std::int64_t first = began_ + interval_ns;
    const itimerspec often{
        .it_interval = {.tv_sec = 0, .tv_nsec = interval_ns},
        .it_value = {.tv_sec = first / 1'000'000'000, .tv_nsec = first % 1'000'000'000}};
    checked("timerfd_settime", ::timerfd_settime(fd_, TFD_TIMER_ABSTIME, &often, nullptr));
  }
  ticker(const ticker&) = delete;
  ticker& operator=(const ticker&) = delete;
  ~ticker() { ::close(fd_); }

  int fd() const noexcept { return fd_; }

  void take() {
    std::uint64_t expired = 0;
    if (::read(fd_, &expired, sizeof expired) != sizeof expired) return;  // EAGAIN: not yet
    const std::int64_t now = now_ns();
    for (; expired != 0; --expired) {
      const auto due = began_ + static_cast<std::int64_t>(late_.size() + 1) * interval_ns;
      late_.push_back(static_cast<double>(now - due) * 1e-9);
    }
  }

  bool over() const noexcept { return late_.size() >= ticks_; }
  /// In seconds, of each tick.
  const std::vector<double>& late() const noexcept { return late_; }

 private:
  const std::size_t ticks_;
  const int fd_;
  const std::int64_t began_;
  std::vector<double> late_;
};

class epoll {
 public:
  epoll() : fd_(checked("epoll_create1", ::epoll_create1(EPOLL_CLOEXEC))) {}
  epoll(const epoll&) = delete;
  epoll& operator=(const epoll&) = delete;
  ~epoll() { ::close(fd_); }

  int fd() const noexcept { return fd_; }
  void watch(int fd) {
    epoll_event wanted{.events = EPOLLIN, .data = {.fd = fd}};
    checked("epoll_ctl", ::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &wanted));
  }
  /// Yields what is ready; nothing where a signal came.
  std::span<const epoll_event> wait(int timeout_ms) {
    const int count =
        ::epoll_wait(fd_, events_.data(), static_cast<int>(events_.size()), timeout_ms);
    if (count < 0 && errno == EINTR) return {};
    return std::span(events_).first(static_cast<std::size_t>(checked("epoll_wait", count)));
  }

 private:
  const int fd_;
  std::array<epoll_event, 8> events_{};
};

/// What a slice came to.
struct outcome {
  std::vector<double> late;
  std::size_t bytes = 0;
};

// --- the loops -----------------------------------------------------------------------------------

outcome with_nothing(std::size_t ticks) {
  epoll loop;
  ticker timer(ticks);
  loop.watch(timer.fd());
  while (!timer.over()) {
    loop.wait(-1);
    timer.take();
  }
  return {.late = timer.late()};
}

outcome with_pread(const slow_disk& disk, std::size_t ticks) {
  const int fd = checked("open", ::open(disk.path().c_str(), O_RDONLY | O_CLOEXEC));
  weir::buffer memory(block);
  outcome came;
  epoll loop;
  ticker timer(ticks);
  loop.watch(timer.fd());
  while (!timer.over()) {
    loop.wait(0);  // there is always something to read
    timer.take();
    expect_whole("pread", ::pread(fd, memory.data(), block, static_cast<off_t>(came.bytes)), block);
    came.bytes += block;
  }
  ::close(fd);
  came.late = timer.late();
  return came;
}

/// What is at hand; then it has been told to wait.
std::size_t read_what_is_there(weir::ready_file& file, std::span<std::byte> memory) {
  for (std::size_t bytes = 0;;) {
    const auto count = file.try_read(memory);
    if (!count && count.error() == std::errc::resource_unavailable_try_again) return bytes;
    if (!count) throw std::system_error(count.error(), "try_read");
    if (*count == 0) fail("the file ended early", EIO);
    bytes += *count;
  }
}

weir::ready_file opened(weir::ready_files& files, const slow_disk& disk) {
  auto file = weir::ready_file::open(files, disk.path()).value();
  pollfd shown{.fd = files.fd(), .events = POLLIN, .revents = 0};
  checked("poll", ::poll(&shown, 1, -1));
  const auto told = files.next();
  if (told && told->error) throw std::system_error(told->error, "open");
  return file;
}

outcome with_ready_files(const slow_disk& disk, std::size_t ticks) {
  weir::ready_files files;
  weir::ready_file file = opened(files, disk);
  weir::buffer memory(block);
  outcome came;
  epoll loop;
  ticker timer(ticks);
  loop.watch(timer.fd());
  loop.watch(files.fd());
  came.bytes += read_what_is_there(file, memory.span());
  while (!timer.over()) {
    for (const epoll_event& event : loop.wait(-1)) {
      if (event.data.fd == timer.fd()) {
        timer.take();
      } else if (files.next()) {  // it can only be `readable`
        came.bytes += read_what_is_there(file, memory.span());
      }
    }
  }
  came.late = timer.late();
  return came;
}

weir::task<weir::file> opened(weir::io_context& context, const slow_disk& disk) {
  co_return (co_await weir::open(context, disk.path())).value();
}

weir::task<> read_on(weir::file file, std::stop_token stop, std::size_t& bytes) {
  weir::buffer memory(block);
  while (!stop.stop_requested()) {
    bytes += (co_await file.read_exactly_at(memory.span(), bytes)).value();
  }
  (co_await file.close()).value();
}

outcome with_a_context(const slow_disk& disk, std::size_t ticks) {
  outcome came;
  std::stop_source stop;
  weir::io_context context(weir::open_driver().value());
  epoll loop;
  weir::adapters::epoll_attachment files(context);
  if (const auto attached = files.attach(loop.fd()); !attached) {
    throw std::system_error(attached.error(), "attach");
  }
  weir::file file = context.run(opened(context, disk));
  ticker timer(ticks);
  weir::spawn(context, read_on(std::move(file), stop.get_token(), came.bytes));
  loop.watch(timer.fd());
  std::array<epoll_event, 8> events{};
  while (!timer.over()) {
    const auto ready = files.wait(events, -1);
    if (!ready) throw std::system_error(ready.error(), "epoll_wait");
    if (*ready != 0) timer.take();
  }
  came.late = timer.late();
  stop.request_stop();
  context.run();
  return came;
}

// --- what they came to ---------------------------------------------------------------------------

/// One way of reading; remembers how late each tick of all its slices was.
class way {
 public:
  way(std::string name, std::function<outcome()> slice, bool reads = true)
      : name_(std::move(name)), slice_(std::move(slice)), reads_(reads) {}

  const std::string& name() const noexcept { return name_; }

  std::vector<double> operator()() {
    outcome came = slice_();
    if (reads_ && came.bytes == 0) fail(name_ + " read nothing", EIO);
    all_.insert(all_.end(), came.late.begin(), came.late.end());
    bytes_ += came.bytes;
    return std::move(came.late);
  }

  std::string summary() {
    std::ranges::sort(all_);
    std::ostringstream text;
    text << std::fixed << std::setprecision(2) << name_ << ": of " << all_.size()
         << " ticks the latest was " << all_.back() * 1e3 << " ms late, 99.9 % were at most "
         << percentile_of(all_, 99.9) * 1e3 << " ms late, and " << bytes_ / mib
         << " MiB were read meanwhile.";
    return text.str();
  }

 private:
  std::string name_;
  std::function<outcome()> slice_;
  const bool reads_;
  std::vector<double> all_;
  std::size_t bytes_ = 0;
};

void compare_all(program& run, const slow_disk& disk) {
  const auto ticks = run.unless_quick<std::size_t>(2000, 300);
  way ready("ready_files", [&] { return with_ready_files(disk, ticks); });
  way context("an attached context", [&] { return with_a_context(disk, ticks); });
  way plain("pread(2) in the loop", [&] { return with_pread(disk, ticks); });
  way nothing("reading nothing", [&] { return with_nothing(ticks); }, false);
  const auto compare = [&](way& ours, way& peer) {
    compare_percentiles(run, "lateness of a 1 ms timer", {50, 99.9, 100}, ours.name(),
                        std::ref(ours), peer.name(), std::ref(peer));
  };
  compare(ready, plain);
  compare(context, plain);
  compare(ready, nothing);
  compare(context, nothing);
  for (way* each : {&ready, &context, &plain, &nothing}) run.remark(each->summary());
}

int body(int argc, char** argv) {
  program run(argc, argv, "stall", "How late is a loop's timer while a slow disk is read?");
  std::optional<slow_disk> disk;
  try {
    disk.emplace();
  } catch (const std::system_error& refused) {  // a container may have no FUSE
    run.remark(std::string("Not measured: ") + refused.what());
    return run.finish();
  }
  compare_all(run, *disk);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
