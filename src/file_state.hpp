#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "residency.hpp"
#include "weir/sender.hpp"

namespace weir {
enum class durability : std::uint8_t;
struct open_options;
}  // namespace weir

namespace weir::detail {

class commit_group;

/// O_* of openat(2).
std::uint32_t flags_of(const open_options& options) noexcept;
/// RWF_* for a write that is to be as durable as that when it completes.
std::uint32_t flags_of(durability how) noexcept;

/// Stands behind a `file` for as long as it or an operation on it lives, so that closing can wait
/// for what is in flight. Belongs to the context's thread, except `started_elsewhere_`.
struct file_state {
  file_state(io_context& on, int descriptor, bool is_direct, bool is_appending) noexcept;
  file_state(const file_state&) = delete;
  file_state& operator=(const file_state&) = delete;
  ~file_state();

  io_context* const context;
  const int fd;
  const bool direct;   // opened O_DIRECT
  const bool appends;  // opened O_APPEND: a write's offset says nothing
  // This file system has no RWF_DONTCACHE: learned from its refusal, and not asked again.
  std::atomic<bool> drops_by_hand = false;
  // Minus the errno of the first sync that failed; every later one answers it too.
  std::atomic<std::int32_t> failed_sync = 0;

  // Whether reads are worth trying in the page cache first. The context's thread only.
  residency resident;

  // Made by the first commit; see <weir/commit.hpp>.
  std::unique_ptr<commit_group> commits;

  /// `answer` is a sync's; only the first that means lost writes is remembered.
  void remember_failed_sync(std::int32_t answer) noexcept {
    const bool lost = answer == -EIO || answer == -ENOSPC || answer == -EDQUOT;
    std::int32_t none = 0;
    if (lost) failed_sync.compare_exchange_strong(none, answer, std::memory_order_relaxed);
  }

  /// Before the operation is started. Plain arithmetic where the thread is the context's: this is
  /// on the path of every transfer.
  void count_start(bool on_own_thread) noexcept {
    if (on_own_thread) {
      ++started_here_;
    } else {
      started_elsewhere_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  bool idle() const noexcept {
    return started_here_ + started_elsewhere_.load(std::memory_order_relaxed) == finished_;
  }

  /// One operation less; if it was the last, does what waited for that.
  void count_finish() noexcept;

  /// Starts `close_operation` when idle, maybe now.
  void close_when_idle(operation& close_operation) noexcept;

  /// Closes the descriptor without report, and frees this, when idle, maybe now.
  void abandon() noexcept;

 private:
  void act_when_idle() noexcept;

  std::size_t started_here_ = 0;
  std::size_t finished_ = 0;
  std::atomic<std::size_t> started_elsewhere_ = 0;
  operation* closing_ = nullptr;
  bool abandoned_ = false;
};

}  // namespace weir::detail
