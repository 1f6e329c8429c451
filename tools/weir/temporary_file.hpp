#pragma once

#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace weir::tools {

/// Owns a descriptor, or holds the negative errno of the call that should have made one.
class descriptor {
 public:
  descriptor() noexcept = default;
  explicit descriptor(int fd) noexcept : fd_(fd < 0 ? -errno : fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -EBADF)) {}
  descriptor& operator=(descriptor&&) = delete;
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() { close(); }

  explicit operator bool() const noexcept { return fd_ >= 0; }
  int get() const noexcept { return fd_; }
  int error() const noexcept { return fd_ < 0 ? -fd_ : 0; }

  void close() noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -EBADF;
  }

 private:
  int fd_ = -EBADF;
};

/// Files that are gone however the program ends, Ctrl-C and SIGKILL included: a file in `directory`
/// without a name (O_TMPFILE), open for reading and writing, and with `flags`;
descriptor open_unnamed(const std::string& directory, int flags = 0) noexcept;

/// where that is not known (NFS, FAT, many FUSE file systems), one that has a name for two system
/// calls.
descriptor open_briefly_named(const std::string& directory, int flags = 0);

}  // namespace weir::tools
