// The room that files take: their sizes, and pages that are reserved or given back.

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "simulated/file_system.hpp"

namespace weir::detail::simulated {

std::uint64_t file_system::room() const noexcept {
  const std::uint64_t all = std::min(options_.capacity, options_.quota) / page_size;
  return all - std::min(all, used_pages_);
}

std::int32_t file_system::no_room() const noexcept {
  return options_.quota < options_.capacity ? -EDQUOT : -ENOSPC;
}

std::byte* file_system::page_to_write(inode& file, std::uint64_t number, bool overwritten) {
  if (!file.now.pages.at(number)) {
    if (room() == 0) return nullptr;
    ++used_pages_;
  }
  return file.now.pages.slot(number).to_write(overwritten);
}

void file_system::set_size(inode& file, std::uint64_t size) {
  if (size == file.now.size) return;
  if (size < file.now.size) {
    used_pages_ -= file.now.pages.count((size + page_size - 1) / page_size);
  }
  resize(file.now, size);
  note(file, {.at = size, .what = change::kind::size});
  file.changed_ns = clock_ns_;
}

std::int32_t file_system::truncate(const request& what, const open_file& opened) {
  if (opened.file->is_directory() || (opened.flags & O_ACCMODE) == O_RDONLY) return -EINVAL;
  if (what.offset > file_max) return -EFBIG;
  set_size(*opened.file, what.offset);
  return 0;
}

// Pages of zeros, which are all the same one until they are written to.
bool file_system::reserve(inode& file, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = (offset + length + page_size - 1) / page_size;
  page_ref zeros;
  std::memset(zeros.to_write(true), 0, page_size);
  for (std::uint64_t number = offset / page_size; number < end; ++number) {
    if (file.now.pages.at(number)) continue;
    if (room() == 0) return false;
    ++used_pages_;
    file.now.pages.slot(number) = zeros;
  }
  return true;
}

std::int32_t file_system::make_zero(inode& file, std::uint64_t offset, std::uint64_t length,
                                    bool keeps_room) {
  const std::uint64_t end = std::min(offset + length, file.now.size);
  for (std::uint64_t at = offset; at < end;) {
    const std::uint64_t count = std::min(end - at, page_size - at % page_size);
    const std::uint64_t number = at / page_size;
    if (count == page_size && !keeps_room && file.now.pages.at(number)) {
      file.now.pages.slot(number) = {};
      --used_pages_;
      note_page(file, at, count, false);
    } else if (file.now.pages.at(number)) {
      std::memset(page_to_write(file, number, false) + at % page_size, 0, count);
      note_page(file, at, count, false);
    }
    at += count;
  }
  return 0;
}

std::int32_t file_system::allocate(const request& what, const open_file& opened) {
  inode& file = *opened.file;
  const bool keeps_size = (what.mode & FALLOC_FL_KEEP_SIZE) != 0;
  const std::uint32_t how = what.mode & ~std::uint32_t{FALLOC_FL_KEEP_SIZE};
  const bool punches = how == FALLOC_FL_PUNCH_HOLE;
  if (what.length == 0) return -EINVAL;
  if (punches ? !keeps_size : how != 0 && how != FALLOC_FL_ZERO_RANGE) return -EOPNOTSUPP;
  if ((opened.flags & O_ACCMODE) == O_RDONLY) return -EBADF;
  if (file.is_directory()) return -EISDIR;
  if (what.offset + what.length > file_max) return -EFBIG;
  if (punches) return make_zero(file, what.offset, what.length, false);
  if (!reserve(file, what.offset, what.length)) return no_room();
  if (how == FALLOC_FL_ZERO_RANGE) make_zero(file, what.offset, what.length, true);
  if (!keeps_size) set_size(file, std::max(file.now.size, what.offset + what.length));
  return 0;
}

}  // namespace weir::detail::simulated
