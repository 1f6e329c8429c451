#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <unordered_map>
#include <utility>

#include "daemon/descriptor.hpp"
#include "daemon/protocol.hpp"
#include "weir/io_context.hpp"

struct open_how;  // <linux/openat2.h>
struct statx;     // <sys/stat.h>

namespace weir::detail::daemon {

/// What statx(2) has said about a regular file.
struct file_facts {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t accessed_ns = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
};

/// What one asks statx(2) for: flags and mask.
extern const int facts_flags;
extern const unsigned facts_mask;
/// EINVAL for what is no regular file.
std::expected<file_facts, int> facts_from(const struct statx& raw) noexcept;

/// Which part of a file is meant.
struct file_range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
/// The part of a file of `size` bytes that is to be read: ERANGE where it is not all there.
std::expected<file_range, int> range_within(std::uint64_t size, const path_request& asked) noexcept;

/// How a request's file is opened: beneath the root, never waiting for a FIFO's other end or a
/// device.
open_how how_to_open(const path_request& asked) noexcept;

/// Locks exactly that part, without waiting, for as long as the open file description lives: an OFD
/// lock, which the end of another transfer does not take away (fcntl(2)). EAGAIN where another has
/// locked it. 0, or an errno.
int lock(int fd, message kind, file_range range) noexcept;

class open_files;

/// A share in an open file: the last one closes it.
class open_file {
 public:
  open_file() noexcept = default;
  open_file(open_file&& other) noexcept : shared_(std::exchange(other.shared_, nullptr)) {}
  open_file& operator=(open_file&& other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
  }
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  ~open_file() { reset(); }

  explicit operator bool() const noexcept { return shared_ != nullptr; }
  int fd() const noexcept;
  void reset() noexcept;

 private:
  friend class open_files;
  struct shared;
  explicit open_file(shared* one) noexcept : shared_(one) {}

  shared* shared_ = nullptr;
};

/// The files that are open. Transfers that only read, and hold no lock, share one descriptor for
/// each file, so that ten thousand of them take one.
class open_files {
 public:
  explicit open_files(io_context& context) noexcept : context_(context) {}
  open_files(const open_files&) = delete;
  open_files& operator=(const open_files&) = delete;
  ~open_files() = default;

  /// Takes over a descriptor for reading. Where that file is open already, that one is shared, and
  /// this descriptor is closed.
  open_file share(descriptor opened, const file_facts& about);
  /// Takes over a descriptor for one user alone: it is locked, or written to.
  open_file keep(descriptor opened);
  /// Closes a file without waiting: the last close(2) of a file that has been removed frees its
  /// blocks, which takes its time.
  void close(descriptor opened) noexcept;

 private:
  friend class open_file;
  struct key {
    std::uint64_t device;
    std::uint64_t inode;
    bool operator==(const key&) const = default;
  };
  struct hash {
    std::size_t operator()(const key& of) const noexcept {
      return (of.inode * 0x9e3779b97f4a7c15) ^ of.device;
    }
  };
  void forget(open_file::shared& one) noexcept;

  io_context& context_;
  std::unordered_map<key, open_file::shared*, hash> shared_;
};

}  // namespace weir::detail::daemon
