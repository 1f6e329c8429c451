#include "file_system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "mount_table.hpp"
#include "temporary_file.hpp"
#include <weir/buffer.hpp>

namespace weir::tools {
namespace {

// --- What Debian 12's headers lack ---------------------------------------------------------------

constexpr int rwf_atomic = 0x40;                   // Linux 6.11
constexpr unsigned statx_write_atomic = 0x10000U;  // the same

/// What statx(2) answers after `stx_dio_offset_align`, since Linux 6.10 and 6.11.
struct statx_tail {
  std::uint64_t subvolume;
  std::uint32_t atomic_write_unit_min;
  std::uint32_t atomic_write_unit_max;
};
constexpr std::size_t statx_tail_offset = 0xa0;

statx_tail tail_of(const struct statx& about) noexcept {
  std::array<std::byte, sizeof(struct statx)> bytes{};
  std::memcpy(bytes.data(), &about, sizeof about);
  statx_tail tail{};
  std::memcpy(&tail, bytes.data() + statx_tail_offset, sizeof tail);
  return tail;
}

bool kernel_is_at_least(int major, int minor) noexcept {
  utsname name{};
  int running_major = 0;
  int running_minor = 0;
  if (::uname(&name) != 0) return false;
  // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion): 0.0 is what nonsense becomes
  if (std::sscanf(name.release, "%d.%d", &running_major, &running_minor) != 2) return false;
  return std::pair(running_major, running_minor) >= std::pair(major, minor);
}

// --- Answers -------------------------------------------------------------------------------------

feature yes(std::string remark = "") { return {.available = true, .reason = std::move(remark)}; }

feature not_tried(std::string why, int error = 0) {
  return {.available = std::nullopt, .error = error, .reason = std::move(why)};
}

std::string sentence(const std::string& call, int error) {
  return call + ": " + std::system_category().message(error);
}

/// As a person reads it who gave this path.
std::string failure(const std::string& path, const std::string& call, int error) {
  return "cannot examine '" + path + "': " + sentence(call, error);
}

// The call says nothing about the file system when it is something else that ran out.
bool says_nothing(int error) noexcept {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EIO:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return true;
    default:
      return false;
  }
}

feature refused(const std::string& call, int error, const std::string& remark = "") {
  std::string reason = sentence(call, error);
  if (says_nothing(error)) return not_tried(std::move(reason), error);
  if (!remark.empty()) reason += "; " + remark;
  return {.available = false, .error = error, .reason = std::move(reason)};
}

// --- Files to try things on ----------------------------------------------------------------------

descriptor open_for_reading(const std::string& file, int flags) noexcept {
  // O_NONBLOCK: no file that is read here may make the doctor wait.
  constexpr int always = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  descriptor quiet(::open(file.c_str(), always | O_NOATIME | flags));
  if (quiet || quiet.error() != EPERM) return quiet;
  return descriptor(::open(file.c_str(), always | flags));  // somebody else's
}

constexpr std::size_t page = 4096;
constexpr std::size_t trial_size = 16 * page;

/// Puts `trial_size` bytes into a file; the errno, or 0.
int fill(int fd) {
  const std::vector<char> text(trial_size, 'w');
  const ssize_t written = ::pwrite(fd, text.data(), text.size(), 0);
  if (written < 0) return errno;
  return std::cmp_equal(written, text.size()) ? 0 : ENOSPC;  // short: the rest had no room
}

/// How files to try things on come about: all alike, however often one is opened.
struct ground {
  enum class kind { unnamed, briefly_named, existing, none };

  kind how = kind::none;
  std::string path;         ///< the directory, or the existing file
  feature temporary_file;   ///< O_TMPFILE
  std::string not_written;  ///< why only reading is tried

  bool writable() const noexcept { return how == kind::unnamed || how == kind::briefly_named; }

