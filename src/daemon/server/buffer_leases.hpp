#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <span>
#include <utility>

#include "weir/buffer.hpp"
#include "weir/io_context.hpp"

namespace weir::detail::daemon {

/// The daemon's memory for bytes that wait for a disk: a few buffers, which are lent to whoever has
/// bytes to put in one right now, first come, first served. Those who wait for a client hold none.
class buffer_leases {
 public:
  static constexpr std::size_t size = std::size_t{256} << 10;

  /// A buffer for as long as this lives.
  class lease {
   public:
    lease(buffer_leases& from, std::size_t which) noexcept : from_(&from), which_(which) {}
    lease(lease&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)), which_(other.which_) {}
    lease(const lease&) = delete;
    lease& operator=(const lease&) = delete;
    lease& operator=(lease&&) = delete;
    ~lease() {
      if (from_ != nullptr) from_->give_back(which_);
    }
    std::span<std::byte> memory() const noexcept { return from_->memory_of(which_); }

   private:
    buffer_leases* from_;
    std::size_t which_;
  };

  /// Whoever has to wait goes on from the context's loop, not from within whoever gives a buffer
  /// back: of a thousand who all find that they need none, none is within another.
  class awaiter : public operation {
   public:
    explicit awaiter(buffer_leases& from) noexcept : operation({}, &resume), from_(from) {}
    bool await_ready() noexcept { return from_.take(which_); }
    void await_suspend(std::coroutine_handle<> waiter) noexcept {
      waiter_ = waiter;
      from_.queue(*this);
    }
    lease await_resume() const noexcept { return {from_, which_}; }

   private:
    friend class buffer_leases;
    static void resume(operation& op) noexcept { static_cast<awaiter&>(op).waiter_.resume(); }

    buffer_leases& from_;
    std::coroutine_handle<> waiter_;
    std::size_t which_ = 0;
  };

  explicit buffer_leases(io_context& context);  ///< throws std::bad_alloc
  buffer_leases(const buffer_leases&) = delete;
  buffer_leases& operator=(const buffer_leases&) = delete;
  ~buffer_leases() = default;

  awaiter borrow() noexcept { return awaiter{*this}; }

 private:
  static constexpr std::size_t count = 16;

  std::span<std::byte> memory_of(std::size_t which) noexcept {
    return {memory_.data() + which * size, size};
  }
  bool take(std::size_t& which) noexcept;
  void queue(awaiter& waiting) noexcept;
  void give_back(std::size_t which) noexcept;

  buffer memory_;
  std::array<std::size_t, count> free_{};
  std::size_t free_count_ = count;
  operation_queue line_;
  io_context& context_;
};

}  // namespace weir::detail::daemon
