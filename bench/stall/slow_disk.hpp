#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>

namespace weir::bench {

/// A file system (FUSE) with one file, each read of which takes its time, however many there are at
/// once. A process of its own serves it, until this is destroyed.
class slow_disk {
 public:
  static constexpr std::chrono::milliseconds delay{100};
  static constexpr std::size_t file_size = std::size_t{1} << 30;

  /// Throws std::system_error where nothing can be mounted.
  slow_disk();
  slow_disk(const slow_disk&) = delete;
  slow_disk& operator=(const slow_disk&) = delete;
  ~slow_disk();

  /// Whoever opens it anew finds nothing of it in the page cache.
  std::string path() const { return directory_ + "/file"; }

 private:
  std::string directory_;
  pid_t server_ = -1;
};

}  // namespace weir::bench
