#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "simulated/inode.hpp"

namespace weir::detail::simulated {

/// A name that has got another meaning.
struct name_step {
  inode_number directory;
  std::string name;
  inode_number target;  // 0: there is no such name any more
};

/// Names that have got other meanings at one moment: one, or the two of a rename. They are durable
/// together or not at all.
struct name_change {
  std::uint64_t operation;
  std::uint64_t sequence;
  std::uint32_t part;  // which of its operation's changes
  std::vector<name_step> steps;
};

/// What a path leads to.
struct place {
  inode* directory;  // null for what has no name: a descriptor's own file, "/"
  std::string name;  // the last component
  inode* found;      // null where there is no such name
  bool slash;        // the path ends in one: only a directory will do
  bool special;      // it ends in "." or ".."
};

/// How a path is resolved: the part of openat2(2)'s RESOLVE_* that means something here.
struct how_to_resolve {
  bool follow = true;  // a symbolic link at the very end
  bool no_symlinks = false;
  bool beneath = false;
};

/// Directories and what they lead to, as it is now and as it is on the disk.
class file_tree {
 public:
  file_tree();

  inode& root() noexcept { return inodes_.begin()->second; }
  inode* find(inode_number number) noexcept;
  inode& add(inode_kind kind, std::uint32_t mode, std::int64_t now_ns);
  /// Forgets it, if nobody has it open, no name leads to it, and none might after a power failure.
  void drop_if_unused(inode& which) noexcept;

  /// ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EXDEV, as negative numbers.
  std::expected<place, std::int32_t> resolve(inode& from, std::string_view path,
                                             how_to_resolve how);

  /// Gives names their new meanings; durable later.
  void change_names(name_change change);
  bool contains(const inode& directory, inode_number descendant) noexcept;

  const std::vector<name_change>& waiting() const noexcept { return waiting_; }
  /// Makes durable what has changed in a directory, and what that depends on.
  void persist_names(inode_number directory);
  void persist_all_names();
  /// Of all that waits, asks about each in turn, oldest first; what depends on something lost is
  /// lost with it.
  void lose_names(const std::function<bool(const name_change&)>& is_lost);

  /// Becomes what is on the disk: only that, and nothing is open.
  void restart();

  template <class Visitor>
  void for_each(Visitor visit) {
    for (auto& [number, each] : inodes_) visit(each);
  }

 private:
  class walk;

  void persist(const name_change& change);
  void forget(const name_change& change) noexcept;
  void forget_one(inode_number target) noexcept;

  std::map<inode_number, inode> inodes_;
  inode_number next_ = 1;
  std::vector<name_change> waiting_;
};

}  // namespace weir::detail::simulated