  descriptor open(int flags = 0) const {
    switch (how) {
      case kind::unnamed:
        return open_unnamed(path, flags);
      case kind::briefly_named:
        return open_briefly_named(path, flags);
      case kind::existing:
        return open_for_reading(path, flags);
      case kind::none:
        break;
    }
    return {};
  }
};

using directory_stream = std::unique_ptr<DIR, decltype([](DIR* open) { ::closedir(open); })>;

bool may_be_read(const std::string& file, dev_t device) {
  struct stat about{};
  return ::lstat(file.c_str(), &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0 &&
         about.st_dev == device && open_for_reading(file, O_NOFOLLOW);
}

// A file of this directory that reading can be tried on, or "". The order of a directory is of no
// meaning, so the first will do.
std::string file_to_read(const std::string& directory) {
  struct statfs system{};
  struct stat about{};
  const directory_stream entries(::opendir(directory.c_str()));
  if (!entries || ::stat(directory.c_str(), &about) != 0) return {};
  // No blocks: /proc and its kind, whose files are not data.
  if (::statfs(directory.c_str(), &system) != 0 || system.f_blocks == 0) return {};
  constexpr int enough = 1000;
  for (int seen = 0; seen < enough; ++seen) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this thread's
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) break;
    std::string file = directory + "/" + static_cast<const char*>(entry->d_name);
    if (may_be_read(file, about.st_dev)) return file;
  }
  return {};
}

// Where no file can be made, or it has no room: one that is there.
std::expected<ground, std::string> ground_for_reading(const std::string& path,
                                                      const feature& temporary_file,
                                                      const std::string& why) {
  const std::string file = file_to_read(path);
  if (!file.empty()) {
    return ground{.how = ground::kind::existing,
                  .path = file,
                  .temporary_file = temporary_file,
                  .not_written = "no file can be written here: " + why};
  }
  const descriptor listed(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listed) return std::unexpected(failure(path, "open", listed.error()));
  return ground{.path = path,
                .temporary_file = temporary_file,
                .not_written = "no file can be written here (" + why + "), and none can be read"};
}

std::expected<ground, std::string> ground_in_directory(const std::string& path) {
  const descriptor unnamed = open_unnamed(path, 0);
  const feature temporary = unnamed ? yes() : refused("open with O_TMPFILE", unnamed.error());
  if (unnamed) {
    const int error = fill(unnamed.get());
    if (error != 0) return ground_for_reading(path, temporary, sentence("write", error));
    return ground{.how = ground::kind::unnamed, .path = path, .temporary_file = temporary};
  }
  const descriptor named = open_briefly_named(path, 0);
  if (!named) {
    const std::string why = sentence("open", named.error());
    return ground_for_reading(path, not_tried(why, named.error()), why);
  }
  const int error = fill(named.get());
  if (error != 0) return ground_for_reading(path, temporary, sentence("write", error));
  return ground{.how = ground::kind::briefly_named, .path = path, .temporary_file = temporary};
}

std::expected<ground, std::string> find_ground(const std::string& path, unsigned mode) {
  if (S_ISDIR(mode)) return ground_in_directory(path);
  if (!S_ISREG(mode) && !S_ISBLK(mode)) {
    const std::string why = "it is neither a directory nor a file nor a block device";
    return ground{.path = path, .temporary_file = not_tried(why), .not_written = why};
  }
  const descriptor opened = open_for_reading(path, 0);
  if (!opened) return std::unexpected(failure(path, "open", opened.error()));
  const std::string why = "only reading is tried on a file; give its directory to try this";
  return ground{.how = ground::kind::existing,
                .path = path,
                .temporary_file = not_tried(why),
                .not_written = why};
}

// --- Trials --------------------------------------------------------------------------------------

/// A file with something in it: a temporary one with `trial_size` bytes, or whatever the existing
/// one holds.
struct trial {
  const ground& on;
  descriptor file = on.open();
  buffer block{trial_size};
};

/// A trial that is ready, or why there is none.
std::expected<trial, feature> prepare(const ground& where) {
  if (where.how == ground::kind::none) return std::unexpected(not_tried(where.not_written));
  trial on{.on = where};
  if (!on.file) return std::unexpected(refused("open", on.file.error()));
  if (where.writable()) {
    const int error = fill(on.file.get());
    if (error != 0) return std::unexpected(refused("write", error));
  } else {
    // What has been read once is in memory, for the trials that must not wait.
    static_cast<void>(::pread(on.file.get(), on.block.data(), page, 0));
  }
  return on;
}

/// One page at the start of the trial's file; the errno, or 0.
int read_page(trial& on, int flags) noexcept {
  const iovec where{.iov_base = on.block.data(), .iov_len = page};
  return ::preadv2(on.file.get(), &where, 1, 0, flags) < 0 ? errno : 0;
}

int write_page(trial& on, int flags) noexcept {
  const iovec where{.iov_base = on.block.data(), .iov_len = page};
  return ::pwritev2(on.file.get(), &where, 1, 0, flags) < 0 ? errno : 0;
}

