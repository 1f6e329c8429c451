#pragma once

#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace weir::real_disks {

/// A kind of file system, as it is made and mounted.
struct file_system {
  std::string_view name;      ///< as it is reported
  std::string_view type;      ///< as mount(2) calls it
  std::string_view maker;     ///< for a shell, with the device as $0
  std::string_view repairer;  ///< the same; empty where there is none to be had without a loss
  std::string_view options;   ///< of the mount
};

/// The kinds that are tested, the most common first.
std::span<const file_system> file_systems();

/// Makes one on the device. An error where its maker is not installed or has failed.
std::error_code make_file_system(const file_system& kind, const std::string& device);

/// Has the file system's own tool repair it as far as it can. An error where it could not.
std::error_code repair_file_system(const file_system& kind, const std::string& device);

/// Mounted while it lives.
class mounted {
 public:
  mounted(const file_system& kind, const std::string& device, const std::string& directory);
  mounted(const mounted&) = delete;
  mounted& operator=(const mounted&) = delete;
  ~mounted();

  /// Why it could not be mounted.
  std::error_code error() const noexcept { return error_; }
  /// EBUSY where somebody has something open there, for seconds.
  std::error_code unmount();

 private:
  std::string directory_;
  std::error_code error_;
  bool is_mounted_ = false;
};

}  // namespace weir::real_disks
