#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "weir/file.hpp"

namespace weir::detail {

/// The commits that are under way on one file, and the barriers that they share. Belongs to the
/// context's thread, and to the file's state, which every commit keeps alive.
///
/// At most one barrier is in flight. Whoever asks for one meanwhile waits for the next: the one in
/// flight began before his writes were done. While other commits still write, the next is put off
/// until they have joined: a barrier takes as long for one as for a hundred. But not for longer
/// than the last one took (who joins too late would wait as long for another), nor than a
/// millisecond, so that no slow write holds up the others.
class commit_group {
 public:
  explicit commit_group(file_state& file) noexcept : file_(file), pause_(*this) {}

  /// Counts a commit as under way.
  class membership {
   public:
    explicit membership(commit_group& group) noexcept : group_(group) { ++group_.under_way_; }
    membership(const membership&) = delete;
    membership& operator=(const membership&) = delete;
    ~membership() { group_.leave(); }
    bool alone() const noexcept { return group_.under_way_ == 1; }

   private:
    commit_group& group_;
  };

  /// Awaited by a commit whose writes are done; yields 0 or a negative errno.
  class barrier {
   public:
    barrier(commit_group& group, durability how) noexcept
        : group_(group), full_(how == durability::full) {}
    barrier(const barrier&) = delete;
    barrier& operator=(const barrier&) = delete;
    ~barrier();

    bool await_ready() noexcept;
    void await_suspend(std::coroutine_handle<> waiter) noexcept;
    std::int32_t await_resume() const noexcept { return answer_; }

   private:
    friend commit_group;
    void answer_with(std::int32_t answer) noexcept;

    commit_group& group_;
    const bool full_;
    std::int32_t answer_ = 0;
    std::coroutine_handle<> waiter_;
    barrier* next_ = nullptr;
  };

 private:
  enum class step : std::uint8_t { idle, pausing, syncing };

  /// The longest that a barrier is put off. What is left of it when the barrier begins is let run
  /// out, and keeps the file open; cancelling it would cost an operation more.
  struct pause : operation {
    explicit pause(commit_group& of) noexcept : operation({}, &over), group(of) {}
    static void over(operation& op) noexcept { static_cast<pause&>(op).group.paused(); }
    commit_group& group;
  };

  void join(barrier& one) noexcept;
  void leave() noexcept;
  bool all_wait() const noexcept { return waiting_count_ == under_way_; }
  void prepare() noexcept;
  void paused() noexcept;
  void begin() noexcept;
  void ended() noexcept;

  file_state& file_;
  std::size_t under_way_ = 0;
  std::size_t waiting_count_ = 0;
  barrier* waiting_ = nullptr;  // for the next barrier, newest first
  barrier* served_ = nullptr;   // by the one in flight
  step step_ = step::idle;
  pause pause_;
  std::int64_t began_ns_ = 0;  // the barrier in flight
  std::int64_t took_ns_ = 0;   // the last one
  std::optional<sync_state> in_flight_;
};

}  // namespace weir::detail
