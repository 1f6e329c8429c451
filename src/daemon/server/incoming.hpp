#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "daemon/descriptor.hpp"
#include "daemon/protocol.hpp"

namespace weir::detail::daemon {

/// A message as it came, with the descriptors that came with it: those that nobody takes are
/// closed.
class incoming {
 public:
  /// A path at its end is followed by a NUL.
  frame what() const noexcept { return {bytes_, count_, cut_off_}; }
  descriptor take(std::size_t which) noexcept { return std::move(descriptors_[which]); }
  void close_descriptors() noexcept;

 private:
  friend class frame_inbox;
  std::span<const std::byte> bytes_;
  std::size_t count_ = 0;
  bool cut_off_ = false;
  std::array<descriptor, descriptors_max> descriptors_;
};

/// Memory for the messages that are received at a time, of whatever connection.
class frame_inbox {
 public:
  static constexpr std::size_t most = 8;

  frame_inbox();
  frame_inbox(const frame_inbox&) = delete;
  frame_inbox& operator=(const frame_inbox&) = delete;
  ~frame_inbox();

  /// Receives without waiting, and calls `hear(incoming&)` for each message. How many there were: 0
  /// for none just now; -1 at the connection's end.
  template <class Hear>
  int receive(int connection, Hear hear) {
    const int count = fetch(connection);
    bool ended = false;
    for (int i = 0; i < count; ++i) {
      // An empty message from who has gone meanwhile looks like the end; those behind it have come
      // all the same, and their descriptors with them.
      if (!unpack(static_cast<std::size_t>(i), connection)) {
        ended = true;
        continue;
      }
      hear(one_);
      one_.close_descriptors();
    }
    return ended ? -1 : count;
  }

 private:
  struct slots;

  int fetch(int connection) noexcept;
  bool unpack(std::size_t which, int connection) noexcept;

  std::unique_ptr<slots> slots_;
  incoming one_;
};

}  // namespace weir::detail::daemon
