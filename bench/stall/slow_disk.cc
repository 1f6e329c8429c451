#define FUSE_USE_VERSION 31

#include "slow_disk.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <thread>

#include <fuse3/fuse.h>

#include "support/fail.hpp"
#include "support/scratch_file.hpp"

namespace weir::bench {
namespace {

int get_attributes(const char* path, struct stat* status, fuse_file_info*) {
  *status = {};
  if (std::string_view(path) == "/") {
    status->st_mode = S_IFDIR | 0755;
    status->st_nlink = 2;
    return 0;
  }
  if (std::string_view(path) != "/file") return -ENOENT;
  status->st_mode = S_IFREG | 0444;
  status->st_nlink = 1;
  status->st_size = slow_disk::file_size;
  return 0;
}

int read_slowly(const char*, char* into, std::size_t size, off_t, fuse_file_info*) {
  std::this_thread::sleep_for(slow_disk::delay);
  std::memset(into, 'x', size);
  return static_cast<int>(size);
}

int open_uncached(const char*, fuse_file_info* file) {
  file->keep_cache = 0;
  return 0;
}

/// Tells by closing `told` without a byte that nothing came of it.
[[noreturn]] void serve(const char* directory, int told) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  fuse_operations operations{};
  operations.getattr = &get_attributes;
  operations.open = &open_uncached;
  operations.read = &read_slowly;
  std::array<char, 5> name{"weir"};
  std::array<char*, 2> arguments{name.data(), nullptr};
  fuse_args options = FUSE_ARGS_INIT(1, arguments.data());
  fuse* const served = fuse_new(&options, &operations, sizeof operations, nullptr);
  if (served == nullptr || fuse_mount(served, directory) != 0) ::_exit(1);
  fuse_set_signal_handlers(fuse_get_session(served));  // SIGTERM ends the loop
  if (::write(told, "", 1) == 1) fuse_loop_mt(served, 0);
  fuse_unmount(served);
  ::_exit(0);
}

}  // namespace

slow_disk::slow_disk() : directory_(scratch_directory() + "/weir_slow_disk_XXXXXX") {
  if (::mkdtemp(directory_.data()) == nullptr) fail("mkdtemp " + directory_);
  std::array<int, 2> told{};
  checked("pipe", ::pipe(told.data()));
  server_ = checked("fork", ::fork());
  if (server_ == 0) {
    ::close(told[0]);
    serve(directory_.c_str(), told[1]);
  }
  ::close(told[1]);
  char byte = 0;
  const bool mounted = ::read(told[0], &byte, 1) == 1;
  ::close(told[0]);
  if (mounted) return;
  ::waitpid(server_, nullptr, 0);
  ::rmdir(directory_.c_str());
  fail("FUSE cannot be mounted here", ENODEV);
}

slow_disk::~slow_disk() {
  ::kill(server_, SIGTERM);
  ::waitpid(server_, nullptr, 0);
  ::rmdir(directory_.c_str());
}

}  // namespace weir::bench
