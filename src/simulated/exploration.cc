#include <string>
#include <string_view>

#include "simulated/faults.hpp"
#include "weir/simulated.hpp"

namespace weir {
namespace {

std::string counted(std::uint64_t count, std::string_view what) {
  std::string text = std::to_string(count);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ' ');
  text.append(1, ' ').append(what);
  if (count != 1) text += 's';
  return text;
}

std::string moment_of(const simulated_failure& failure) {
  if (failure.power_off_after == 0) return "without a power failure";
  if (failure.power_off_after > failure.operations) {
    return "the power failing when the scenario has ended, after " +
           counted(failure.operations, "operation");
  }
  return "the power failing after " + counted(failure.power_off_after, "operation");
}

std::string part_of(const simulated_fault_at& fault) {
  if (fault.part == detail::simulated::whole_operation) return ", all of it";
  if (fault.part == detail::simulated::its_sync) return ", its sync";
  if (fault.part != 0) return ", part " + std::to_string(fault.part);
  return {};
}

std::string faults_of(const simulated_failure& failure) {
  if (failure.faults.empty()) return "It takes no fault.\n";
  std::string text = "It takes " + counted(failure.faults.size(), "fault") + ":\n";
  for (const simulated_fault_at& each : failure.faults) {
    text += "  operation " + std::to_string(each.operation) + part_of(each) + ": ";
    text += std::string(name_of(each.what)) + '\n';
  }
  return text;
}

}  // namespace

std::string exploration::report() const {
  const std::string looked_at = counted(seeds, "seed") + ", " + counted(runs, "run") + ", " +
                                counted(operations, "operation");
  if (!failure) return looked_at + ": nothing failed.\n";
  const std::string seed = std::to_string(failure->seed);
  return "Seed " + seed + " fails, " + moment_of(*failure) + ":\n  " + failure->what + '\n' +
         faults_of(*failure) + "It is the shortest failure that was found, with " + looked_at +
         ".\nIt happens again with the seeds {.first = " + seed + ", .count = 1}.\n" +
         failure->trace;
}

}  // namespace weir
