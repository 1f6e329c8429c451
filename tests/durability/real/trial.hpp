#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "durability/real/cuts.hpp"
#include "durability/real/file_system.hpp"
#include "durability/real/recording.hpp"
#include "durability/real/served_disk.hpp"
#include "durability/scenario.hpp"

namespace weir::real_disks {

/// What came of cutting one scenario's disk.
struct trial_outcome {
  std::size_t flushes = 0;  ///< that the disk was told of while the scenario ran
  std::size_t promises = 0;
  std::size_t cuts_at_flushes = 0;
  std::size_t cuts_between = 0;
  /// After a cut within a block: the file system had to be repaired by its own tool first.
  std::size_t repaired = 0;
  std::size_t violations = 0;   ///< cuts after which something was wrong
  scenarios::violations words;  ///< of the first of them
  std::string error;            ///< why there are no cuts; empty where there are
};

/// What of all there is to be tried, how, and how thoroughly.
struct trial {
  std::string_view driver;
  const scenarios::scenario& tested;
  std::uint64_t seed;
  std::size_t cuts;
  unsigned rounds;
};

/// A recorded disk that is made a file system of one kind after the other.
class laboratory {
 public:
  /// Throws std::system_error where the machine does not offer it.
  laboratory();
  laboratory(const laboratory&) = delete;
  laboratory& operator=(const laboratory&) = delete;
  ~laboratory();

  /// The trials that follow begin with this, just made.
  std::error_code prepare(const file_system& kind);

  /// Runs the scenario, then brings up the disk as it may be after each of the cuts, and checks.
  trial_outcome carry_out(const trial& asked);

  /// Somebody keeps a file open there, so that the disk cannot be used any more: a failure that has
  /// been told.
  bool is_lost() const noexcept { return is_lost_; }

 private:
  std::string run(const trial& asked, ledger& told);
  scenarios::violations look(const trial& asked, const scenarios::promise_book& kept);
  bool needs_repair();
  void check_cuts(const trial& asked, const disk_history& history, const ledger& told,
                  trial_outcome& outcome);

  recording recorded_;
  served_disk disk_;
  testing::temp_directory mount_point_;
  file_system kind_{};
  std::unique_ptr<prepared_contents> contents_;
  std::unique_ptr<io_context> onlooker_;  // what checks run on
  bool is_lost_ = false;
};

}  // namespace weir::real_disks
