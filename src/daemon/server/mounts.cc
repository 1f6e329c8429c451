#include "daemon/server/mounts.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <string_view>

namespace weir::detail::daemon {
namespace {

struct close_stream {
  void operator()(FILE* stream) const noexcept { ::fclose(stream); }
};

// proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw". The device is the
// third word, the type of the file system the first behind the hyphen.
bool is_of_device(std::string_view line, std::string_view device) noexcept {
  for (int word = 0; word < 2; ++word) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return false;
    line.remove_prefix(space + 1);
  }
  return line.substr(0, line.find(' ')) == device;
}

bool is_fuse(std::string_view line) noexcept {
  const std::size_t hyphen = line.find(" - ");
  return hyphen == std::string_view::npos || line.substr(hyphen + 3).starts_with("fuse");
}

}  // namespace

// statfs(2) would ask the very file system; what is mounted is known without.
bool is_trusted_file(int fd) noexcept {
  struct statx about{};
  constexpr int how = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if (::statx(fd, "", how, STATX_TYPE, &about) != 0) return false;
  const std::string device =
      std::to_string(about.stx_dev_major) + ":" + std::to_string(about.stx_dev_minor);
  const std::unique_ptr<FILE, close_stream> mounts(::fopen("/proc/self/mountinfo", "re"));
  if (!mounts) return false;
  char* line = nullptr;
  std::size_t size = 0;
  bool found = false;
  bool trusted = false;
  ssize_t got = 0;
  while (!found && (got = ::getline(&line, &size, mounts.get())) > 0) {
    const std::string_view text(line, static_cast<std::size_t>(got));
    found = is_of_device(text, device);
    trusted = found && !is_fuse(text);
  }
  ::free(line);
  return trusted;
}

}  // namespace weir::detail::daemon
