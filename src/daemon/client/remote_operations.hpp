#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "daemon/client/block_map.hpp"
#include "daemon/client/shared_files.hpp"
#include "daemon/client/shared_memory.hpp"
#include "daemon/protocol.hpp"
#include "weir/operation.hpp"

namespace weir::detail::daemon {

/// The operations that a client has with the daemon: as they are said on the wire, where their
/// bytes lie in the shared memory, and how far they have come. What is larger than a piece goes as
/// several, one after the other; what finds no memory waits, first come, first served.
///
/// It knows nothing of sockets: `to_send` is sent by somebody, answers are brought to
/// `take_answers`.
class remote_operations {
 public:
  remote_operations(std::size_t most, shared_memory& memory, shared_files& files);

  /// Whether the daemon is to carry this out; with the slots that are in use from then on. What is
  /// odd in any way is done by the client itself, which then answers as the system call does.
  struct route {
    shared_files::found file;
    int second_slot = -1;
  };
  std::optional<route> route_of(const request& what, std::int64_t now_ns) noexcept;

  bool full() const noexcept { return free_.empty(); }
  std::size_t in_flight() const noexcept { return records_.size() - free_.size(); }

  /// Begins `op`; there is room.
  void begin(operation& op, const route& by) noexcept;

  /// Answers a cancel request, or says that the answer will come (nothing). -ENOENT: `target` is
  /// not here.
  std::optional<std::int32_t> cancel(operation& request, operation& target) noexcept;
  /// Asks to give up each that `request` names. It has finished when each has been told, and
  /// `others_told` has been called: by whoever asks the same of what is not here.
  void cancel_named(operation& request) noexcept;
  void others_told(operation& request) noexcept;

  /// A message with answers from the daemon. False for what is none, and for one that nobody waits
  /// for: then nothing it says is true.
  bool take_answers(std::span<const std::byte> came) noexcept;
  /// There will be no answers: everything ends so.
  void lose_all(std::int32_t answer) noexcept;

  /// In order; who has sent some removes them from the front.
  std::vector<wire_operation>& to_send() noexcept { return to_send_; }

  /// What has finished, cancel requests among it.
  operation_queue& finished() noexcept { return finished_; }
  /// What the daemon does not serve after all.
  operation_queue& returned() noexcept { return returned_; }

 private:
  struct record {
    operation* op = nullptr;  // null: free
    route by{};
    std::uint32_t generation = 0;
    bool waits = false;  // for memory
    bool cancelled = false;
    std::uint64_t length = 0;  // of the whole transfer
    std::uint64_t moved = 0;
    std::uint64_t piece = 0;
    std::uint64_t place = 0;
    std::size_t taken = 0;  // bytes of memory
  };
  struct cancelling {
    std::uint64_t tag;
    operation* request;
  };

  std::uint64_t tag_of(const record& which) const noexcept;
  record* find(std::uint64_t tag) noexcept;
  record* find(const operation& op) noexcept;
  bool take_memory(record& which) noexcept;
  void give_memory_back(record& which) noexcept;
  void next_piece(record& which) noexcept;
  bool store_piece(record& which) noexcept;
  void send(const record& which) noexcept;
  void send_cancel(record& target, operation& request) noexcept;
  void settle(record& which, std::int64_t result) noexcept;
  std::int64_t load_piece(record& which, std::int64_t count) noexcept;
  void finish(record& which, std::int64_t answer) noexcept;
  void free(record& which) noexcept;
  void serve_waiting() noexcept;
  static std::int64_t most_moved(const record& which) noexcept;
  bool take_answer(const completed_operation& came) noexcept;
  bool take_cancel_answer(const completed_operation& came) noexcept;
  void answer_cancel(operation& request, std::int64_t answer) noexcept;

  std::optional<std::uint64_t> length_of(const request& what) const noexcept;

  shared_memory& memory_;
  shared_files& files_;
  const std::size_t piece_most_;
  block_map blocks_;
  std::vector<record> records_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> waiting_;  // for memory; the first in front
  std::vector<cancelling> cancels_;
  std::vector<operation*> told_elsewhere_;  // cancels of many whose others have been told
  std::vector<iovec> parts_;                // of a vector, while it is read into
  std::uint64_t next_cancel_ = 0;
  std::vector<wire_operation> to_send_;
  operation_queue finished_;
  operation_queue returned_;
};

}  // namespace weir::detail::daemon
