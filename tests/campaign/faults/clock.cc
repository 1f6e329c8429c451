#include "clock.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "campaign/faults/faults.hpp"
#include "campaign/faults/forked.hpp"
#include "campaign/faults/jumping_clock.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

// --- the clock of the day ------------------------------------------------------------------------

/// Of a system call's argument, its lower 32 bits.
struct condition {
  unsigned argument;
  std::uint16_t test;  // BPF_JEQ or BPF_JSET
  std::uint32_t value;
  bool must_hold = true;
};

// A system call for which all conditions are met ends the process by SIGSYS, from now on.
void die_of(long number, std::initializer_list<condition> conditions) {
  std::vector<sock_filter> program;
  const std::size_t end = 2 + 2 * conditions.size() + 1;  // where the call is allowed
  const auto go_on_if = [&](std::uint16_t test, std::uint32_t value, bool must_hold) {
    const auto to_end = static_cast<std::uint8_t>(end - program.size() - 1);
    const auto code = static_cast<std::uint16_t>(BPF_JMP | BPF_K | test);
    program.push_back(must_hold ? sock_filter(BPF_JUMP(code, value, 0, to_end))
                                : sock_filter(BPF_JUMP(code, value, to_end, 0)));
  };
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  go_on_if(BPF_JEQ, static_cast<std::uint32_t>(number), true);
  for (const condition& each : conditions) {
    const auto at = static_cast<std::uint32_t>(offsetof(seccomp_data, args) + 8 * each.argument);
    program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at));
    go_on_if(each.test, each.value, each.must_hold);
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{.len = static_cast<std::uint16_t>(program.size()),
                          .filter = program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) not_available("PR_SET_NO_NEW_PRIVS");
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) not_available("PR_SET_SECCOMP");
}

// The kernel's clock does not jump here, so nothing else would show that somebody waits by it. A
// futex's wait that names it and has no end, as pthread_join(3)'s, is no matter.
void die_of_waiting_by_the_day() {
  die_of(SYS_timerfd_create, {{.argument = 0, .test = BPF_JEQ, .value = CLOCK_REALTIME}});
  die_of(SYS_clock_nanosleep, {{.argument = 0, .test = BPF_JEQ, .value = CLOCK_REALTIME}});
  die_of(SYS_futex, {{.argument = 1, .test = BPF_JSET, .value = FUTEX_CLOCK_REALTIME},
                     {.argument = 3, .test = BPF_JEQ, .value = 0, .must_hold = false}});
}

bool dies(void (*of)()) {
  const int status = status_of(fork_and_run(of));
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

// That what is to show a mistake would show it.
void expect_traps_to_work(trial& now) {
  now.expect(dies([] { ::timerfd_create(CLOCK_REALTIME, 0); }), "a timerfd was not trapped");
  now.expect(dies([] {
               const timespec a_moment{.tv_sec = 0, .tv_nsec = 1};
               int word = 0;
               ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &a_moment,
                         nullptr, FUTEX_BITSET_MATCH_ANY);
             }),
             "a futex was not trapped");
  now.expect(!dies([] { ::timerfd_create(CLOCK_MONOTONIC, 0); }), "a good timerfd was trapped");
  const std::uint64_t before = jumping_clock::times_asked();
  const time_t first = ::time(nullptr);
  const time_t second = ::time(nullptr);
  now.expect(first - second > 86'400, "the clock does not jump");
  now.expect(jumping_clock::times_asked() == before + 2, "the clock is not watched");
}

// A pause by itself, for who waits at fd(): then the kernel must know when it ends.
void expect_pause_to_show(trial& now, io_context& context) {
  constexpr std::int64_t a_while_ns = 5'000'000;
  const auto until = static_cast<std::uint64_t>(detail::monotonic_now_ns() + a_while_ns);
  tracked pause(now);
  pause.start(context, {.op = opcode::timeout, .offset = until});
  context.dispatch(false);
  now.expect(testing::poll_until(context, [&] { return !pause.is_pending(); }),
             "fd() does not show the end of a pause");
  if (pause.is_pending()) context.run();
}

void work_by_turns(trial& now) {
  const auto context = now.open_context();
  workload work(now, *context, {.path = now.directory() + "/file"});
  work.run(now.operations(1'000));
  work.begin(now.operations(200));
  now.expect(testing::poll_until(*context, [&] { return work.is_done(); }), "fd() shows nothing");
  expect_pause_to_show(now, *context);
  work.verify();
}

void work_while_the_day_jumps(trial& now) {
  const jumping_clock jumps;
  die_of_waiting_by_the_day();
  expect_traps_to_work(now);
  const std::uint64_t before = jumping_clock::times_asked();
  work_by_turns(now);
  now.expect(jumping_clock::times_asked() == before, "the time of day was asked for");
}

// --- the other clock -----------------------------------------------------------------------------

constexpr std::int64_t ten_years_ns = 315'360'000LL * 1'000'000'000;

// Deadlines are points in the time of the process; the kernel must be told of them as such.
// For this process's children CLOCK_MONOTONIC is ten years ahead.
void give_children_another_time() {
  if (::unshare(CLONE_NEWTIME) != 0) not_available("unshare(CLONE_NEWTIME)");
  const testing::descriptor offsets(::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC));
  if (!offsets) not_available("open /proc/self/timens_offsets");
  constexpr std::string_view ten_years = "monotonic 315360000 0";
  if (::write(offsets.get(), ten_years.data(), ten_years.size()) < 0) not_available("an offset");
}

void strike(trial& now) {
  if (now.number() % 2 == 0) return work_while_the_day_jumps(now);
  const std::int64_t before = detail::monotonic_now_ns();
  give_children_another_time();
  expect_ended_well(now, fork_and_run([&] {
                      now.expect(detail::monotonic_now_ns() - before > ten_years_ns,
                                 "it is no other time");
                      work_by_turns(now);
                    }));
}

}  // namespace

const fault clock_jumps{
    .name = "clock jumps",
    .does =
        "CLOCK_REALTIME jumps ten years ahead and back each time it is asked for, and to wait by "
        "it is to die; in turn, CLOCK_MONOTONIC is that of a time namespace ten years ahead",
    .expects = {},
    .strike = &strike,
    .short_tries = 2,
    .long_tries = 6,
};

}  // namespace weir::campaign
