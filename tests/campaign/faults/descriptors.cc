#include <unistd.h>

#include <array>
#include <cerrno>

#include "campaign/faults/faults.hpp"
#include "campaign/faults/limit.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

constexpr std::array errors = {EMFILE};

lowered_limit leave_descriptors(rlim_t count) {
  const testing::descriptor next(::dup(STDERR_FILENO));
  return {RLIMIT_NOFILE, static_cast<rlim_t>(next.get()) + count};
}

// Other drivers may be opened or refused meanwhile, and leave nothing behind.
void open_others(trial& now) {
  for (const std::string_view name : testing::driver_names) {
    now.expect_opened_or_refused(open_driver({.name = name}));
  }
}

void strike(trial& now) {
  if (testing::address_sanitizer) {
    throw unavailable("a sanitizer looks at memory through descriptors of its own");
  }
  const auto context = now.open_context();
  workload work(now, *context, {.path = now.directory() + "/file"});
  if (now.number() % 2 == 0) work.run(now.operations(200));  // else nothing has been made ready yet
  {
    const lowered_limit few = leave_descriptors(now.number() % 3);
    now.fault_begins();
    work.run(now.operations(2'000));
    open_others(now);
  }
  now.expect_felt(EMFILE);
  now.fault_lifted();
  work.run(now.operations(200));
  work.verify();
}

}  // namespace

const fault descriptors_exhausted{
    .name = "no descriptors",
    .does =
        "RLIMIT_NOFILE leaves 0 to 2 descriptors, with a context at work; others are opened "
        "meanwhile",
    .expects = errors,
    .strike = &strike,
    .short_tries = 3,
    .long_tries = 6,
};

}  // namespace weir::campaign
