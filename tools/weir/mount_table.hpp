#pragma once

#include <optional>
#include <string>

namespace weir::tools {

/// A line of /proc/self/mountinfo (proc(5)), as far as it is of interest.
struct mount {
  std::string id;
  std::string point;
  std::string type;
  std::string source;
};

/// Nothing for what is no such line.
std::optional<mount> mount_of(const std::string& line);

}  // namespace weir::tools
