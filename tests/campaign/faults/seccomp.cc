#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>
#include <vector>

#include "campaign/faults/faults.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

constexpr std::array errors = {EPERM};  // of a ring that was opened before

// To this thread, and those that it starts.
void remove_io_uring() {
  for (const long call : {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register}) {
    testing::refuse_system_call(call, EPERM);
  }
}

// By default it must be another driver, and the report must say why it is not io_uring.
std::unique_ptr<io_context> open_by_default(trial& now) {
  std::vector<driver_report> tried;
  auto opened = open_driver({.queue_depth = 32}, tried);
  if (!opened) {
    now.odd("no driver was found by default: " + tried.back().reason);
    return nullptr;
  }
  const driver_report& first = tried.front();
  now.expect(first.name == "uring" && first.error == std::errc::operation_not_permitted,
             "io_uring was not tried first, and refused");
  now.expect(first.reason.find("seccomp") != std::string::npos, "the reason is not the filter");
  now.expect(!first.advice.empty(), "there is no advice");
  now.expect(tried.back().available && tried.back().name == "linux_aio",
             "the default is not Linux AIO");
  return std::make_unique<io_context>(std::move(*opened));
}

void work_without_io_uring(trial& now) {
  remove_io_uring();
  const auto context = open_by_default(now);
  if (!context) return;
  workload work(now, *context, {.path = now.directory() + "/new", .direct = true});
  work.run(now.operations(500));
  work.verify();
}

// On threads of its own the program has given io_uring up; here it goes on with it.
void in_new_threads(trial& now, io_context& context, workload& work) {
  work.begin(now.operations(500));
  testing::drive_until(context, [&] { return work.left() <= now.operations(250); });
  std::thread confined([&] { work_without_io_uring(now); });
  testing::drive_until(context, [&] { return work.is_done(); });
  work.run(now.operations(500));
  confined.join();
}

// No new rings, while one is at work.
void no_new_rings(trial& now, io_context& context, workload& work) {
  work.begin(now.operations(500));
  testing::drive_until(context, [&] { return work.left() <= now.operations(250); });
  testing::refuse_system_call(SYS_io_uring_setup, EPERM);
  testing::drive_until(context, [&] { return work.is_done(); });
  const auto other = open_by_default(now);
  if (!other) return;
  workload others(now, *other, {.path = now.directory() + "/new"});
  others.run(now.operations(500));
  others.verify();
}

// All of it from this thread, between two turns: an old ring says so, other drivers go on.
void no_ring_at_all(trial& now, workload& work) {
  work.run(now.operations(500));
  remove_io_uring();
  now.fault_begins();
  work.run(now.operations(500));
  if (now.driver() == "uring") now.expect_felt(EPERM);
}

void strike(trial& now) {
  const auto context = now.open_context();
  workload work(now, *context, {.path = now.directory() + "/file"});
  switch (now.number() % 3) {
    case 0:
      in_new_threads(now, *context, work);
      break;
    case 1:
      no_new_rings(now, *context, work);
      break;
    default:
      no_ring_at_all(now, work);
      break;
  }
  work.verify();
}

}  // namespace

const fault io_uring_removed{
    .name = "seccomp",
    .does =
        "a seccomp filter takes io_uring from a new thread, or its set-up from this one, in the "
        "midst of I/O, and what is opened there must be Linux AIO and say why; or all of it "
        "from this one, between two turns",
    .expects = errors,
    .strike = &strike,
    .short_tries = 3,
    .long_tries = 6,
};

}  // namespace weir::campaign