feature try_nowait_read(trial& on) {
  switch (const int error = read_page(on, RWF_NOWAIT)) {
    case 0:
      return yes();
    case EAGAIN:
      return yes("the page had left the page cache meanwhile");
    default:
      return refused("preadv2 with RWF_NOWAIT", error, "drivers give reads to worker threads");
  }
}

feature try_nowait_write(trial& on) {
  switch (const int error = write_page(on, RWF_NOWAIT)) {
    case 0:
      return yes();
    case EAGAIN:
      return yes("this one would have had to wait");
    default:
      return refused("pwritev2 with RWF_NOWAIT", error,
                     "drivers give buffered writes to worker threads");
  }
}

// A byte that lies beyond the end of every file: the flag is looked at, and nothing is read.
int ask_dontcache(int fd) noexcept {
  char byte = 0;
  const iovec where{.iov_base = &byte, .iov_len = 1};
  return ::preadv2(fd, &where, 1, LLONG_MAX - 1, rwf_dontcache) < 0 ? errno : 0;
}

feature try_dontcache(trial& on) {
  const int error = ask_dontcache(on.file.get());
  if (error == 0) return yes();
  return refused("preadv2 with RWF_DONTCACHE", error,
                 kernel_is_at_least(6, 14) ? "this file system does not take part"
                                           : "this kernel is too old: it needs Linux 6.14");
}

feature try_allocate(trial& on) {
  if (::fallocate(on.file.get(), 0, 0, 2 * trial_size) == 0) return yes();
  return refused("fallocate", errno);
}

feature try_holes(trial& on) {
  constexpr off_t sparse_size = 1 << 20;
  if (::ftruncate(on.file.get(), 0) != 0) return refused("ftruncate", errno);
  if (write_page(on, 0) != 0) return refused("write", errno);
  if (::ftruncate(on.file.get(), sparse_size) != 0) return refused("ftruncate", errno);
  const off_t hole = ::lseek(on.file.get(), 0, SEEK_HOLE);
  if (hole < 0) return refused("lseek with SEEK_HOLE", errno);
  if (hole < sparse_size) return yes();
  return {.available = false, .reason = "lseek with SEEK_HOLE takes the whole file for data"};
}

feature try_reflink(trial& on) {
  const descriptor copy = on.on.open();
  if (!copy) return refused("open", copy.error());
  if (::ioctl(copy.get(), FICLONE, on.file.get()) == 0) return yes();
  return refused("ioctl FICLONE", errno);
}

feature try_copy_range(trial& on) {
  const descriptor copy = on.on.open();
  if (!copy) return refused("open", copy.error());
  off_t from = 0;
  const ssize_t copied = ::copy_file_range(on.file.get(), &from, copy.get(), nullptr, page, 0);
  if (copied < 0) return refused("copy_file_range", errno);
  if (copied > 0) return yes();
  return {.available = false, .reason = "copy_file_range copies nothing, and gives no reason"};
}

// --- O_DIRECT ------------------------------------------------------------------------------------

/// An O_DIRECT transfer of `length` bytes: written, read back and compared, or only read. The
/// errno, or 0.
int transfer_directly(trial& on, int fd, std::size_t length) noexcept {
  const bool writing = on.on.writable();
  constexpr auto mark = std::byte{'d'};
  if (writing) {
    std::ranges::fill(on.block.span(), mark);
    if (::pwrite(fd, on.block.data(), length, 0) < 0) return errno;
    std::ranges::fill(on.block.span(), std::byte{0});
  }
  const ssize_t got = ::pread(fd, on.block.data(), length, 0);
  if (got < 0) return errno;
  if (!writing) return 0;
  const auto is_mark = [](std::byte b) { return b == mark; };
  const bool same =
      std::cmp_equal(got, length) && std::ranges::all_of(on.block.first(length), is_mark);
  return same ? 0 : EIO;
}

feature direct_answer(int error) {
  return error == 0 ? yes() : refused("a transfer with O_DIRECT", error);
}

// Without alignments from statx: the smallest of the usual ones that the system takes.
feature find_direct_alignment(trial& on, int fd, file_system_report& report) {
  int error = 0;
  for (const unsigned alignment : {512U, 1024U, 2048U, 4096U}) {
    error = transfer_directly(on, fd, alignment);
    if (error == 0) {
      report.direct_offset_alignment = alignment;
      return yes("statx does not tell the alignment; this one was found by trying");
    }
    if (error != EINVAL) break;
  }
  return direct_answer(error);
}

