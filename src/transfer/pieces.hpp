#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "weir/buffer.hpp"
#include "weir/io_context.hpp"
#include "weir/sender.hpp"

/// The memory that transfers pass bytes through. A thread has so much of it, however many transfers
/// there are: ten thousand that wait for their receivers have none, and as many that want to read
/// at once wait for each other instead of taking gigabytes.
namespace weir::detail {

class piece;
class piece_state;

/// A thread's pieces of memory: free ones, and who waits for one. They are never given to another
/// thread, so there is no lock.
class piece_store : public std::enable_shared_from_this<piece_store> {
 public:
  /// What passes through memory measured fastest by pieces of this size: see docs/transfers.md.
  static constexpr std::size_t piece_size = std::size_t{512} << 10;
  /// As many reads are in flight on a thread for transfers at most. 8 MiB.
  static constexpr std::size_t most = 16;

  static const std::shared_ptr<piece_store>& of_this_thread();

  /// One that nobody has to be waited for; nothing where there is none.
  std::optional<piece> try_take() noexcept;

  piece_store() { free_.reserve(most); }

 private:
  friend class piece;
  friend class piece_state;

  bool has_free() noexcept;
  piece lend() noexcept;
  bool serve(piece_state& one) noexcept;
  void give_back(buffer memory) noexcept;

  std::vector<buffer> free_;
  std::size_t lent_ = 0;
  operation_queue line_;  // piece_states, first come, first served
};

/// A piece of memory on loan: `piece_size` bytes, aligned to a page. What a former transfer left is
/// in it.
class piece {
 public:
  piece() noexcept = default;
  piece(std::shared_ptr<piece_store> from, buffer memory) noexcept
      : from_(std::move(from)), memory_(std::move(memory)) {}
  piece(const piece&) = delete;
  piece& operator=(const piece&) = delete;
  piece(piece&&) noexcept = default;
  piece& operator=(piece&& other) noexcept {
    if (this != &other) {
      give_back();
      from_ = std::move(other.from_);
      memory_ = std::move(other.memory_);
    }
    return *this;
  }
  ~piece() { give_back(); }

  std::span<std::byte> span() noexcept { return memory_.span(); }

 private:
  void give_back() noexcept {
    if (from_ != nullptr) std::exchange(from_, nullptr)->give_back(std::move(memory_));
  }

  std::shared_ptr<piece_store> from_;
  buffer memory_;
};

/// Somebody who waits for a piece: in the store's line first, then, with one, an operation (a nop)
/// that brings this to the context's loop.
class piece_state : public awaited_operation {
 public:
  explicit piece_state(io_context& on)
      : awaited_operation(&on, {}, nullptr), store_(piece_store::of_this_thread()) {}
  piece_state(const piece_state&) = delete;
  piece_state& operator=(const piece_state&) = delete;
  ~piece_state() { withdraw(); }

  bool try_at_once() noexcept { return store_->line_.empty() && store_->serve(*this); }
  void begin(continuation next) noexcept;
  operation* stop() noexcept;
  bool refuse(std::int32_t why) noexcept {
    outcome_ = why;
    return true;
  }
  void cancellation_means(std::int32_t why) noexcept {
    if (outcome_ == was_cancelled) outcome_ = why;
  }
  result<piece> take() noexcept;

 private:
  friend class piece_store;

  bool withdraw() noexcept { return std::exchange(waiting_, false) && store_->line_.remove(*this); }
  void go_on() noexcept { start(*context(), *this, nullptr); }

  std::shared_ptr<piece_store> store_;
  piece taken_;
  std::int32_t outcome_ = 0;  // the operation's own answer is that of the nop
  bool waiting_ = false;
};

/// A description like `io_sender`, of waiting for a piece on the context's thread; yields
/// `result<piece>`. ENOMEM.
class [[nodiscard("await it")]] piece_sender : public sender_interface<piece_sender> {
 public:
  using value_type = result<piece>;
  using state_type = piece_state;

  explicit piece_sender(io_context& on) noexcept : on_(&on) {}
  io_context* context() const noexcept { return on_; }
  state_type prepare() const { return state_type{*on_}; }

 private:
  io_context* on_;
};

}  // namespace weir::detail
