#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <stop_token>
#include <utility>

#include "weir/io_context.hpp"

namespace weir {
namespace detail {

/// What the two guards share: a state, and an operation that brings the start to the context's
/// thread and later cancels. All members are for that thread, except where said otherwise.
template <class State>
class guarding_state {
 public:
  guarding_state(const guarding_state&) = delete;
  guarding_state& operator=(const guarding_state&) = delete;

  bool ready() const noexcept { return guarded_.ready(); }
  // What is done at once needs no guard.
  bool try_at_once() noexcept
    requires requires(State& guarded) { guarded.try_at_once(); }
  {
    return guarded_.try_at_once();
  }
  auto take() { return guarded_.take(); }
  operation* stop() noexcept { return guarded_.stop(); }
  bool refuse(std::int32_t why) noexcept { return guarded_.refuse(why); }
  void cancellation_means(std::int32_t why) noexcept { guarded_.cancellation_means(why); }

 protected:
  template <class Sender>
  guarding_state(Sender&& what, io_context* context)
      : guarded_(std::forward<Sender>(what).prepare()), context_(context) {}
  ~guarding_state() = default;

  State& guarded() noexcept { return guarded_; }
  io_context& context() noexcept { return *context_; }
  void continue_with(continuation next) noexcept { then_ = next; }
  void end() noexcept { then_(); }

  /// An operation whose completion is a member function of whoever holds it.
  class control : public operation {
   public:
    control() noexcept
        : operation({}, [](operation& op) noexcept { static_cast<control&>(op).next_(); }) {}
    void start(io_context& context, const request& what, continuation next) noexcept {
      args = what;
      next_ = next;
      context.start(*this);
    }

   private:
    continuation next_;
  };

 private:
  State guarded_;
  io_context* context_;
  continuation then_;
};

template <class Sender>
class stop_state : public guarding_state<typename Sender::state_type> {
  using base = guarding_state<typename Sender::state_type>;

 public:
  stop_state(Sender&& what, io_context* context, std::stop_token token)
      : base(std::move(what), context), token_(std::move(token)) {}

  bool try_at_once() noexcept
    requires requires(base& self) { self.try_at_once(); }
  {
    return !token_.stop_requested() && base::try_at_once();
  }
  // Starting from the context's own thread, nothing completes before everything is set up.
  void begin(continuation next) noexcept {
    this->continue_with(next);
    if (this->context().on_own_thread()) return arm();
    control_.start(this->context(), {}, continuation::calling<&stop_state::arm>(*this));
  }

 private:
  struct on_stop {
    stop_state* self;
    void operator()() const noexcept { self->stop_requested(); }
  };

  void arm() noexcept {
    if (token_.stop_requested() && this->guarded().refuse(was_cancelled)) {
      return control_.start(this->context(), {}, continuation::calling<&stop_state::end>(*this));
    }
    this->guarded().begin(continuation::calling<&stop_state::over>(*this));
    callback_.emplace(std::move(token_), on_stop{this});
  }

  // On any thread. Cancelling is for the context's.
  void stop_requested() noexcept {
    control_.start(this->context(), {}, continuation::calling<&stop_state::cancel>(*this));
  }

  void cancel() noexcept {
    operation* target = over_ ? nullptr : this->guarded().stop();
    if (target == nullptr) return settle();
    control_.start(this->context(), cancel_request(*target),
                   continuation::calling<&stop_state::settle>(*this));
  }

  // If another thread is in the midst of `stop_requested`, the reset waits until it is through.
  void over() noexcept {
    callback_.reset();
    over_ = true;
    settle();
  }

  void settle() noexcept {
    if (over_ && !control_.in_flight()) end();
  }
  void end() noexcept { base::end(); }

  std::stop_token token_;
  typename base::control control_;
  std::optional<std::stop_callback<on_stop>> callback_;
  bool over_ = false;
};

template <class Sender>
class deadline_state : public guarding_state<typename Sender::state_type> {
  using base = guarding_state<typename Sender::state_type>;

 public:
  deadline_state(Sender&& what, io_context* context, std::chrono::nanoseconds duration)
      : base(std::move(what), context), duration_(duration) {}

  void begin(continuation next) noexcept {
    this->continue_with(next);
    due_ = timeout_request(this->context(), duration_);
    if (this->context().on_own_thread()) return arm();
    control_.start(this->context(), {}, continuation::calling<&deadline_state::arm>(*this));
  }

 private:
  void arm() noexcept {
    timer_.start(this->context(), due_, continuation::calling<&deadline_state::passed>(*this));
    this->guarded().begin(continuation::calling<&deadline_state::over>(*this));
  }

  void passed() noexcept {
    if (over_ || timer_.answer() != 0) return settle();
    passed_ = true;
    operation* target = this->guarded().stop();
    if (target == nullptr) return;
    control_.start(this->context(), cancel_request(*target),
                   continuation::calling<&deadline_state::settle>(*this));
  }

  void over() noexcept {
    over_ = true;
    if (!timer_.in_flight()) return settle();
    control_.start(this->context(), cancel_request(timer_),
                   continuation::calling<&deadline_state::settle>(*this));
  }

  void settle() noexcept {
    if (!over_ || timer_.in_flight() || control_.in_flight()) return;
    if (passed_) this->guarded().cancellation_means(timed_out);
    base::end();
  }

  std::chrono::nanoseconds duration_;
  request due_;
  typename base::control timer_;
  typename base::control control_;
  bool over_ = false;
  bool passed_ = false;
};

/// Both guards' description: a sender, and what ends it early.
template <class Sender, class State, class Limit>
class [[nodiscard("a sender does nothing until it is awaited or started")]] guarded_sender
    : public sender_interface<guarded_sender<Sender, State, Limit>> {
 public:
  using value_type = typename Sender::value_type;
  using state_type = State;

  guarded_sender(Sender what, Limit limit) noexcept
      : what_(std::move(what)), limit_(std::move(limit)) {}
  io_context* context() const noexcept { return what_.context(); }
  state_type prepare() && {
    io_context* context = what_.context();
    return State{std::move(what_), context, std::move(limit_)};
  }

 private:
  Sender what_;
  Limit limit_;
};

}  // namespace detail

/// The sender, cancelled when `token` is told to stop: it then yields
/// `std::errc::operation_canceled`. What the kernel did wins: an operation that was done all the
/// same yields its result, and a whole transfer says how much it had moved. It ends when both the
/// operation and the cancel request have, so its memory is free again. With a token that has been
/// stopped already nothing is started (but a close is: it cannot be given up).
///
/// `request_stop` may be called on any thread, also while the operation completes; it must not be
/// called after the context has gone.
template <sender Sender>
auto with_stop(Sender what, std::stop_token token) {
  return detail::guarded_sender<Sender, detail::stop_state<Sender>, std::stop_token>{
      std::move(what), std::move(token)};
}

/// The sender, cancelled `duration` after its start: it then yields `std::errc::timed_out`. What
/// the kernel did wins, as above. Composes: with_deadline(with_stop(f.read_at(…), token), 5s).
template <sender Sender, class Rep, class Period>
auto with_deadline(Sender what, std::chrono::duration<Rep, Period> duration) {
  return detail::guarded_sender<Sender, detail::deadline_state<Sender>, std::chrono::nanoseconds>{
      std::move(what), std::chrono::duration_cast<std::chrono::nanoseconds>(duration)};
}

}  // namespace weir
