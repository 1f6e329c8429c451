// How long it takes to wake a loop that sleeps: from `start` on one thread to the completion on the
// context's, beside a write(2) to an eventfd and the epoll_wait(2) that it ends. The two threads
// have a core each: whether they share one would decide everything, and differ from run to run.

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/fail.hpp"
#include "support/percentiles.hpp"
#include "support/program.hpp"
#include "weir/io_thread.hpp"

namespace {

using namespace weir::bench;

/// The two cores; the same twice where there is only one.
struct core_pair {
  unsigned waking = 0;
  unsigned sleeping = 0;
};

core_pair choose_cores() {
  cpu_set_t mine;
  checked("sched_getaffinity", ::sched_getaffinity(0, sizeof mine, &mine));
  core_pair chosen;
  unsigned found = 0;
  for (unsigned core = 0; core < CPU_SETSIZE && found < 2; ++core) {
    if (!CPU_ISSET(core, &mine)) continue;
    if (found++ == 0) chosen.waking = core;
    chosen.sleeping = core;
  }
  return chosen;
}

/// The calling thread.
void run_on(unsigned core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  checked("sched_setaffinity", ::sched_setaffinity(0, sizeof one, &one));
}

/// Whether a thread of this process sleeps in the kernel.
class sleep_watch {
 public:
  void watch(pid_t thread) { path_ = "/proc/self/task/" + std::to_string(thread) + "/stat"; }

  void wait_until_asleep() const {
    // The state follows the name, which is in brackets.
    for (std::string line; !line.contains(") S ");) {
      std::ifstream stat(path_);
      if (!std::getline(stat, line)) fail(path_);
    }
  }

 private:
  std::string path_;
};

/// When the other thread was there.
class arrival {
 public:
  void note() noexcept { at_.store(seconds_now(timed_by::wall), std::memory_order_release); }
  void reset() noexcept { at_.store(0, std::memory_order_relaxed); }
  /// Without sleeping: what it takes to wake this thread is not asked.
  double wait() const noexcept {
    double at = 0;
    while ((at = at_.load(std::memory_order_acquire)) == 0) {
    }
    return at;
  }

 private:
  std::atomic<double> at_ = 0;
};

/// So many times: waits until the thread sleeps, wakes it, and takes the time until it is there.
std::vector<double> wake_again_and_again(int times, const sleep_watch& sleeper, arrival& there,
                                         auto&& wake) {
  std::vector<double> taken;
  for (int i = 0; i < times; ++i) {
    sleeper.wait_until_asleep();
    there.reset();
    const double began = seconds_now(timed_by::wall);
    wake();
    taken.push_back(there.wait() - began);
  }
  return taken;
}

class weir_sleeper {
 public:
  weir_sleeper(const char* driver, unsigned core)
      : thread_({.name = driver}), find_(*this, &tell_thread), nop_(*this, &tell_arrival) {
    if (const auto pinned = thread_.run_on(core); !pinned) fail("run_on", pinned.error().value());
    thread_.context().start(find_);
    there_.wait();
  }
  std::vector<double> operator()(int times) {
    return wake_again_and_again(times, sleeper_, there_, [&] { thread_.context().start(nop_); });
  }

 private:
  struct no_op : weir::operation {
    no_op(weir_sleeper& owner, completion when_done) noexcept
        : operation({}, when_done), owner_of(owner) {}
    weir_sleeper& owner_of;
  };
  static void tell_thread(weir::operation& op) noexcept {
    weir_sleeper& owner = static_cast<no_op&>(op).owner_of;
    owner.sleeper_.watch(::gettid());
    owner.there_.note();
  }
  static void tell_arrival(weir::operation& op) noexcept {
    static_cast<no_op&>(op).owner_of.there_.note();
  }

  sleep_watch sleeper_;
  arrival there_;
  weir::io_thread thread_;
  no_op find_;
  no_op nop_;
};

class epoll_sleeper {
 public:
  explicit epoll_sleeper(unsigned core)
      : event_(checked("eventfd", ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))),
        epoll_(checked("epoll_create1", ::epoll_create1(EPOLL_CLOEXEC))) {
    epoll_event interest{.events = EPOLLIN, .data = {}};
    checked("epoll_ctl", ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &interest));
    thread_ = std::jthread([this, core](const std::stop_token& stop) {
      run_on(core);
      loop(stop);
    });
    there_.wait();
  }
  epoll_sleeper(const epoll_sleeper&) = delete;
  epoll_sleeper& operator=(const epoll_sleeper&) = delete;
  ~epoll_sleeper() {
    thread_.request_stop();
    wake();
    thread_.join();
    ::close(epoll_);
    ::close(event_);
  }
  std::vector<double> operator()(int times) {
    return wake_again_and_again(times, sleeper_, there_, [&] { wake(); });
  }

 private:
  void wake() const noexcept { ::eventfd_write(event_, 1); }
  void loop(const std::stop_token& stop) {
    sleeper_.watch(::gettid());
    there_.note();
    while (!stop.stop_requested()) {
      epoll_event happened{};
      if (::epoll_wait(epoll_, &happened, 1, -1) != 1) continue;  // interrupted
      eventfd_t count = 0;
      ::eventfd_read(event_, &count);
      there_.note();
    }
  }

  int event_;
  int epoll_;
  sleep_watch sleeper_;
  arrival there_;
  std::jthread thread_;
};

int body(int argc, char** argv) {
  program run(argc, argv, "wake", "How long does it take to wake a loop that sleeps?");
  const int times = run.unless_quick(2'000, 50);
  const core_pair cores = choose_cores();
  run_on(cores.waking);
  epoll_sleeper by_epoll(cores.sleeping);
  const auto peer = [&] { return by_epoll(times); };
  for (const char* driver : {"uring", "linux_aio", "threads"}) {
    weir_sleeper ours(driver, cores.sleeping);
    compare_percentiles(
        run, "from start to completion, a thread asleep in between", {50, 99},
        std::string("weir ") + driver, [&] { return ours(times); }, "eventfd and epoll", peer);
  }
  epoll_sleeper another(cores.sleeping);
  compare_percentiles(
      run, "from start to completion, a thread asleep in between", {50, 99}, "eventfd and epoll",
      [&] { return another(times); }, "another of the same: noise", peer);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
