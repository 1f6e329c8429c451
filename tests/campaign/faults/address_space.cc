#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <exception>
#include <fstream>
#include <list>
#include <thread>

#include "campaign/faults/faults.hpp"
#include "campaign/faults/limit.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

// EAGAIN is a thread's that could not be started.
constexpr std::array errors = {ENOMEM, EAGAIN};

rlim_t bytes_mapped() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

/// Threads that do nothing but hold the stacks that the C library keeps for the next ones.
class hoarded_stacks {
 public:
  hoarded_stacks() {
    try {
      for (;;) threads_.emplace_back([this] { let_go_.wait(false); });
    } catch (const std::exception&) {
      // no more: std::system_error for want of a stack, std::bad_alloc of anything else
    }
  }
  hoarded_stacks(const hoarded_stacks&) = delete;
  hoarded_stacks& operator=(const hoarded_stacks&) = delete;
  ~hoarded_stacks() {
    let_go_ = true;
    let_go_.notify_all();
    for (std::thread& each : threads_) each.join();
  }

 private:
  std::atomic<bool> let_go_ = false;
  std::list<std::thread> threads_;
};

// The largest queues there are: they have no room.
void open_others(trial& now) {
  for (const std::string_view name : testing::driver_names) {
    now.expect_opened_or_refused(open_driver({.name = name, .queue_depth = 16'384}));
  }
}

void strike(trial& now) {
  if (testing::address_sanitizer || testing::thread_sanitizer) {
    throw unavailable("a sanitizer needs more address space than it says");
  }
  const auto context = now.open_context();
  workload work(now, *context, {.path = now.directory() + "/file"});
  if (now.number() % 2 == 0) work.run(now.operations(200));  // else no thread has been started yet
  {
    const lowered_limit full(RLIMIT_AS, bytes_mapped() + (now.number() % 3) * 64 * 1024);
    const hoarded_stacks no_more_threads;
    now.fault_begins();
    work.run(now.operations(2'000));
    open_others(now);
  }
  now.expect_felt(ENOMEM);
  now.fault_lifted();
  work.run(now.operations(500));
  work.verify();
}

}  // namespace

const fault address_space_exhausted{
    .name = "no address space",
    .does =
        "RLIMIT_AS leaves 0 to 128 KiB, so that no thread can be started and nothing mapped; "
        "others are opened meanwhile",
    .expects = errors,
    .strike = &strike,
    .short_tries = 3,
    .long_tries = 6,
};

}  // namespace weir::campaign
