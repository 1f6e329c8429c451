#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/protocol.hpp"

namespace weir::detail::daemon {

/// The client's files that the daemon has, each in a slot: descriptors are passed once, not with
/// every operation.
///
/// A number says little about the file behind it: a program may close it, and open another file
/// under the same number, without asking anybody. So a duplicate is kept of what was passed, and
/// the kernel is asked whether the two still are the same open file (F_DUPFD_QUERY of fcntl(2),
/// Linux 6.10; before, kcmp(2); without either, everything is passed anew). The duplicate holds the
/// file open, but no longer than `idle_max` after its last use.
class shared_files {
 public:
  static constexpr std::int64_t idle_max_ns = 1'000'000'000;

  shared_files() : entries_(slots_max) {}
  shared_files(const shared_files&) = delete;
  shared_files& operator=(const shared_files&) = delete;
  ~shared_files() { forget_all(); }

  struct found {
    int slot = -1;  ///< -1: the daemon is not to be asked, the client does it itself
    bool direct = false;
    bool appends = false;
  };
  /// The slot of what `fd` stands for now. It is in use until `release`.
  found use(int fd, std::int64_t now_ns) noexcept;
  void release(int slot) noexcept { --entries_[index_of(slot)].in_use; }

  /// The daemon does not serve this file.
  void refuse(int slot) noexcept { entries_[index_of(slot)].refused = true; }

  /// A new turn: what a number stands for is to be asked again.
  void begin_turn() noexcept { ++turn_; }

  /// `fd` is about to be closed.
  void closing(int fd) noexcept;
  /// Forgets what has not been used for long.
  void forget_idle(std::int64_t now_ns) noexcept;
  /// For a connection that is lost: nothing is with the daemon any more.
  void forget_all() noexcept;

  /// What the daemon has to be told first: descriptors for slots, and slots to be emptied.
  struct news {
    std::vector<std::uint32_t> slots;
    std::vector<int> descriptors;  // for the first of the slots
  };
  bool has_news() const noexcept { return news_; }

  bool empty() const noexcept { return kept_ == 0; }
  /// At most `descriptors_max` of each; `told` says that they have been sent.
  news to_tell() const;
  void told(const news& sent) noexcept;

 private:
  struct entry {
    int fd = -1;    // the client's number; -1: vacant
    int kept = -1;  // a duplicate
    unsigned in_use = 0;
    std::uint64_t seen_in = 0;  // the turn in which the two were compared
    std::int64_t used_ns = 0;
    bool told = false;       // the daemon has it
    bool stale = false;      // not to be used again
    bool forgotten = false;  // vacant, and the daemon still has it
    bool refused = false;
    bool direct = false;
    bool appends = false;
  };

  static std::size_t index_of(int slot) noexcept { return static_cast<std::size_t>(slot); }
  found use_entry(std::size_t at, std::int64_t now_ns) noexcept;
  int add(int fd) noexcept;
  void drop(entry& which) noexcept;
  bool is_same(entry& which) const noexcept;

  std::vector<entry> entries_;
  std::size_t end_ = 0;  // of the entries that have held a file on this connection
  std::uint64_t turn_ = 1;
  std::size_t kept_ = 0;  // duplicates
  bool news_ = false;
};

}  // namespace weir::detail::daemon
