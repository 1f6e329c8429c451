#include <memory>
#include <optional>
#include <vector>

#include "campaign/faults/faults.hpp"
#include "campaign/faults/forked.hpp"
#include "campaign/workload.hpp"

namespace weir::campaign {
namespace {

/// A context that is busy, and all that is on it.
struct busy {
  explicit busy(trial& now)
      : context(now.open_context()),
        buffered(std::in_place, now, *context, workload::options{now.directory() + "/file"}),
        direct(std::in_place, now, *context,
               workload::options{.path = now.directory() + "/direct", .direct = true}) {}

  std::unique_ptr<io_context> context;
  std::optional<workload> buffered;
  std::optional<workload> direct;
};

// A child has its parent's memory, and must leave its parent's I/O alone: by destroying its copy of
// everything, or by doing nothing of the kind.
void be_forked(busy& copy, bool destroys) {
  if (!destroys) return;
  copy.context.reset();
  copy.buffered.reset();
  copy.direct.reset();
}

void strike(trial& now) {
  busy parent(now);
  std::vector<pid_t> children;
  for (unsigned i = 0; i < 6; ++i) {
    const std::size_t operations = now.operations(100);
    parent.buffered->begin(operations);
    parent.direct->begin(operations);
    testing::drive_until(*parent.context, [&] { return parent.direct->left() <= operations / 2; });
    children.push_back(fork_and_run([&] { be_forked(parent, i % 2 == 0); }));
    testing::drive_until(*parent.context,
                         [&] { return parent.buffered->is_done() && parent.direct->is_done(); });
  }
  for (const pid_t child : children) expect_ended_well(now, child);
  parent.buffered->verify();
  parent.direct->verify();
}

}  // namespace

const fault fork_in_flight{
    .name = "fork",
    .does =
        "the process forks with operations in flight; every other child destroys its copy of "
        "the context, the rest end without; the parent goes on",
    .expects = {},
    .strike = &strike,
    .short_tries = 2,
    .long_tries = 6,
};

}  // namespace weir::campaign
