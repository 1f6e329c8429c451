#define FUSE_USE_VERSION 31

#include "durability/real/served_disk.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>

#include <fuse3/fuse_lowlevel.h>

namespace weir::real_disks {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::system_category(), what);
}

// --- the file system: a root, and one file in it -------------------------------------------------

constexpr fuse_ino_t file_inode = 2;
constexpr std::string_view file_name = "disk";
constexpr double for_ever = 1e9;  // attributes do not change

recording& served_by(fuse_req_t request) {
  return *static_cast<recording*>(fuse_req_userdata(request));
}

struct stat attributes_of(fuse_ino_t inode, const recording& served) {
  struct stat about{};
  about.st_ino = inode;
  about.st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0600;
  about.st_nlink = inode == FUSE_ROOT_ID ? 2 : 1;
  if (inode == file_inode) about.st_size = static_cast<off_t>(served.disk().size());
  return about;
}

void look_up(fuse_req_t request, fuse_ino_t parent, const char* name) noexcept {
  if (parent != FUSE_ROOT_ID || name != file_name) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry{};
  entry.ino = file_inode;
  entry.attr = attributes_of(file_inode, served_by(request));
  entry.attr_timeout = entry.entry_timeout = for_ever;
  fuse_reply_entry(request, &entry);
}

void get_attributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) noexcept {
  const struct stat about = attributes_of(inode, served_by(request));
  fuse_reply_attr(request, &about, for_ever);
}

// Past the page cache: the disk's contents are changed behind the kernel's back, too.
void open_file(fuse_req_t request, fuse_ino_t, fuse_file_info* file) noexcept {
  file->direct_io = 1;
  fuse_reply_open(request, file);
}

bool is_within(const recording& served, std::size_t size, off_t offset) {
  const std::size_t end = served.disk().size();
  return offset >= 0 && static_cast<std::size_t>(offset) <= end &&
         size <= end - static_cast<std::size_t>(offset);
}

void read_file(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
               fuse_file_info*) noexcept {
  const recording& served = served_by(request);
  if (!is_within(served, size, offset)) {
    fuse_reply_err(request, EIO);
    return;
  }
  const auto bytes = served.disk().subspan(static_cast<std::size_t>(offset), size);
  fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void write_file(fuse_req_t request, fuse_ino_t, const char* data, std::size_t size, off_t offset,
                fuse_file_info*) noexcept {
  recording& served = served_by(request);
  const bool written =
      is_within(served, size, offset) &&
      served.write(static_cast<std::uint64_t>(offset), std::as_bytes(std::span(data, size)));
  if (written) {
    fuse_reply_write(request, size);
  } else {
    fuse_reply_err(request, EIO);
  }
}

void sync_file(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) noexcept {
  fuse_reply_err(request, served_by(request).flush() ? 0 : EIO);
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops made{};
  made.lookup = &look_up;
  made.getattr = &get_attributes;
  made.open = &open_file;
  made.read = &read_file;
  made.write = &write_file;
  made.fsync = &sync_file;
  return made;
}

/// Serves until it is unmounted, on one thread: so the log has an order. Closes `told` without a
/// byte where nothing comes of it.
[[noreturn]] void serve(recording& served, const std::string& directory, int told) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGINT, SIG_IGN);  // the terminal's is for the others, who still need the disk
  std::array<char, 16> name{"weir-recorder"};
  std::array<char*, 2> arguments{name.data(), nullptr};
  fuse_args options = FUSE_ARGS_INIT(1, arguments.data());
  const fuse_lowlevel_ops how = operations();
  fuse_session* const session = fuse_session_new(&options, &how, sizeof how, &served);
  if (session == nullptr || fuse_session_mount(session, directory.c_str()) != 0) ::_exit(1);
  if (::write(told, "", 1) != 1) ::_exit(1);
  ::close(told);
  const int outcome = fuse_session_loop(session);
  ::_exit(outcome == 0 ? 0 : 1);
}

}  // namespace

std::error_code enter_own_mount_namespace() noexcept {
  static const int error = [] {
    if (::unshare(CLONE_NEWNS) != 0) return errno;
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : errno;
  }();
  return {error, std::system_category()};
}

served_disk::served_disk(recording& recorded) {
  start_server(recorded);
  try {
    attach();
  } catch (...) {
    end();
    throw;
  }
}

served_disk::~served_disk() { end(); }

void served_disk::end() noexcept {
  device_.reset();  // and the loop device lets go of the file
  ::umount2(directory_.path().c_str(), MNT_DETACH);
  ::kill(server_, SIGKILL);
  while (::waitpid(server_, nullptr, 0) < 0 && errno == EINTR) continue;
}

void served_disk::start_server(recording& recorded) {
  testing::pipe_ends told = testing::make_pipe(O_CLOEXEC);
  server_ = ::fork();
  if (server_ < 0) fail("fork");
  if (server_ == 0) {
    told.read.reset();
    serve(recorded, directory_.path(), told.write.get());
  }
  told.write.reset();
  char byte = 0;
  ssize_t count = 0;
  do {
    count = ::read(told.read.get(), &byte, 1);
  } while (count < 0 && errno == EINTR);
  if (count == 1) return;
  end();
  errno = ENODEV;
  fail("FUSE cannot be mounted");
}

// Between asking for a free device and taking it, someone else may.
void served_disk::attach() {
  const testing::descriptor file = testing::open_file(directory_ / file_name, O_RDWR | O_CLOEXEC);
  const testing::descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) fail("/dev/loop-control");
  loop_config wanted{};
  wanted.fd = static_cast<unsigned>(file.get());
  wanted.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  constexpr int tries = 50;
  for (int attempt = 0; attempt < tries; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) fail("no free loop device");
    device_path_ = "/dev/loop" + std::to_string(number);
    testing::descriptor device(::open(device_path_.c_str(), O_RDWR | O_CLOEXEC));
    if (!device) fail(device_path_);
    if (::ioctl(device.get(), LOOP_CONFIGURE, &wanted) == 0) {
      device_ = std::move(device);
      return;
    }
    if (errno != EBUSY) fail("LOOP_CONFIGURE");
  }
  fail("LOOP_CONFIGURE");
}

void served_disk::forget_cached() const {
  if (::ioctl(device_.get(), BLKFLSBUF, 0) != 0) fail("BLKFLSBUF");
}

}  // namespace weir::real_disks
