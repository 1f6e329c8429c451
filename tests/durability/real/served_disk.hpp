#pragma once

#include <sys/types.h>

#include <string>

#include "durability/real/recording.hpp"
#include "support/support.hpp"

namespace weir::real_disks {

/// A file of a FUSE file system that a process of its own serves from a recording, behind a loop
/// device: each write reaches the recording before it is answered, and the device's flush, which
/// becomes an fsync(2) of the file, is logged where it arrives.
///
/// The process is its own because the kernel must get answers whatever happens to the one that has
/// mounted the disk. It ends with that one, and then the disk answers with errors.
class served_disk {
 public:
  /// Throws std::system_error, saying what this machine does not offer. In a mount namespace of
  /// one's own.
  explicit served_disk(recording& recorded);
  served_disk(const served_disk&) = delete;
  served_disk& operator=(const served_disk&) = delete;
  ~served_disk();

  /// The block device.
  const std::string& path() const noexcept { return device_path_; }
  /// What the kernel has of the disk in memory it reads anew.
  void forget_cached() const;

 private:
  void start_server(recording& recorded);
  void attach();
  void end() noexcept;

  testing::temp_directory directory_;
  std::string device_path_;
  pid_t server_ = -1;
  testing::descriptor device_;
};

/// Gives this process a view of its own of what is mounted, in which it may mount; once. An error
/// where it may not.
std::error_code enter_own_mount_namespace() noexcept;

}  // namespace weir::real_disks
