#include "durability/scenarios/scenarios.hpp"

#include <array>

namespace weir::scenarios {

std::span<const scenario> portable_scenarios() {
  static const std::array all{group_commits(), policies(), replacing(),
                              names(),         streams(),  ready_files_written()};
  return all;
}

std::span<const scenario> wrong_scenarios() {
  static const std::array all{wrong_without_directory_sync(), wrong_without_data_sync(),
                              wrong_without_barrier()};
  return all;
}

}  // namespace weir::scenarios
