#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "support/support.hpp"

namespace weir::testing {

/// Somebody else's event loop with weir's attachment for it: what the tests in every_loop.cc need
/// of each. One thread's, as the loop is.
class event_loop {
 public:
  event_loop();
  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;
  virtual ~event_loop() = default;

  /// Makes an attachment, and attaches it.
  virtual result<void> attach(io_context& context) = 0;
  /// `attach` of the attachment that there is.
  virtual result<void> attach_again() = 0;
  virtual void detach() = 0;
  /// Destroys the attachment.
  virtual void drop() = 0;
  /// Whether a completion may do that.
  virtual bool may_be_dropped_by_a_completion() const { return true; }

  /// Waits once, and runs the callbacks of what has come.
  virtual void turn() = 0;
  /// From now on, while `fd` is readable, in each turn.
  virtual void on_readable(int fd, std::function<void()> call) = 0;
  /// By the loop's own timer.
  virtual void every_millisecond(std::function<void()> call) = 0;

  /// Once, from a callback of the loop.
  void soon(std::function<void()> call);
  void run_until(const std::function<bool()>& done);

 private:
  void run_called();

  pipe_ends calls_;
  bool watched_ = false;
  std::deque<std::function<void()>> called_;
};

/// Each test program has its own.
std::unique_ptr<event_loop> make_event_loop();

}  // namespace weir::testing
