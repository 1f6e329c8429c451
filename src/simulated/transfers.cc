// Bytes: reads and writes of files, and copies between them.

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include "simulated/file_system.hpp"

namespace weir::detail::simulated {
namespace {

constexpr std::uint64_t most_elements = 1024;  // IOV_MAX

bool may_read(std::uint32_t flags) noexcept { return (flags & O_ACCMODE) != O_WRONLY; }

bool may_write(std::uint32_t flags) noexcept { return (flags & O_ACCMODE) != O_RDONLY; }

bool is_aligned(const request& what, std::span<const iovec> memory, std::uint64_t sector) noexcept {
  if (what.offset % sector != 0) return false;
  return std::ranges::all_of(memory, [&](const iovec& each) {
    return each.iov_len % sector == 0 &&
           reinterpret_cast<std::uintptr_t>(each.iov_base) % sector == 0;
  });
}

/// Goes through memory in pieces piece by piece.
class memory_cursor {
 public:
  explicit memory_cursor(std::span<const iovec> pieces) noexcept : pieces_(pieces) {}

  /// Moves `length` bytes between here and `page`, and goes on behind them.
  template <class Move>
  void each(std::uint64_t length, Move move) noexcept {
    std::uint64_t done = 0;
    while (done < length) {
      const iovec& piece = pieces_.front();
      const std::uint64_t count = std::min<std::uint64_t>(length - done, piece.iov_len - within_);
      move(static_cast<std::byte*>(piece.iov_base) + within_, done, count);
      done += count;
      within_ += count;
      if (within_ != piece.iov_len) continue;
      pieces_ = pieces_.subspan(1);
      within_ = 0;
    }
  }

 private:
  std::span<const iovec> pieces_;
  std::uint64_t within_ = 0;
};

std::uint64_t total(std::span<const iovec> memory) noexcept {
  std::uint64_t sum = 0;
  for (const iovec& each : memory) sum = std::min(transfer_max, sum + each.iov_len);
  return sum;
}

}  // namespace

// --- both ways -----------------------------------------------------------------------------------

std::int32_t file_system::transfer(const request& what, open_file& opened) {
  const bool vectored = what.op == opcode::readv || what.op == opcode::writev;
  const bool reads = what.op == opcode::read || what.op == opcode::readv;
  const iovec one{what.address, std::min(what.length, transfer_max)};
  if (vectored && what.length > most_elements) return -EINVAL;
  const std::span<const iovec> memory =
      vectored ? std::span(static_cast<const iovec*>(what.address), what.length)
               : std::span(&one, 1);
  if (reads ? !may_read(opened.flags) : !may_write(opened.flags)) return -EBADF;
  const std::uint64_t length = total(memory);
  if (length == 0) return 0;
  if (reads && opened.file->is_directory()) return -EISDIR;
  constexpr std::uint32_t known = RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC | RWF_APPEND;
  if ((what.flags & ~known) != 0) return -EOPNOTSUPP;
  if ((opened.flags & O_DIRECT) != 0 && !is_aligned(what, memory, options_.sector_size)) {
    return -EINVAL;
  }
  return reads ? read(what, *opened.file, memory, length) : write(what, opened, memory, length);
}

// It ends where it can be resumed past the page cache as well.
std::uint64_t file_system::shortened(const request& what, std::uint64_t length) {
  const std::uint64_t unit =
      (what.offset | length) % options_.sector_size == 0 ? options_.sector_size : 1;
  if (length <= unit || !befalls(simulated_fault::short_transfer)) return length;
  meet({now_.number, 0, simulated_fault::short_transfer});
  const std::uint64_t fewer = length / unit - 1;
  return unit * (1 + fate_.random().below(fewer, purpose::place, now_.number));
}

// --- reading -------------------------------------------------------------------------------------

std::int32_t file_system::read(const request& what, inode& file, std::span<const iovec> into,
                               std::uint64_t length) {
  if (what.offset >= file.now.size) return 0;
  length = shortened(what, std::min(length, file.now.size - what.offset));
  rot(file, what.offset, length);
  length = readable(file, what.offset, length);
  if (length == 0) return -EIO;
  if (into.front().iov_base == nullptr && into.front().iov_len != 0) return -EFAULT;
  memory_cursor memory(into);
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t at = what.offset + done;
    const std::uint64_t count = std::min(length - done, page_size - at % page_size);
    const std::byte* const from = file.now.pages.at(at / page_size).bytes() + at % page_size;
    memory.each(count, [&](std::byte* to, std::uint64_t begin, std::uint64_t part) {
      std::memcpy(to, from + begin, part);
    });
    done += count;
  }
  return static_cast<std::int32_t>(length);
}

// A bit of what is on the disk, and so of what was read from there.
void file_system::rot(inode& file, std::uint64_t offset, std::uint64_t length) {
  if (!befalls(simulated_fault::bit_rot)) return;
  const std::uint64_t at = offset + fate_.random().below(length, purpose::place, now_.number, 1);
  const auto bit = static_cast<unsigned>(fate_.random().below(8, purpose::place, now_.number, 2));
  const std::uint64_t number = at / page_size;
  for (content* each : {&file.now, &file.durable}) {
    if (!each->pages.at(number)) continue;
    each->pages.slot(number).to_write(false)[at % page_size] ^= std::byte{1} << bit;
  }
  meet({now_.number, 0, simulated_fault::bit_rot}, &file);
}

