#include "durability/real/trial.hpp"

#include <algorithm>
#include <utility>

#include "support/support.hpp"

namespace weir::real_disks {
namespace {

// XFS cannot be smaller; what is not used takes no memory.
constexpr std::size_t disk_size = std::size_t{320} << 20;

std::string sentence(std::string_view what, std::error_code why) {
  return std::string(what) + ": " + why.message();
}

}  // namespace

laboratory::laboratory()
    : recorded_(disk_size), disk_(recorded_), onlooker_(testing::open_context("sync")) {}

laboratory::~laboratory() = default;

std::error_code laboratory::prepare(const file_system& kind) {
  kind_ = kind;
  contents_.reset();
  recorded_.clear_disk();
  disk_.forget_cached();
  recorded_.start();
  if (const std::error_code failed = make_file_system(kind, disk_.path())) return failed;
  mounted there(kind, disk_.path(), mount_point_.path());
  if (there.error()) return there.error();  // a file system that this kernel does not have
  if (const std::error_code busy = there.unmount()) return busy;
  recorded_.stop();
  disk_.forget_cached();
  contents_ = std::make_unique<prepared_contents>(disk_size, recorded_.history());
  return {};
}

trial_outcome laboratory::carry_out(const trial& asked) {
  trial_outcome outcome;
  ledger told([this] { return recorded_.position(); });
  recorded_.start();
  outcome.error = run(asked, told);
  recorded_.stop();
  disk_.forget_cached();
  const disk_history history = recorded_.history();
  if (recorded_.is_full() && outcome.error.empty()) outcome.error = "the log is full";
  outcome.promises = told.entries().size();
  outcome.flushes =
      static_cast<std::size_t>(std::ranges::count_if(history.entries, &log_entry::is_flush));
  check_cuts(asked, history, told, outcome);
  return outcome;
}

// Why nothing can be made of it; empty where all went well.
std::string laboratory::run(const trial& asked, ledger& told) {
  mounted there(kind_, disk_.path(), mount_point_.path());
  if (there.error()) return sentence("cannot mount", there.error());
  {
    const auto context = testing::open_context(asked.driver);
    const scenarios::surroundings where{
        .context = *context,
        .directory = mount_point_.path(),
        .seed = asked.seed,
        .rounds = asked.rounds,
        .another_driver = [&asked] { return testing::open_driver_named(asked.driver); }};
    const result<void> done = context->run(asked.tested.run(where, told));
    if (!done) return sentence("the scenario failed", done.error());
  }
  const std::error_code busy = there.unmount();
  if (!busy) return "";
  is_lost_ = true;
  return sentence("cannot unmount", busy);
}

void laboratory::check_cuts(const trial& asked, const disk_history& history, const ledger& told,
                            trial_outcome& outcome) {
  cut_disk cutter(history, *contents_, recorded_.disk());  // also puts all back at the end
  if (!outcome.error.empty()) return;
  for (const cut& each : choose_cuts(history, told, asked.cuts, asked.seed)) {
    if (is_lost_) break;
    cutter.go_to(each);
    recorded_.start();
    if (each.rest == remainder::shredded && needs_repair()) ++outcome.repaired;
    scenarios::violations wrong = look(asked, told.durable_at(each.position));
    recorded_.stop();
    cutter.was_written(recorded_.history());
    disk_.forget_cached();
    (each.is_at_flush() ? outcome.cuts_at_flushes : outcome.cuts_between) += 1;
    if (wrong.empty()) continue;
    wrong.insert(wrong.begin(), "cut " + described(each) + ':');
    if (outcome.violations++ == 0) outcome.words = std::move(wrong);
  }
}

// ext4's superblock, two sectors with a checksum over both, is written in place. Where a disk has
// torn it, mount(2) says EBADMSG, and e2fsck(8) has other copies (docs/durability_tests.md).
bool laboratory::needs_repair() {
  {
    mounted there(kind_, disk_.path(), mount_point_.path());
    if (!there.error()) return false;
  }
  const std::error_code failed = repair_file_system(kind_, disk_.path());
  disk_.forget_cached();
  return !failed;
}

scenarios::violations laboratory::look(const trial& asked, const scenarios::promise_book& kept) {
  mounted there(kind_, disk_.path(), mount_point_.path());
  if (there.error()) return {sentence("does not mount any more", there.error())};
  const scenarios::surroundings where{.context = *onlooker_,
                                      .directory = mount_point_.path(),
                                      .seed = asked.seed,
                                      .rounds = asked.rounds};
  scenarios::violations wrong = onlooker_->run(asked.tested.check(where, kept));
  if (const std::error_code busy = there.unmount()) {
    is_lost_ = true;
    wrong.push_back(sentence("cannot unmount", busy));
  }
  return wrong;
}

}  // namespace weir::real_disks
