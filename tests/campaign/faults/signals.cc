#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "campaign/faults/faults.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

std::atomic<std::uint64_t> caught = 0;

/// SIGUSR1 to the thread that makes it, 20 000 times a second, while it lives; its handler has no
/// SA_RESTART, so that each call is interrupted.
class storm {
 public:
  storm() {
    struct sigaction counting{};
    counting.sa_handler = [](int) { caught.fetch_add(1, std::memory_order_relaxed); };
    if (::sigaction(SIGUSR1, &counting, nullptr) != 0) not_available("sigaction");
    sigevent to_this_thread{};
    to_this_thread.sigev_notify = SIGEV_THREAD_ID;
    to_this_thread.sigev_signo = SIGUSR1;
    to_this_thread._sigev_un._tid = ::gettid();
    if (::timer_create(CLOCK_MONOTONIC, &to_this_thread, &timer_) != 0) {
      not_available("timer_create");
    }
    const timespec period{.tv_sec = 0, .tv_nsec = 50'000};
    const itimerspec time{.it_interval = period, .it_value = period};
    if (::timer_settime(timer_, 0, &time, nullptr) != 0) not_available("timer_settime");
  }
  storm(const storm&) = delete;
  storm& operator=(const storm&) = delete;
  ~storm() { ::timer_delete(timer_); }

 private:
  timer_t timer_{};
};

void strike(trial& now) {
  {
    const storm rages;
    const auto context = now.open_context();
    workload buffered(now, *context, {.path = now.directory() + "/file"});
    workload direct(now, *context, {.path = now.directory() + "/direct", .direct = true});
    do {
      buffered.begin(now.operations(2'000));
      direct.begin(now.operations(2'000));
      testing::drive_until(*context, [&] { return buffered.is_done() && direct.is_done(); });
    } while (caught < 1'000);
    buffered.verify();
    direct.verify();
  }
}

}  // namespace

const fault signal_storm{
    .name = "signals",
    .does =
        "20 000 signals a second, whose handler has no SA_RESTART, from before the context is "
        "opened until after its end",
    .expects = {},
    .strike = &strike,
    .short_tries = 1,
    .long_tries = 6,
};

}  // namespace weir::campaign
