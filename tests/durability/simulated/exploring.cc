#include "durability/simulated/exploring.hpp"

#include <array>
#include <string>

#include "durability/contents.hpp"
#include "weir/commit.hpp"

namespace weir::simulated_disks {
namespace {

using scenarios::promise_book;
using scenarios::scenario;
using scenarios::surroundings;
using scenarios::survives;

constexpr std::string_view directory = "/d";
constexpr unsigned rounds = 3;  // power failures are tried all over, so little has to be done

/// What outlives a power failure.
class noted final : public scenarios::promises {
 public:
  void promise(std::string_view subject, std::uint64_t version, survives what) override {
    if (what == survives::power_loss) book.add(subject, version);
  }

  promise_book book;
};

surroundings around(const simulation& with) {
  return {.context = with.context,
          .directory = std::string(directory),
          .seed = with.seed,
          .rounds = rounds,
          .another_driver = [disk = with.disk] { return disk.open_driver().value(); }};
}

// A scenario that is answered an error ends with it: the power has failed, or the disk has faults.
task<void> carry_out(const scenario& which, simulation with, noted& told) {
  const surroundings where = around(with);
  if (!co_await make_directory(with.context, directory)) co_return;
  if (!co_await sync_directory(with.context, "/")) co_return;
  const result<void> ended = co_await which.run(where, told);
  const bool full = !ended && ended.error() == std::errc::no_space_on_device;
  if (!ended && !full && with.disk.is_on() && with.disk.faults_met().empty()) {
    throw std::system_error(ended.error(), std::string(which.name));
  }
}

task<std::string> look(const scenario& which, simulation with, const noted& told) {
  const surroundings where = around(with);
  if (told.book.size() == 0 && !co_await status(with.context, directory)) co_return std::string();
  std::string wrong;
  for (const std::string& each : co_await which.check(where, told.book)) wrong += each + '\n';
  co_return wrong;
}

constexpr double seldom = 0.02;

constexpr simulated_faults honest_faults{
    .io_error = seldom, .sync_failed = seldom, .short_transfer = 0.1, .stalled = seldom};

}  // namespace

std::span<const behaviour> behaviours() {
  static const std::array all{
      behaviour{"loses what it likes", {}},
      behaviour{"loses from some moment on", {.loss = power_loss::in_order}},
      behaviour{"loses all that was not synced", {.loss = power_loss::all, .writeback = 0}},
      behaviour{"has a journal", {.loss = power_loss::in_order, .names = name_order::journal}},
      behaviour{"has faults", {.faults = honest_faults}},
      behaviour{"is full", {.capacity = std::uint64_t{40} * 4096}}};
  return all;
}

exploration explore_scenario(const scenario& which, const behaviour& disk, const how_much& much) {
  const auto run = [&which](simulation with, noted& told) { return carry_out(which, with, told); };
  const auto check = [&which](simulation with, const noted& told) {
    return look(which, with, told);
  };
  return explore<noted>(
      much.seeds, run, check,
      {.disk = disk.options, .power_failures = much.power_failures, .threads = much.threads});
}

}  // namespace weir::simulated_disks
