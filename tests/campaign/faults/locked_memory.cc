#include <array>
#include <cerrno>

#include "campaign/capability.hpp"
#include "campaign/faults/faults.hpp"
#include "campaign/faults/limit.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

constexpr std::array errors = {ENOMEM};
constexpr rlim_t too_little = 16 * 1024;

/// Answers what became of the hint.
std::int32_t tell_of(trial& now, io_context& context, opcode op, std::span<std::byte> memory) {
  tracked hint(now);
  hint.start(context, {.op = op, .address = memory.data(), .length = memory.size()});
  context.run();
  return hint.answer();
}

void strike(trial& now) {
  give_up_capability(CAP_IPC_LOCK);  // limits of locked memory do not bind who has it
  const auto context = now.open_context();
  workload work(now, *context, {.path = now.directory() + "/file"});
  {
    const lowered_limit little(RLIMIT_MEMLOCK, too_little);
    now.fault_begins();
    const bool registers = now.driver() == "uring";
    const std::int32_t told = tell_of(now, *context, opcode::register_memory, work.memory());
    now.expect(told == (registers ? -ENOMEM : 0), "memory was registered beyond the limit");
    work.run(now.operations(1'000));
    const auto pool = buffer_pool::make(*context, 64 * 1024, 16, {.lock = true});
    constexpr bool locks =
        !testing::thread_sanitizer && !testing::address_sanitizer;  // they do not
    now.expect(!locks || (!pool && pool.error() == std::errc::not_enough_memory),
               "a pool was locked beyond the limit");
    const lowered_limit none(RLIMIT_MEMLOCK, 0);
    now.expect_opened_or_refused(open_driver({.name = now.driver()}));
  }
  now.fault_lifted();
  const std::int32_t told = tell_of(now, *context, opcode::register_memory, work.memory());
  now.expect(told == 0, "memory was not registered within the limit");
  work.run(now.operations(500));
  tell_of(now, *context, opcode::forget_memory, work.memory());
  work.verify();
}

}  // namespace

const fault locked_memory_exhausted{
    .name = "no locked memory",
    .does =
        "RLIMIT_MEMLOCK is less than what is registered with the ring or locked; then it is "
        "enough again",
    .expects = errors,
    .strike = &strike,
    .short_tries = 1,
    .long_tries = 6,
};

}  // namespace weir::campaign
