#include "campaign/disk.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "campaign/trial.hpp"
#include "campaign/words.hpp"

namespace weir::campaign {
namespace {

// Another process may take the free one between the two calls.
testing::descriptor attach(const testing::descriptor& control, int backing, std::string& path) {
  constexpr int attempts = 64;
  for (int i = 0; i < attempts; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) not_available("LOOP_CTL_GET_FREE");
    path = in_words("/dev/loop", number);
    testing::descriptor device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!device) not_available("open " + path);
    loop_config wanted{};
    wanted.fd = static_cast<std::uint32_t>(backing);
    wanted.block_size = 4096;
    wanted.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (::ioctl(device.get(), LOOP_CONFIGURE, &wanted) == 0) return device;
    if (errno != EBUSY) not_available("LOOP_CONFIGURE");
  }
  throw unavailable("others took every free loop device");
}

}  // namespace

testing::descriptor make_disk_memory(std::size_t size) {
  testing::descriptor made(::memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made) not_available("memfd_create");
  if (::ftruncate(made.get(), static_cast<off_t>(size)) != 0) not_available("ftruncate");
  return made;
}

loop_device::loop_device(const testing::descriptor& backing) {
  const testing::descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) not_available("open /dev/loop-control");
  open_ = attach(control, backing.get(), path_);
}

std::string_view loop_device::name() const noexcept {
  return std::string_view(path_).substr(path_.find_last_of('/') + 1);
}

void have_own_mounts() {
  static const bool done = [] {
    if (::unshare(CLONE_NEWNS) != 0) not_available("unshare(CLONE_NEWNS)");
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) not_available("mount");
    return true;
  }();
  static_cast<void>(done);
}

mounted::mounted(const std::string& what, const std::string& where, const char* type,
                 const char* options)
    : path_(where) {
  have_own_mounts();
  if (::mkdir(where.c_str(), 0755) != 0 && errno != EEXIST) not_available("mkdir");
  if (::mount(what.c_str(), where.c_str(), type, 0, options) != 0) {
    not_available(in_words("mount -t ", type));
  }
}

mounted::~mounted() { ::umount2(path_.c_str(), MNT_DETACH); }

void make_ext4(const loop_device& on, std::string_view options) {
  const std::string command = in_words("PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F -b 4096 -m 0 ",
                                       "-E lazy_itable_init=0,nodiscard ", options, ' ', on.path());
  if (std::system(command.c_str()) != 0) throw unavailable("mkfs.ext4 failed, or is not there");
}

filler::filler(const std::string& directory)
    : path_(directory + "/filler"), file_(testing::open_file(path_, O_WRONLY | O_CREAT)) {
  off_t size = 0;
  for (off_t piece = 1 << 20; piece >= 4096;) {
    if (::fallocate(file_.get(), 0, size, piece) == 0) {
      size += piece;
    } else if (errno == ENOSPC) {
      piece /= 2;
    } else if (errno != EINTR) {
      not_available("fallocate");
    }
  }
}

// What is freed on a journalled file system can be used from the next commit on.
filler::~filler() {
  ::unlink(path_.c_str());
  ::syncfs(file_.get());
  file_.reset();
}

}  // namespace weir::campaign
