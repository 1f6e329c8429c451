#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "support/support.hpp"

/// File systems and devices that only one try sees, and that are gone with its process, however
/// that ends. All of it needs a privileged user; `unavailable` says what was refused.
namespace weir::campaign {

/// Memory that stands for a disk.
testing::descriptor make_disk_memory(std::size_t size);

/// A loop device over `backing`, detached when nobody has it open any more.
class loop_device {
 public:
  explicit loop_device(const testing::descriptor& backing);

  const std::string& path() const noexcept { return path_; }
  /// "loop3"
  std::string_view name() const noexcept;

 private:
  testing::descriptor open_;
  std::string path_;
};

/// What is mounted from now on nobody else sees. Threads that run already do not see it either: it
/// is made before a context is.
void have_own_mounts();

/// A file system, mounted where only this process and its children see it.
class mounted {
 public:
  mounted(const std::string& what, const std::string& where, const char* type, const char* options);
  mounted(const mounted&) = delete;
  mounted& operator=(const mounted&) = delete;
  ~mounted();

  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// ext4 on the device, with more options of mkfs.ext4(8).
void make_ext4(const loop_device& on, std::string_view options = "");

/// A file that takes all that is free on its file system, until it goes.
class filler {
 public:
  explicit filler(const std::string& directory);
  filler(const filler&) = delete;
  filler& operator=(const filler&) = delete;
  ~filler();

 private:
  std::string path_;
  testing::descriptor file_;
};

}  // namespace weir::campaign
