#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "daemon/descriptor.hpp"
#include "daemon/protocol.hpp"
#include "weir/io_context.hpp"

namespace weir::detail::daemon {

/// The operations of one connection (`attach`, `submit`): a client's, on descriptors that it has
/// passed, with buffers in memory that it shares. What a descriptor permits, its client may do: the
/// daemon opens nothing here.
///
/// That memory is the client's, which may change it at any time, or make it smaller. Only the
/// kernel touches it, for which a page that is not there is EFAULT.
///
/// On the context's thread.
class operations_session {
 public:
  /// The connection is somebody else's, and stays open until `end` is over.
  operations_session(io_context& context, int connection, bool allow_write) noexcept;
  operations_session(const operations_session&) = delete;
  operations_session& operator=(const operations_session&) = delete;
  ~operations_session();

  /// Makes ready for what `asked` says. 0, or the errno, negated, for which there will be no
  /// operations: EINVAL for what is no shared memory (memfd_create(2)) of that size.
  int attach(const attach_request& asked, descriptor memory);
  bool attached() const noexcept { return memory_ != nullptr; }

  /// Takes descriptors for slots, then begins the operations. False for a client that has not
  /// attached.
  bool submit(const checked_frame& asked, std::span<descriptor> files);

  /// Ends what is in flight; `over` is called, from the context's loop, when nothing is, perhaps at
  /// once. Then this may be destroyed.
  void end(std::move_only_function<void()> over);

  std::size_t in_flight() const noexcept { return records_.size() - free_.size(); }

 private:
  using file = std::shared_ptr<const descriptor>;

  class record : public operation {
   public:
    explicit record(operations_session& owner) noexcept
        : operation({}, &finished), cancel_(*this), owner_(owner) {}
    std::uint64_t tag = 0;
    file on;
    file also_on;  // of copy_file_range
    bool used = false;

    void cancel(std::uint64_t asked_with) noexcept;

   private:
    class cancelling : public operation {
     public:
      explicit cancelling(record& target) noexcept : operation({}, &told), target_(target) {}
      std::vector<std::uint64_t> tags;

     private:
      static void told(operation& op) noexcept;
      record& target_;
      friend class record;
    };
    static void finished(operation& op) noexcept;

    cancelling cancel_;
    operations_session& owner_;
    friend class operations_session;
  };

  class watch : public operation {
   public:
    watch(operations_session& owner, completion when_done) noexcept
        : operation({}, when_done), owner_(owner) {}
    operations_session& owner() const noexcept { return owner_; }

   private:
    operations_session& owner_;
  };

  int map(int memory, std::uint64_t size) noexcept;
  void place(std::uint32_t slot, descriptor given);
  void begin(const wire_operation& asked);
  int prepare(record& into, const wire_operation& asked) const noexcept;
  bool within_memory(std::uint64_t place, std::uint64_t length) const noexcept;
  void cancel(const wire_operation& asked) noexcept;
  void free(record& which) noexcept;
  record*& last_with(std::uint64_t tag) noexcept { return by_tag_[tag % by_tag_.size()]; }
  void answer(std::uint64_t tag, std::int64_t result);
  void hang_up() noexcept;
  void answer_soon() noexcept;
  void send_answers() noexcept;
  void wait_for_room() noexcept;
  void check_over() noexcept;

  io_context& context_;
  const int connection_;
  const bool allow_write_;
  std::byte* memory_ = nullptr;
  std::size_t memory_size_ = 0;
  std::vector<file> slots_;
  std::deque<record> records_;  // an operation stays where it is
  std::vector<record*> free_;
  std::vector<record*> by_tag_;               // the last begun, by its tag modulo the queue depth
  std::vector<completed_operation> answers_;  // not yet sent
  watch turn_;                                // the next one: then answers are sent
  watch room_;                                // in the connection
  watch give_up_room_;
  bool in_submit_ = false;
  bool cut_ = false;  // nobody hears answers any more
  std::move_only_function<void()> over_;
};

}  // namespace weir::detail::daemon
