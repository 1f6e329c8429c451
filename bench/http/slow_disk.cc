// A file system in user space whose every read takes 100 ms: what a disk is to a server when it is
// busy, spinning up, or on the other side of a network.
//
//     slow_disk -f MOUNT_POINT
//
// Its files are called by numbers, are 16 KiB long and hold zeros.

#define FUSE_USE_VERSION 31

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>

#include <fuse3/fuse.h>

namespace {

constexpr std::chrono::milliseconds answer_time{100};
constexpr off_t file_size = off_t{16} << 10;

bool is_file(std::string_view path) noexcept {
  path.remove_prefix(1);
  return !path.empty() && path.find_first_not_of("0123456789") == std::string_view::npos;
}

int get_attributes(const char* path, struct stat* into, fuse_file_info*) noexcept {
  *into = {};
  const bool top = std::string_view(path) == "/";
  if (!top && !is_file(path)) return -ENOENT;
  into->st_mode = top ? S_IFDIR | 0755 : S_IFREG | 0644;
  into->st_nlink = 1;
  into->st_size = top ? 0 : file_size;
  return 0;
}

int read_file(const char*, char* memory, std::size_t length, off_t offset,
              fuse_file_info*) noexcept {
  std::this_thread::sleep_for(answer_time);
  const off_t left = std::clamp<off_t>(file_size - offset, 0, static_cast<off_t>(length));
  std::memset(memory, 0, static_cast<std::size_t>(left));
  return static_cast<int>(left);
}

}  // namespace

int main(int count, char** arguments) {
  fuse_operations operations{};
  operations.getattr = &get_attributes;
  operations.read = &read_file;
  return fuse_main(count, arguments, &operations, nullptr);
}
