#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include "weir/io_context.hpp"

namespace weir::detail::daemon {

class turns;

/// A client's place in the round: those of its transfers that could move bytes now, in order.
class seat {
 public:
  seat() noexcept = default;
  seat(const seat&) = delete;
  seat& operator=(const seat&) = delete;
  ~seat() = default;

 private:
  friend class turns;
  struct ticket {
    std::coroutine_handle<> waiter;
    ticket* next = nullptr;
  };

  ticket* first_ = nullptr;
  ticket* last_ = nullptr;
  seat* next_ = nullptr;
  std::int64_t allowance_ = 0;
  bool seated_ = false;
};

/// Who may move bytes: clients in turn, each as many bytes as the others, however many transfers it
/// has; of one client, its transfers in turn (deficit round robin). Between two turns the context
/// has its own, so that new requests are heard.
class turns {
 public:
  turns(io_context& context, std::size_t turn_bytes) noexcept
      : go_on_(*this), context_(context), turn_bytes_(static_cast<std::int64_t>(turn_bytes)) {}
  turns(const turns&) = delete;
  turns& operator=(const turns&) = delete;
  ~turns() = default;

  class awaiter {
   public:
    awaiter(turns& all, seat& place) noexcept : all_(all), place_(place) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) noexcept {
      ticket_.waiter = waiter;
      all_.enqueue(place_, ticket_);
    }
    void await_resume() const noexcept {}

   private:
    turns& all_;
    seat& place_;
    seat::ticket ticket_;
  };

  /// `co_await` it before each step.
  awaiter turn_of(seat& place) noexcept { return {*this, place}; }
  /// What the step has moved.
  void spend(seat& place, std::size_t bytes) noexcept;

 private:
  class step : public operation {
   public:
    explicit step(turns& owner) noexcept : operation({}, &run), owner_(owner) {}

   private:
    static void run(operation& op) noexcept { static_cast<step&>(op).owner_.run(); }
    turns& owner_;
  };

  void enqueue(seat& place, seat::ticket& one) noexcept;
  void sit_down(seat& place) noexcept;
  void run() noexcept;
  void serve(seat& place) noexcept;

  step go_on_;
  io_context& context_;
  std::int64_t turn_bytes_;
  std::int64_t left_ = 0;
  seat* first_ = nullptr;
  seat* last_ = nullptr;
};

}  // namespace weir::detail::daemon
