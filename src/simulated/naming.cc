// Names: opening, creating, renaming, removing.

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "simulated/file_system.hpp"

namespace weir::detail::simulated {
namespace {

constexpr std::uint32_t umask = 022;
constexpr std::size_t target_max = 4095;

const char* first_path(const request& what) noexcept {
  return static_cast<const char*>(what.address);
}
const char* second_path(const request& what) noexcept {
  return reinterpret_cast<const char*>(what.offset);
}
std::int32_t second_directory(const request& what) noexcept {
  return static_cast<std::int32_t>(what.mode);
}

// 0, or why nothing can be given that name.
std::int32_t why_not_new(const place& at, bool directory) noexcept {
  if (at.found != nullptr || at.special) return -EEXIST;
  if (at.slash && !directory) return -ENOENT;
  return at.directory->links == 0 ? -ENOENT : 0;
}

}  // namespace

file_system::resolved file_system::resolve(std::int32_t fd, const char* path, how_to_resolve how) {
  if (path == nullptr) return std::unexpected(-EFAULT);
  const std::string_view text(path);
  if (!now_.names.empty()) now_.names += " ";
  now_.names += text;
  inode* from = &tree_.root();
  if (!text.starts_with('/') && fd != AT_FDCWD) {
    const open_file* const opened = descriptor(fd);
    if (opened == nullptr) return std::unexpected(-EBADF);
    from = opened->file;
    if (!text.empty() && !from->is_directory()) return std::unexpected(-ENOTDIR);
  }
  return tree_.resolve(*from, text, how);
}

void file_system::change_names(std::vector<name_step> steps) {
  std::vector<inode_number> replaced;
  for (const name_step& step : steps) {
    const auto& entries = tree_.find(step.directory)->entries;
    const auto old = entries.find(step.name);
    if (old != entries.end()) replaced.push_back(old->second);
  }
  tree_.change_names({.operation = now_.number,
                      .sequence = ++sequence_,
                      .part = now_.parts++,
                      .steps = std::move(steps)});
  for (const inode_number number : replaced) {
    inode* const file = tree_.find(number);
    if (file != nullptr) let_go(*file);
  }
}

// --- opening -------------------------------------------------------------------------------------

namespace {

constexpr std::uint32_t no_name = O_TMPFILE & ~O_DIRECTORY;
constexpr std::uint32_t path_flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// What both calls refuse.
bool makes_sense(std::uint32_t flags) noexcept {
  if ((flags & O_CREAT) != 0 && (flags & O_DIRECTORY) != 0) return false;
  if ((flags & no_name) == 0) return true;
  return (flags & O_DIRECTORY) != 0 && (flags & O_ACCMODE) != O_RDONLY;
}

}  // namespace

// O_PATH has openat(2) pass over most other flags, and openat2(2) refuse them.
std::int32_t file_system::open(const request& what) {
  const std::uint32_t flags = (what.flags & O_PATH) != 0 ? what.flags & path_flags : what.flags;
  return makes_sense(flags) ? open_path(what, flags, what.mode, {}) : -EINVAL;
}

// openat2(2) looks at what openat(2) passes over: flags that it does not know.
std::int32_t file_system::open_how(const request& what) {
  const auto* const how = reinterpret_cast<const struct ::open_how*>(what.offset);
  if (how == nullptr) return -EFAULT;
  if (what.length < sizeof(*how)) return -EINVAL;
  if (what.length > sizeof(*how)) return -E2BIG;
  constexpr std::uint64_t known =
      RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  if ((how->resolve & ~known) != 0 || how->flags > UINT32_MAX || how->mode > 07777) return -EINVAL;
  if (how->mode != 0 && (how->flags & (O_CREAT | no_name)) == 0) return -EINVAL;
  const auto flags = static_cast<std::uint32_t>(how->flags);
  if (!makes_sense(flags)) return -EINVAL;
  if ((flags & O_PATH) != 0 && (flags & ~path_flags) != 0) return -EINVAL;
  return open_path(what, flags, static_cast<std::uint32_t>(how->mode),
                   {.no_symlinks = (how->resolve & RESOLVE_NO_SYMLINKS) != 0,
                    .beneath = (how->resolve & RESOLVE_BENEATH) != 0});
}

std::int32_t file_system::open_path(const request& what, std::uint32_t flags, std::uint32_t mode,
                                    how_to_resolve how) {
  const bool creates = (flags & O_CREAT) != 0;
  const bool exclusive = creates && (flags & O_EXCL) != 0;
  if ((flags & no_name) != 0) return create_nameless(what, flags, mode, how);
  how.follow = (flags & O_NOFOLLOW) == 0 && !exclusive;
  const auto at = resolve(what.fd, first_path(what), how);
  if (!at) return at.error();
  if (creates && at->slash) return -EISDIR;
  if (at->found != nullptr) {
    if (exclusive) return -EEXIST;
    if (creates && at->found->is_directory()) return -EISDIR;
    if (at->slash && !at->found->is_directory()) return -ENOTDIR;
    return open_found(*at->found, flags);
  }
  if (!creates) return -ENOENT;
  return at->directory->links == 0 ? -ENOENT : create(*at, flags, mode);
}

std::int32_t file_system::create_nameless(const request& what, std::uint32_t flags,
                                          std::uint32_t mode, how_to_resolve how) {
  how.follow = (flags & O_NOFOLLOW) == 0;
  const auto at = resolve(what.fd, first_path(what), how);
  if (!at) return at.error();
  if (at->found == nullptr) return -ENOENT;
  if (!at->found->is_directory()) return -ENOTDIR;
  inode& file = tree_.add(inode_kind::file, mode & 07777 & ~umask, clock_ns_);
  file.nameless = (flags & O_EXCL) == 0;
  const std::int32_t fd = install(file, flags & ~std::uint32_t{O_TMPFILE});
  if (fd < 0) tree_.drop_if_unused(file);
  now_.file = fd < 0 ? nullptr : &file;
  return fd;
}

std::int32_t file_system::open_found(inode& file, std::uint32_t flags) {
  if ((flags & O_DIRECTORY) != 0 && !file.is_directory()) return -ENOTDIR;
  if (file.kind == inode_kind::symlink && (flags & O_PATH) == 0) return -ELOOP;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  if (file.is_directory() && writes) return -EISDIR;
  if (file.is_directory() && (flags & O_DIRECT) != 0) return -EINVAL;
  const std::int32_t fd = install(file, flags);
  if (fd >= 0 && (flags & O_TRUNC) != 0 && (flags & O_PATH) == 0) set_size(file, 0);
  now_.file = &file;
  return fd;
}

std::int32_t file_system::create(const place& at, std::uint32_t flags, std::uint32_t mode) {
  inode& file = tree_.add(inode_kind::file, mode & 07777 & ~umask, clock_ns_);
  const std::int32_t fd = install(file, flags);
  if (fd < 0) {
    tree_.drop_if_unused(file);
    return fd;
  }
  change_names({{at.directory->number, at.name, file.number}});
  now_.file = &file;
  return fd;
}

// --- giving names, and taking them away ----------------------------------------------------------

std::int32_t file_system::make_directory(const request& what) {
  const auto at = resolve(what.fd, first_path(what), {.follow = false});
  if (!at) return at.error();
  if (const auto error = why_not_new(*at, true); error != 0) return error;
  inode& made = tree_.add(inode_kind::directory, what.mode & 01777 & ~umask, clock_ns_);
  change_names({{at->directory->number, at->name, made.number}});
  return 0;
}

std::int32_t file_system::make_symlink(const request& what) {
  const char* const target = first_path(what);
  if (target == nullptr) return -EFAULT;
  const std::string_view text(target);
  if (text.empty()) return -ENOENT;
  if (text.size() > target_max) return -ENAMETOOLONG;
  const auto at = resolve(second_directory(what), second_path(what), {.follow = false});
  if (!at) return at.error();
  if (const auto error = why_not_new(*at, false); error != 0) return error;
  inode& made = tree_.add(inode_kind::symlink, 0777, clock_ns_);
  made.target = text;
  change_names({{at->directory->number, at->name, made.number}});
  return 0;
}

std::int32_t file_system::link(const request& what) {
  constexpr std::uint32_t known = AT_SYMLINK_FOLLOW | AT_EMPTY_PATH;
  if ((what.flags & ~known) != 0) return -EINVAL;
  inode* existing = nullptr;
  if ((what.flags & AT_EMPTY_PATH) != 0 && first_path(what) != nullptr && *first_path(what) == 0) {
    const open_file* const opened = descriptor(what.fd);
    if (opened == nullptr) return -EBADF;
    existing = opened->file;
  } else {
    const auto from =
        resolve(what.fd, first_path(what), {.follow = (what.flags & AT_SYMLINK_FOLLOW) != 0});
    if (!from) return from.error();
    if (from->found == nullptr) return -ENOENT;
    if (from->slash && !from->found->is_directory()) return -ENOTDIR;
    existing = from->found;
  }
  const auto at = resolve(second_directory(what), second_path(what), {.follow = false});
  if (!at) return at.error();
  if (const auto error = why_not_new(*at, false); error != 0) return error;
  if (existing->is_directory()) return -EPERM;
  if (existing->links == 0 && !existing->nameless) return -ENOENT;
  change_names({{at->directory->number, at->name, existing->number}});
  return 0;
}

std::int32_t file_system::unlink(const request& what) {
  if ((what.flags & ~std::uint32_t{AT_REMOVEDIR}) != 0) return -EINVAL;
  const bool directory = (what.flags & AT_REMOVEDIR) != 0;
  const auto at = resolve(what.fd, first_path(what), {.follow = false});
  if (!at) return at.error();
  if (at->special && !directory) return -EISDIR;
  if (at->directory == nullptr) return -EBUSY;  // "/"
  if (at->special) return at->name == "." ? -EINVAL : -ENOTEMPTY;
  if (at->found == nullptr) return -ENOENT;
  if (directory != at->found->is_directory()) return directory ? -ENOTDIR : -EISDIR;
  if (at->slash && !directory) return -ENOTDIR;
  if (directory && !at->found->entries.empty()) return -ENOTEMPTY;
  change_names({{at->directory->number, at->name, 0}});
  return 0;
}

// --- renaming ------------------------------------------------------------------------------------

namespace {

// 0, or why `from` cannot take the place of what is at `to`.
std::int32_t why_not_replace(const place& from, const place& to) noexcept {
  const bool directory = from.found->is_directory();
  if (!directory && (from.slash || to.slash)) return -ENOTDIR;
  if (to.found == nullptr) return to.directory->links == 0 ? -ENOENT : 0;
  if (directory && !to.found->is_directory()) return -ENOTDIR;
  if (!directory && to.found->is_directory()) return -EISDIR;
  return directory && !to.found->entries.empty() ? -ENOTEMPTY : 0;
}

}  // namespace

std::int32_t file_system::rename(const request& what) {
  const bool must_be_new = (what.flags & RENAME_NOREPLACE) != 0;
  const bool exchanges = (what.flags & RENAME_EXCHANGE) != 0;
  constexpr std::uint32_t known = RENAME_NOREPLACE | RENAME_EXCHANGE;
  if ((what.flags & ~known) != 0 || (must_be_new && exchanges)) return -EINVAL;
  const auto from = resolve(what.fd, first_path(what), {.follow = false});
  if (!from) return from.error();
  const auto to = resolve(second_directory(what), second_path(what), {.follow = false});
  if (!to) return to.error();
  if (from->special) return -EBUSY;
  if (to->special) return must_be_new ? -EEXIST : -EBUSY;
  if (from->found == nullptr) return -ENOENT;
  if (must_be_new && to->found != nullptr) return -EEXIST;
  if (exchanges && to->found == nullptr) return -ENOENT;
  if (from->found->is_directory() && tree_.contains(*from->found, to->directory->number)) {
    return -EINVAL;
  }
  if (to->found != nullptr && to->found->is_directory() && from->found != to->found &&
      tree_.contains(*to->found, from->directory->number)) {
    return exchanges ? -EINVAL : -ENOTEMPTY;
  }
  if (exchanges) return exchange(*from, *to);
  if (const auto error = why_not_replace(*from, *to); error != 0) return error;
  if (from->found == to->found) return 0;
  change_names({{from->directory->number, from->name, 0},
                {to->directory->number, to->name, from->found->number}});
  return 0;
}

std::int32_t file_system::exchange(const place& from, const place& to) {
  if ((from.slash && !from.found->is_directory()) || (to.slash && !to.found->is_directory())) {
    return -ENOTDIR;
  }
  if (from.found == to.found) return 0;
  change_names({{from.directory->number, from.name, to.found->number},
                {to.directory->number, to.name, from.found->number}});
  return 0;
}

}  // namespace weir::detail::simulated
