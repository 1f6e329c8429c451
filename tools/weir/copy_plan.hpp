#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "failures.hpp"

namespace weir::tools {

/// One thing to be copied.
struct copy_job {
  enum class kind { file, symlink };

  kind what;
  std::string source;
  std::string destination;
  struct stat status;       ///< of the source, not following a symbolic link that is kept as one
  bool destination_is_new;  ///< its directory was made by this run: only a clash can be in the way
};

/// Turns the command line's sources into jobs, one at a time: walks directories as it goes, makes
/// their copies, and, at the end, gives them their modes and times. Names every entry that cannot
/// be copied, and goes on with the next.
class copy_plan {
 public:
  copy_plan(std::vector<std::string> sources, std::string destination, bool recursive,
            failures& failed);

  /// False where the command line itself makes no sense; the reason has been reported.
  bool sensible() const noexcept { return sensible_; }

  /// The next job, or nothing when all have been handed out.
  std::optional<copy_job> next();

  /// Directories get their modes and times, innermost first. When all jobs are done.
  void finish_directories();

  /// Jobs handed out, and their bytes, so far; and whether there may be more.
  std::size_t files() const noexcept { return files_; }
  std::uint64_t bytes() const noexcept { return bytes_; }
  bool complete() const noexcept { return walks_.empty() && next_source_ == sources_.size(); }

 private:
  // A directory being walked.
  struct walk {
    std::filesystem::directory_iterator entries;
    std::string source;
    std::string destination;
    bool is_new;
  };
  // A directory made or merged into, to be finished.
  struct made_directory {
    std::string path;
    struct stat source;
  };

  bool check_command_line();
  std::string destination_of(const std::string& source) const;
  std::optional<copy_job> next_source();
  std::optional<copy_job> consider(const std::string& source, std::string destination, bool is_new,
                                   bool named_by_user);
  void enter_directory(const std::string& source, std::string destination,
                       const struct stat& status);
  bool make_directory(const std::string& path, bool& is_new);

  std::vector<std::string> sources_;
  std::string destination_;
  bool recursive_;
  failures& failed_;
  bool into_directory_ = false;
  bool sensible_;  // after what it is found out from

  std::size_t next_source_ = 0;
  std::set<std::string> taken_;  // destinations of files so far
  std::vector<walk> walks_;
  std::vector<made_directory> made_;
  std::size_t files_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace weir::tools
