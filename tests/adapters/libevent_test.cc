#include "weir/adapters/libevent.hpp"

#include <deque>
#include <memory>
#include <optional>

#include <event2/event.h>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

using adapters::libevent_attachment;

struct free_base {
  void operator()(event_base* base) const { event_base_free(base); }
};
using owned_base = std::unique_ptr<event_base, free_base>;

/// One of libevent's events, and what it calls.
struct calling {
  struct free_event {
    void operator()(event* what) const { event_free(what); }
  };

  calling(event_base* base, int fd, short flags, const timeval* after, std::function<void()> what)
      : call(std::move(what)), watch(event_new(base, fd, flags, &run, this)) {
    EXPECT_EQ(event_add(watch.get(), after), 0);
  }
  static void run(evutil_socket_t, short, void* self) { static_cast<calling*>(self)->call(); }

  std::function<void()> call;
  std::unique_ptr<event, free_event> watch;
};

class libevent_loop final : public event_loop {
 public:
  result<void> attach(io_context& context) override {
    attachment_.emplace(context);
    return attach_again();
  }
  result<void> attach_again() override { return attachment_->attach(base_.get()); }
  void detach() override { attachment_->detach(); }
  void drop() override { attachment_.reset(); }

  void turn() override { event_base_loop(base_.get(), EVLOOP_ONCE); }
  void on_readable(int fd, std::function<void()> call) override {
    events_.emplace_back(base_.get(), fd, short{EV_READ | EV_PERSIST}, nullptr, std::move(call));
  }
  void every_millisecond(std::function<void()> call) override {
    constexpr timeval millisecond{.tv_sec = 0, .tv_usec = 1'000};
    events_.emplace_back(base_.get(), -1, short{EV_PERSIST}, &millisecond, std::move(call));
  }

 private:
  owned_base base_{event_base_new()};
  std::deque<calling> events_;
  std::optional<libevent_attachment> attachment_;
};

class libevent_attachments : public driver_test {
 protected:
  io_context& context() { return *context_; }

  owned_base base_{event_base_new()};
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, libevent_attachments, ::testing::ValuesIn(driver_names),
                         name_of_driver);

// So that a program without sockets, too, may simply run its loop.
TEST_P(libevent_attachments, keep_the_loop_running_until_they_are_detached) {
  libevent_attachment files(context());
  ASSERT_TRUE(files.attach(base_.get()));
  int left = 100;
  recorded op({}, [&](recorded& self) { --left > 0 ? context().start(self) : files.detach(); });
  context().start(op);
  EXPECT_EQ(event_base_dispatch(base_.get()), 1);  // there was nothing left to wait for
  EXPECT_EQ(left, 0);
}

TEST_P(libevent_attachments, move_to_another_loop) {
  const owned_base other(event_base_new());
  libevent_attachment files(context());
  ASSERT_TRUE(files.attach(base_.get()));
  ASSERT_TRUE(files.attach(other.get()));
  recorded op({}, [&](recorded&) { files.detach(); });
  context().start(op);
  EXPECT_EQ(event_base_dispatch(base_.get()), 1);
  EXPECT_EQ(op.completions, 0);
  event_base_dispatch(other.get());
  EXPECT_EQ(op.completions, 1);
}

}  // namespace

std::unique_ptr<event_loop> make_event_loop() { return std::make_unique<libevent_loop>(); }

}  // namespace weir::testing