feature try_direct(trial& on, int fd, const struct statx& about, file_system_report& report) {
  if ((about.stx_mask & STATX_DIOALIGN) == 0) return find_direct_alignment(on, fd, report);
  if (about.stx_dio_offset_align == 0) {
    return {.available = false, .reason = "statx tells that this file has no direct transfers"};
  }
  report.direct_memory_alignment = about.stx_dio_mem_align;
  report.direct_offset_alignment = about.stx_dio_offset_align;
  return direct_answer(
      transfer_directly(on, fd, std::min<std::size_t>(about.stx_dio_offset_align, trial_size)));
}

feature try_atomic_write(trial& on, int fd, const struct statx& about, file_system_report& report) {
  const statx_tail tail = tail_of(about);
  if ((about.stx_mask & statx_write_atomic) == 0 || tail.atomic_write_unit_max == 0) {
    return {.available = false,
            .reason = kernel_is_at_least(6, 11)
                          ? "statx tells no size for it: the file system or the device lacks it"
                          : "this kernel is too old: it needs Linux 6.11"};
  }
  report.atomic_min = tail.atomic_write_unit_min;
  report.atomic_max = tail.atomic_write_unit_max;
  if (!on.on.writable()) return not_tried(on.on.not_written);
  const iovec where{.iov_base = on.block.data(),
                    .iov_len = std::min<std::size_t>(tail.atomic_write_unit_min, trial_size)};
  if (::pwritev2(fd, &where, 1, 0, rwf_atomic) >= 0) return yes();
  return refused("pwritev2 with RWF_ATOMIC", errno);
}

// What needs a descriptor opened with O_DIRECT.
void try_directly(trial& on, file_system_report& report) {
  const descriptor direct = on.on.open(O_DIRECT);
  if (!direct) {
    report.direct = refused("open with O_DIRECT", direct.error());
    report.atomic_write = {.available = report.direct.available,
                           .error = report.direct.error,
                           .reason = "it needs O_DIRECT"};
    return;
  }
  struct statx about{};
  static_cast<void>(::statx(direct.get(), "", AT_EMPTY_PATH,
                            STATX_BASIC_STATS | STATX_DIOALIGN | statx_write_atomic, &about));
  report.direct = try_direct(on, direct.get(), about, report);
  report.atomic_write = try_atomic_write(on, direct.get(), about, report);
  if (report.direct.available == true && (report.type == "tmpfs" || report.type == "ramfs")) {
    report.direct.reason = "its files are memory: there is no cache to go past";
  }
}

// --- The report ----------------------------------------------------------------------------------

void try_writing(trial& on, file_system_report& report) {
  report.nowait_write = try_nowait_write(on);
  report.reflink = try_reflink(on);
  report.copy_range = try_copy_range(on);
  report.allocate = try_allocate(on);
  report.holes = try_holes(on);  // last: it empties the file
}

void try_features(const ground& where, file_system_report& report) {
  const auto set = [&report](const feature& answer, auto... which) {
    ((report.*which = answer), ...);
  };
  using r = file_system_report;
  auto on = prepare(where);
  if (!on) {
    set(on.error(), &r::direct, &r::nowait_read, &r::nowait_write, &r::dontcache, &r::atomic_write,
        &r::reflink, &r::copy_range, &r::allocate, &r::holes);
    return;
  }
  report.nowait_read = try_nowait_read(*on);
  report.dontcache = try_dontcache(*on);
  try_directly(*on, report);
  if (where.writable()) {
    try_writing(*on, report);
  } else {
    set(not_tried(where.not_written), &r::nowait_write, &r::reflink, &r::copy_range, &r::allocate,
        &r::holes);
  }
}

std::string description(const ground& where) {
  switch (where.how) {
    case ground::kind::unnamed:
      return "a temporary file without a name in " + where.path;
    case ground::kind::briefly_named:
      return "a temporary file in " + where.path + ", unlinked at once";
    case ground::kind::existing:
      return "reading " + where.path;
    case ground::kind::none:
      break;
  }
  return {};
}

std::string kind_of(unsigned mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return "directory";
    case S_IFREG:
      return "file";
    case S_IFBLK:
      return "block device";
    case S_IFCHR:
      return "character device";
    case S_IFIFO:
      return "FIFO";
    case S_IFSOCK:
      return "socket";
    default:
      return "unknown";
  }
}

