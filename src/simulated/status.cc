// What is known of a file besides its bytes: statx(2), getdents64(2), extended attributes.

#include <dirent.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "simulated/file_system.hpp"

namespace weir::detail::simulated {
namespace {

constexpr std::size_t attribute_max = 4096 - 256;  // an inode's block of ext4, less its headers

std::uint32_t type_of(const inode& file) noexcept {
  switch (file.kind) {
    case inode_kind::directory:
      return S_IFDIR;
    case inode_kind::symlink:
      return S_IFLNK;
    case inode_kind::file:
      break;
  }
  return S_IFREG;
}

std::uint8_t entry_type_of(const inode& file) noexcept {
  return static_cast<std::uint8_t>(type_of(file) >> 12);  // DTTOIF of <dirent.h>, backwards
}

statx_timestamp timestamp(std::int64_t ns) noexcept {
  statx_timestamp at{};
  at.tv_sec = ns / 1'000'000'000;
  at.tv_nsec = static_cast<std::uint32_t>(ns % 1'000'000'000);
  return at;
}

std::uint32_t links_of(const inode& file, file_tree& tree) {
  if (!file.is_directory()) return file.links;
  if (file.links == 0) return 0;
  const auto directories = std::ranges::count_if(
      file.entries, [&](const auto& each) { return tree.find(each.second)->is_directory(); });
  return 2 + static_cast<std::uint32_t>(directories);
}

std::uint64_t size_of(const inode& file) noexcept {
  switch (file.kind) {
    case inode_kind::directory:
      return page_size;
    case inode_kind::symlink:
      return file.target.size();
    case inode_kind::file:
      break;
  }
  return file.now.size;
}

}  // namespace

std::int32_t file_system::status(const request& what) {
  const char* const path = static_cast<const char*>(what.address);
  auto* const into = reinterpret_cast<struct statx*>(what.offset);
  if (path == nullptr || into == nullptr) return -EFAULT;
  inode* file = nullptr;
  if (*path == 0 && (what.flags & AT_EMPTY_PATH) != 0) {
    const open_file* const opened = descriptor(what.fd);
    if (opened == nullptr && what.fd != AT_FDCWD) return -EBADF;
    file = opened != nullptr ? opened->file : &tree_.root();
  } else {
    const auto at = resolve(what.fd, path, {.follow = (what.flags & AT_SYMLINK_NOFOLLOW) == 0});
    if (!at) return at.error();
    if (at->found == nullptr) return -ENOENT;
    if (at->slash && !at->found->is_directory()) return -ENOTDIR;
    file = at->found;
  }
  now_.file = file;
  struct statx found{};
  found.stx_mask = STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN;
  found.stx_blksize = page_size;
  found.stx_nlink = links_of(*file, tree_);
  found.stx_mode = static_cast<std::uint16_t>(type_of(*file) | file->mode);
  found.stx_ino = file->number;
  found.stx_size = size_of(*file);
  found.stx_blocks = file->now.pages.count() * (page_size / 512);
  found.stx_atime = found.stx_mtime = found.stx_ctime = timestamp(file->changed_ns);
  found.stx_btime = timestamp(file->born_ns);
  if (file->kind == inode_kind::file) {
    found.stx_dio_mem_align = found.stx_dio_offset_align = options_.sector_size;
  }
  std::memcpy(into, &found, sizeof(found));
  return 0;
}

// --- directories ---------------------------------------------------------------------------------

namespace {

struct entry {
  std::string_view name;
  inode_number number;
  std::uint8_t type;
};

/// Lays entries out one behind the other, as getdents64(2) does.
class entry_writer {
 public:
  entry_writer(void* into, std::uint64_t room) noexcept
      : into_(static_cast<std::byte*>(into)), room_(room) {}

  /// False where there is no room left for it.
  bool add(const entry& each) noexcept {
    constexpr std::size_t head = offsetof(dirent64, d_name);
    const std::size_t length = (head + each.name.size() + 1 + 7) / 8 * 8;
    if (length > room_ - written_) return false;
    dirent64 laid_out{};
    laid_out.d_ino = each.number;
    laid_out.d_off = static_cast<off64_t>(++count_);
    laid_out.d_reclen = static_cast<unsigned short>(length);
    laid_out.d_type = each.type;
    std::byte* const at = into_ + written_;
    std::memset(at, 0, length);
    std::memcpy(at, &laid_out, head);
    std::memcpy(at + head, each.name.data(), each.name.size());
    written_ += length;
    return true;
  }

  std::int32_t written() const noexcept { return static_cast<std::int32_t>(written_); }

 private:
  std::byte* into_;
  std::uint64_t room_;
  std::uint64_t written_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace

std::int32_t file_system::read_directory(const request& what, open_file& opened) {
  const inode& directory = *opened.file;
  if (!directory.is_directory()) return -ENOTDIR;
  if (directory.links == 0) return -ENOENT;
  entry_writer writer(what.address, std::min(what.length, transfer_max));
  bool room = true;
  for (; opened.entries_read < 2 && room; ++opened.entries_read) {
    const bool itself = opened.entries_read == 0;
    room = writer.add({itself ? "." : "..", itself ? directory.number : directory.parent, DT_DIR});
    if (!room) break;
  }
  auto next = directory.entries.upper_bound(opened.last_entry);
  for (; room && next != directory.entries.end(); ++next) {
    room = writer.add({next->first, next->second, entry_type_of(*tree_.find(next->second))});
    if (room) opened.last_entry = next->first;
  }
  return !room && writer.written() == 0 ? -EINVAL : writer.written();
}

// --- extended attributes -------------------------------------------------------------------------

std::int32_t file_system::get_attribute(const request& what, const inode& file) {
  const auto* const name = reinterpret_cast<const char*>(what.offset);
  if (name == nullptr) return -EFAULT;
  if (!std::string_view(name).starts_with("user.")) return -EOPNOTSUPP;
  if (file.now.extra == nullptr) return -ENODATA;
  const auto found = file.now.extra->find(name);
  if (found == file.now.extra->end()) return -ENODATA;
  const std::string& value = found->second;
  if (what.length == 0) return static_cast<std::int32_t>(value.size());
  if (what.length < value.size()) return -ERANGE;
  std::memcpy(what.address, value.data(), value.size());
  return static_cast<std::int32_t>(value.size());
}

std::int32_t file_system::set_attribute(const request& what, inode& file) {
  const auto* const name = reinterpret_cast<const char*>(what.offset);
  if (name == nullptr) return -EFAULT;
  if (!std::string_view(name).starts_with("user.")) return -EOPNOTSUPP;
  if (what.flags > XATTR_REPLACE) return -EINVAL;
  if (what.length > attribute_max) return -ENOSPC;
  auto changed = file.now.extra != nullptr ? std::make_shared<attributes>(*file.now.extra)
                                           : std::make_shared<attributes>();
  const bool there = changed->contains(name);
  if (there && what.flags == XATTR_CREATE) return -EEXIST;
  if (!there && what.flags == XATTR_REPLACE) return -ENODATA;
  (*changed)[name].assign(static_cast<const char*>(what.address), what.length);
  file.now.extra = std::move(changed);
  note(file, {.what = change::kind::extra, .extra = file.now.extra});
  return 0;
}

}  // namespace weir::detail::simulated
