#pragma once

#include <cstddef>
#include <string>

namespace weir::bench {

/// Where files are made: $TMPDIR, else /var/tmp, which is on a disk where /tmp may not be.
std::string scratch_directory();

/// A file full of bytes, all written to its disk. It has no name, so nothing can be left behind.
class scratch_file {
 public:
  explicit scratch_file(std::size_t size);
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  scratch_file(scratch_file&& other) noexcept;
  scratch_file& operator=(scratch_file&&) = delete;
  ~scratch_file();

  int buffered() const noexcept { return buffered_; }
  /// Past the page cache; -1 where the file system has no O_DIRECT.
  int direct() const noexcept { return direct_; }
  std::size_t size() const noexcept { return size_; }
  /// By which another process can open it, as long as this one lives.
  std::string path() const;

  /// The page cache lets go of it. It is written back first: pages that are dirty stay.
  void drop_from_cache() const;

 private:
  int buffered_;
  int direct_;
  std::size_t size_;
};

}  // namespace weir::bench
