#include "daemon/disk_file.hpp"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace weir::detail::daemon {
namespace {

// Those that <linux/magic.h> of Debian 12 has no names for: statfs(2) lists them.
constexpr std::uint64_t xfs = 0x58465342;
constexpr std::uint64_t zfs = 0x2fc12fc1;
constexpr std::uint64_t bcachefs = 0xca451a4e;
constexpr std::uint64_t jfs = 0x3153464a;
constexpr std::uint64_t ntfs3 = 0x7366746e;
constexpr std::uint64_t gfs2 = 0x01161970;
constexpr std::uint64_t ceph = 0x00c36400;

constexpr std::array<std::uint64_t, 18> storing = {EXT4_SUPER_MAGIC,
                                                   xfs,
                                                   BTRFS_SUPER_MAGIC,
                                                   F2FS_SUPER_MAGIC,
                                                   OVERLAYFS_SUPER_MAGIC,
                                                   NFS_SUPER_MAGIC,
                                                   zfs,
                                                   bcachefs,
                                                   jfs,
                                                   MSDOS_SUPER_MAGIC,
                                                   EXFAT_SUPER_MAGIC,
                                                   gfs2,
                                                   ntfs3,
                                                   ceph,
                                                   SQUASHFS_MAGIC,
                                                   EROFS_SUPER_MAGIC_V1,
                                                   NILFS_SUPER_MAGIC,
                                                   ISOFS_SUPER_MAGIC};

}  // namespace

bool is_disk_file(int fd) noexcept {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return false;
  if (S_ISBLK(status.st_mode)) return true;
  if (!S_ISREG(status.st_mode)) return false;
  struct statfs of{};
  return ::fstatfs(fd, &of) == 0 &&
         std::ranges::find(storing, static_cast<std::uint64_t>(of.f_type)) != storing.end();
}

}  // namespace weir::detail::daemon
