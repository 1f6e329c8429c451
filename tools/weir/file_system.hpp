#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

namespace weir::tools {

/// For preadv2(2) and pwritev2(2): leaves nothing in the page cache. Linux 6.14; older headers lack
/// it.
inline constexpr int rwf_dontcache = 0x80;

/// Whether transfers on this descriptor may say `rwf_dontcache`. Moves no bytes.
[[nodiscard]] bool accepts_dontcache(int fd) noexcept;

/// What a file system answered when something was tried on it.
struct feature {
  std::optional<bool> available;  ///< none: it could not be tried
  int error = 0;                  ///< the errno of the call that was refused, or 0
  std::string reason;             ///< why not, or why it was not tried; with yes, a remark, or ""
};

struct file_system_report {
  std::string path;         ///< as it was given
  std::string kind;         ///< "directory", "file", "block device", …
  std::string type;         ///< "ext4", "xfs", "tmpfs", …
  std::string source;       ///< what is mounted: "/dev/sda1", "server:/home"; "" if not known
  std::string mount_point;  ///< "" if not known
  std::string device;       ///< "8:1"
  bool read_only = false;
  std::uint64_t size = 0;  ///< of the file system, in bytes
  std::uint64_t free = 0;  ///< what this user may still write
  std::uint64_t block_size = 0;
  std::string tried_on;  ///< what the features were tried on; "" if there was nothing

  feature temporary_file;                ///< O_TMPFILE: a file without a name
  feature direct;                        ///< O_DIRECT, tried with a transfer
  unsigned direct_memory_alignment = 0;  ///< of buffers; 0: the system does not say
  unsigned direct_offset_alignment = 0;  ///< of offsets and lengths; found by trying if need be
  feature nowait_read;                   ///< RWF_NOWAIT, of pages in memory
  feature nowait_write;
  feature dontcache;             ///< RWF_DONTCACHE
  feature atomic_write;          ///< RWF_ATOMIC: a write that a crash cannot tear
  std::uint64_t atomic_min = 0;  ///< the smallest such write, in bytes
  std::uint64_t atomic_max = 0;  ///< the largest
  feature reflink;               ///< FICLONE: copies that share their blocks
  feature copy_range;            ///< copy_file_range(2)
  feature allocate;              ///< fallocate(2)
  feature holes;                 ///< SEEK_HOLE finds the holes of a sparse file
};

/// Tries what weir can make use of on the file system of `path`. In a directory that may be written
/// to, the trial is a file that has no name, or loses it at once, and is gone afterwards. Elsewhere
/// it is reading: the file itself, or the first file of the directory.
///
/// Fails with a sentence that names the path, the call and the cause where the path does not exist,
/// or may be neither read nor written.
std::expected<file_system_report, std::string> examine(const std::string& path);

}  // namespace weir::tools