/// For systems without /proc; ext2 and ext3 have the magic of ext4.
constexpr auto known_types = std::to_array<std::pair<std::uint32_t, const char*>>({
    {EXT4_SUPER_MAGIC, "ext4"},
    {XFS_SUPER_MAGIC, "xfs"},
    {BTRFS_SUPER_MAGIC, "btrfs"},
    {F2FS_SUPER_MAGIC, "f2fs"},
    {0xca451a4e, "bcachefs"},
    {0x2fc12fc1, "zfs"},
    {TMPFS_MAGIC, "tmpfs"},
    {RAMFS_MAGIC, "ramfs"},
    {OVERLAYFS_SUPER_MAGIC, "overlay"},
    {FUSE_SUPER_MAGIC, "fuse"},
    {NFS_SUPER_MAGIC, "nfs"},
    {CIFS_SUPER_MAGIC, "cifs"},
    {SMB2_SUPER_MAGIC, "cifs"},
    {CEPH_SUPER_MAGIC, "ceph"},
    {V9FS_MAGIC, "9p"},
    {MSDOS_SUPER_MAGIC, "vfat"},
    {EXFAT_SUPER_MAGIC, "exfat"},
    {0x7366746e, "ntfs3"},
    {SQUASHFS_MAGIC, "squashfs"},
    {EROFS_SUPER_MAGIC_V1, "erofs"},
    {ISOFS_SUPER_MAGIC, "iso9660"},
    {PROC_SUPER_MAGIC, "proc"},
    {SYSFS_MAGIC, "sysfs"},
    {CGROUP2_SUPER_MAGIC, "cgroup2"},
});

std::string type_of(const struct statfs& system) {
  // Some have the top bit of 32 set, which a 64-bit f_type extends or does not.
  const auto magic = static_cast<std::uint32_t>(system.f_type);
  for (const auto& [known, name] : known_types) {
    if (known == magic) return name;
  }
  std::ostringstream unknown;
  unknown << "unknown (magic 0x" << std::hex << magic << ")";
  return unknown.str();
}

void describe_mount(std::uint64_t id, file_system_report& report) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const auto found = mount_of(line);
    if (!found || found->id != std::to_string(id)) continue;
    report.mount_point = found->point;
    report.type = found->type;
    report.source = found->source;
  }
}

/// Fills in what needs no trial; the file's mode.
std::expected<unsigned, std::string> describe(file_system_report& report) {
  struct statx about{};
  if (::statx(AT_FDCWD, report.path.c_str(), 0, STATX_BASIC_STATS | STATX_MNT_ID, &about) != 0) {
    return std::unexpected(failure(report.path, "statx", errno));
  }
  struct statfs system{};
  if (::statfs(report.path.c_str(), &system) != 0) {
    return std::unexpected(failure(report.path, "statfs", errno));
  }
  report.kind = kind_of(about.stx_mode);
  report.type = type_of(system);
  report.device = std::to_string(about.stx_dev_major) + ":" + std::to_string(about.stx_dev_minor);
  const auto unit =
      static_cast<std::uint64_t>(system.f_frsize != 0 ? system.f_frsize : system.f_bsize);
  report.size = system.f_blocks * unit;
  report.free = system.f_bavail * unit;
  report.block_size = static_cast<std::uint64_t>(system.f_bsize);
  report.read_only = (static_cast<unsigned long>(system.f_flags) & ST_RDONLY) != 0;
  if ((about.stx_mask & STATX_MNT_ID) != 0) describe_mount(about.stx_mnt_id, report);
  return about.stx_mode;
}

}  // namespace

bool accepts_dontcache(int fd) noexcept {
  const int error = ask_dontcache(fd);
  if (error != EBADF) return error == 0;
  // Open for writing only, perhaps. To ask with a write would not do: where files may be that long,
  // it would make this one so.
  std::array<char, 32> itself{};
  std::snprintf(itself.data(), itself.size(), "/proc/self/fd/%d", fd);
  const descriptor readable(::open(itself.data(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  return readable && ask_dontcache(readable.get()) == 0;
}

std::expected<file_system_report, std::string> examine(const std::string& path) {
  file_system_report report{.path = path};
  const auto mode = describe(report);
  if (!mode) return std::unexpected(mode.error());
  const auto where = find_ground(path, *mode);
  if (!where) return std::unexpected(where.error());
  report.tried_on = description(*where);
  report.temporary_file = where->temporary_file;
  try_features(*where, report);
  return report;
}

}  // namespace weir::tools
