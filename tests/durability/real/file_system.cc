#include "durability/real/file_system.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "support/support.hpp"

namespace weir::real_disks {
namespace {

// Small, so that recovery takes little, but with a second superblock; and nothing left to be
// written later, when it is idle. No discards, which the recorder does not take.
constexpr std::string_view make_ext4 =
    "mkfs.ext4 -q -F -b 4096 -J size=4 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "
    "\"$0\" 192m";
constexpr std::string_view repair_ext4 = "e2fsck -f -y \"$0\"";
constexpr std::string_view make_xfs = "mkfs.xfs -q -f -K \"$0\"";

constexpr std::array all{
    file_system{
        .name = "ext4", .type = "ext4", .maker = make_ext4, .repairer = repair_ext4, .options = ""},
    file_system{.name = "xfs", .type = "xfs", .maker = make_xfs, .repairer = "", .options = ""},
    file_system{.name = "ext4-journal_checksum",
                .type = "ext4",
                .maker = make_ext4,
                .repairer = repair_ext4,
                .options = "journal_checksum"},
};

std::error_code last_error() { return {errno, std::system_category()}; }

constexpr int command_not_found = 127;

/// The exit status; -1 where there is none.
int run_quietly(std::string_view what, const std::string& device) {
  const std::string command = "PATH=$PATH:/usr/sbin:/sbin; exec " + std::string(what);
  const pid_t child = ::fork();
  if (child < 0) return -1;
  if (child == 0) {
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(nothing, STDOUT_FILENO);
    ::dup2(nothing, STDERR_FILENO);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), device.c_str(), nullptr);
    ::_exit(command_not_found);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

std::span<const file_system> file_systems() { return all; }

std::error_code make_file_system(const file_system& kind, const std::string& device) {
  const int status = run_quietly(kind.maker, device);
  if (status == 0) return {};
  return std::make_error_code(status == command_not_found ? std::errc::no_such_file_or_directory
                                                          : std::errc::io_error);
}

// e2fsck(8): 1 says that errors have been corrected.
std::error_code repair_file_system(const file_system& kind, const std::string& device) {
  if (kind.repairer.empty()) return std::make_error_code(std::errc::not_supported);
  const int status = run_quietly(kind.repairer, device);
  return status == 0 || status == 1 ? std::error_code{} : std::make_error_code(std::errc::io_error);
}

mounted::mounted(const file_system& kind, const std::string& device, const std::string& directory)
    : directory_(directory) {
  const std::string type(kind.type);
  const std::string options(kind.options);
  is_mounted_ = ::mount(device.c_str(), directory.c_str(), type.c_str(), 0, options.c_str()) == 0;
  if (!is_mounted_) error_ = last_error();
}

mounted::~mounted() {
  if (is_mounted_) ::umount2(directory_.c_str(), MNT_DETACH);
}

// The kernel may let go of a file some time after the last close, as where a ring or a socket has
// held it.
std::error_code mounted::unmount() {
  int error = 0;
  testing::eventually([&] {
    error = ::umount2(directory_.c_str(), 0) == 0 ? 0 : errno;
    return error != EBUSY;
  });
  is_mounted_ = error != 0;
  return {error, std::system_category()};
}

}  // namespace weir::real_disks