// Up to the first bad sector. What waits to be written is in memory, and can be read.
std::uint64_t file_system::readable(inode& file, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t sector = options_.sector_size;
  if (befalls(simulated_fault::bad_sector)) {
    const std::uint64_t at = offset + fate_.random().below(length, purpose::place, now_.number, 3);
    file.bad_sectors.insert(at - at % sector);
    meet({now_.number, 0, simulated_fault::bad_sector}, &file);
  }
  if (file.bad_sectors.empty()) return length;
  auto bad = file.bad_sectors.lower_bound(offset - offset % sector);
  for (; bad != file.bad_sectors.end() && *bad < offset + length; ++bad) {
    const bool in_memory = std::ranges::any_of(file.waiting, [&](const change& each) {
      return each.what == change::kind::page && each.at == *bad / page_size;
    });
    if (!in_memory) return *bad <= offset ? 0 : *bad - offset;
  }
  return length;
}

// --- writing -------------------------------------------------------------------------------------

std::int32_t file_system::write(const request& what, open_file& opened, std::span<const iovec> from,
                                std::uint64_t length) {
  inode& file = *opened.file;
  const bool appends = (opened.flags & O_APPEND) != 0 || (what.flags & RWF_APPEND) != 0;
  const std::uint64_t offset = appends ? file.now.size : what.offset;
  if (offset >= file_max) return -EFBIG;
  if (from.front().iov_base == nullptr && from.front().iov_len != 0) return -EFAULT;
  length = shortened(what, std::min(length, file_max - offset));
  memory_cursor memory(from);
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t at = offset + done;
    const std::uint64_t count = std::min(length - done, page_size - at % page_size);
    std::byte* const page = page_to_write(file, at / page_size, count == page_size);
    if (page == nullptr) break;
    memory.each(count, [&](const std::byte* bytes, std::uint64_t begin, std::uint64_t piece) {
      std::memcpy(page + at % page_size + begin, bytes, piece);
    });
    note_page(file, at, count);
    done += count;
  }
  if (done == 0) return no_room();
  file.changed_ns = clock_ns_;
  const bool durable =
      (opened.flags & (O_DSYNC | O_SYNC)) != 0 || (what.flags & (RWF_DSYNC | RWF_SYNC)) != 0;
  if (durable) {
    if (const auto error = sync(file); error != 0) return error;
  }
  return static_cast<std::int32_t>(done);
}

/// `length` bytes from `at` on, within one page, have been changed.
void file_system::note_page(inode& file, std::uint64_t at, std::uint64_t length, bool grows) {
  if (grows) file.now.size = std::max(file.now.size, at + length);
  const auto from = static_cast<std::uint16_t>(at % page_size);
  note(file, {.at = at / page_size,
              .version = file.now.pages.at(at / page_size),
              .from = from,
              .to = static_cast<std::uint16_t>(from + length),
              .grows = grows});
}

void file_system::note(inode& file, change done) {
  done.operation = now_.number;
  done.part = now_.parts++;
  done.sequence = ++sequence_;
  if (done.what == change::kind::page) ++waiting_pages_;
  file.waiting.push_back(std::move(done));
  if (!file.queued) {
    file.queued = true;
    dirty_.push_back(file.number);
  }
  while (waiting_pages_ * page_size > options_.dirty_limit && !dirty_.empty()) {
    write_back_oldest();
  }
}

// --- from file to file ---------------------------------------------------------------------------

// By pages, through memory: whether the disk shares them is its own affair.
std::int32_t file_system::copy(const request& what) {
  open_file* const from = descriptor(what.fd);
  open_file* const to = descriptor(static_cast<std::int32_t>(what.mode));
  if (from == nullptr || to == nullptr) return -EBADF;
  if (((from->flags | to->flags) & O_PATH) != 0) return -EBADF;
  now_.file = to->file;
  if (what.flags != 0) return -EINVAL;
  if (from->file->is_directory() || to->file->is_directory()) return -EISDIR;
  if (!may_read(from->flags) || !may_write(to->flags)) return -EBADF;
  if ((to->flags & O_APPEND) != 0) return -EBADF;
  if (what.op == opcode::clone_range) return -EOPNOTSUPP;  // as ext4 answers
  const auto second = reinterpret_cast<std::uintptr_t>(what.address);
  std::uint64_t& source = from->position;
  std::uint64_t& target = to->position;
  const std::uint64_t begin = what.offset != UINT64_MAX ? what.offset : source;
  const std::uint64_t into = second != UINT64_MAX ? second : target;
  const std::uint64_t size = from->file->now.size;
  const std::uint64_t length =
      begin >= size ? 0 : std::min({what.length, transfer_max, size - begin});
  const bool overlaps = from->file == to->file && begin < into + length && into < begin + length;
  if (overlaps) return -EINVAL;
  const std::int32_t moved = copy_bytes(*from->file, begin, *to, into, length);
  if (moved <= 0) return moved;
  if (what.offset == UINT64_MAX) source += static_cast<std::uint64_t>(moved);
  if (second == UINT64_MAX) target += static_cast<std::uint64_t>(moved);
  return moved;
}

std::int32_t file_system::copy_bytes(inode& from, std::uint64_t begin, open_file& to,
                                     std::uint64_t into, std::uint64_t length) {
  std::array<std::byte, page_size> bytes;
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t count = std::min(length - done, page_size);
    iovec piece{bytes.data(), count};
    const request one{.offset = begin + done};
    const request other{.offset = into + done};
    const std::int32_t got = read(one, from, std::span(&piece, 1), count);
    if (got <= 0) return done != 0 ? static_cast<std::int32_t>(done) : got;
    piece.iov_len = static_cast<std::size_t>(got);
    const std::int32_t put = write(other, to, std::span(&piece, 1), piece.iov_len);
    if (put <= 0) return done != 0 ? static_cast<std::int32_t>(done) : put;
    done += static_cast<std::uint64_t>(put);
    if (put < got) break;
  }
  return static_cast<std::int32_t>(done);
}

}  // namespace weir::detail::simulated
