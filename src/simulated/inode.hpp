#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "simulated/pages.hpp"

namespace weir::detail::simulated {

/// The longest file: ext4's (with extents and pages of 4 KiB).
inline constexpr std::uint64_t file_max = (std::uint64_t{1} << 44) - page_size;

using attributes = std::map<std::string, std::string>;
using inode_number = std::uint64_t;

/// What reads find, or what is on the disk.
struct content {
  page_table pages;
  std::uint64_t size = 0;
  std::shared_ptr<const attributes> extra;  // null for none
};

/// Something that was done to a file and is not on the disk yet. Of a write, one for each page.
struct change {
  enum class kind : std::uint8_t { page, size, extra };

  std::uint64_t operation = 0;  // by number, as the trace has it
  std::uint64_t sequence = 0;   // the order in which changes were made
  std::uint32_t part = 0;       // which of its operation's changes
  std::uint64_t at = 0;         // a page's number; a size
  page_ref version;             // the page as it was then
  std::uint16_t from = 0;       // of which these bytes were changed,
  std::uint16_t to = 0;         // up to here
  kind what = kind::page;
  bool grows = true;  // the file ends at `to` or behind it; not so of a reservation past the end
  std::shared_ptr<const attributes> extra;
};

enum class inode_kind : std::uint8_t { file, directory, symlink };

struct inode {
  inode_number number;
  inode_kind kind;
  std::uint32_t mode;  // permission bits
  std::int64_t born_ns;
  std::int64_t changed_ns;

  content now;
  content durable;
  std::vector<change> waiting;          // to get from `now` to `durable`
  std::set<std::uint64_t> bad_sectors;  // of what is on the disk: where they begin

  // Of a directory. How they come to be durable: see file_tree.hpp.
  std::map<std::string, inode_number, std::less<>> entries;
  std::map<std::string, inode_number, std::less<>> durable_entries;
  inode_number parent = 0;
  std::string target;  // of a symbolic link

  std::uint32_t links = 0;       // names, now
  std::uint32_t remembered = 0;  // names on the disk, and on the way there
  std::uint32_t opened = 0;
  bool nameless = false;  // as it was made (O_TMPFILE); it may be given its first name
  bool queued = false;    // for `machine::write_back_oldest`

  bool is_directory() const noexcept { return kind == inode_kind::directory; }
};

/// Gives a file a size, in `now` or in `durable`: what is cut off is gone, what is added is a hole.
void resize(content& of, std::uint64_t size);

/// What a file is on the disk once `done` is, in full: as the page cache writes a page, with all
/// that had been written to it by then.
void persist(inode& of, const change& done);

/// The same of some of a page's sectors: bit i of `sectors` for the i-th.
void persist_sectors(inode& of, const change& done, std::uint32_t sector_size,
                     std::uint64_t sectors);

/// Bits of the sectors that a change of a page touches.
std::uint64_t sectors_of(const change& done, std::uint32_t sector_size) noexcept;

}  // namespace weir::detail::simulated
