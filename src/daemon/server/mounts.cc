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

std::optional<bool> trust_told_by(std::string_view line, std::string_view device) noexcept {
  return is_of_device(line, device) ? std::optional(!is_fuse(line)) : std::nullopt;
}

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
  std::optional<bool> trusted;
  ssize_t got = 0;
  while (!trusted && (got = ::getline(&line, &size, mounts.get())) > 0) {
    trusted = trust_told_by({line, static_cast<std::size_t>(got)}, device);
  }
  ::free(line);
  return trusted.value_or(false);
}

}  // namespace weir::detail::daemon
