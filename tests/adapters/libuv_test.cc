#include "weir/adapters/libuv.hpp"

#include <uv.h>

#include <deque>
#include <optional>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

using adapters::libuv_attachment;

class libuv_loop final : public event_loop {
 public:
  libuv_loop() { EXPECT_EQ(uv_loop_init(&loop_), 0); }
  ~libuv_loop() override {
    for (watcher& each : watchers_) close(each.poll);
    for (timer& each : timers_) close(each.handle);
    attachment_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle was left open";
  }

  result<void> attach(io_context& context) override {
    attachment_.emplace(context);
    return attach_again();
  }
  result<void> attach_again() override { return attachment_->attach(&loop_); }
  void detach() override { attachment_->detach(); }
  void drop() override { attachment_.reset(); }

  void turn() override { uv_run(&loop_, UV_RUN_ONCE); }
  void on_readable(int fd, std::function<void()> call) override {
    watcher& added = watchers_.emplace_back();
    added.call = std::move(call);
    ASSERT_EQ(uv_poll_init(&loop_, &added.poll, fd), 0);
    added.poll.data = &added;
    uv_poll_start(&added.poll, UV_READABLE,
                  [](uv_poll_t* poll, int, int) { static_cast<watcher*>(poll->data)->call(); });
  }
  void every_millisecond(std::function<void()> call) override {
    timer& added = timers_.emplace_back();
    added.call = std::move(call);
    uv_timer_init(&loop_, &added.handle);
    added.handle.data = &added;
    uv_timer_start(
        &added.handle, [](uv_timer_t* self) { static_cast<timer*>(self->data)->call(); }, 1, 1);
  }

 private:
  struct watcher {
    uv_poll_t poll{};
    std::function<void()> call;
  };
  struct timer {
    uv_timer_t handle{};
    std::function<void()> call;
  };
  template <class Handle>
  static void close(Handle& handle) {
    uv_close(reinterpret_cast<uv_handle_t*>(&handle), nullptr);
  }

  uv_loop_t loop_{};
  std::deque<watcher> watchers_;
  std::deque<timer> timers_;
  std::optional<libuv_attachment> attachment_;
};

class libuv_attachments : public driver_test {
 protected:
  void SetUp() override {
    driver_test::SetUp();
    ASSERT_EQ(uv_loop_init(&loop_), 0);
  }
  void TearDown() override {
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle was left open";
  }
  io_context& context() { return *context_; }

  uv_loop_t loop_{};
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, libuv_attachments, ::testing::ValuesIn(driver_names),
                         name_of_driver);

TEST_P(libuv_attachments, say_why_they_could_not_be_attached) {
  libuv_attachment files(context());
  libuv_attachment twice(context());
  ASSERT_TRUE(files.attach(&loop_));
  uv_run(&loop_, UV_RUN_NOWAIT);  // libuv asks the kernel only in its loop
  EXPECT_EQ(error_of(twice.attach(&loop_)), std::errc::file_exists);
}

// So that a program without sockets, too, may simply run its loop.
TEST_P(libuv_attachments, keep_the_loop_running_until_they_are_detached) {
  libuv_attachment files(context());
  ASSERT_TRUE(files.attach(&loop_));
  int left = 100;
  recorded op({}, [&](recorded& self) { --left > 0 ? context().start(self) : files.detach(); });
  context().start(op);
  EXPECT_EQ(uv_run(&loop_, UV_RUN_DEFAULT), 0);
  EXPECT_EQ(left, 0);
}

TEST_P(libuv_attachments, that_were_never_attached_leave_no_trace) {
  libuv_attachment files(context());
  files.detach();
  EXPECT_EQ(uv_loop_alive(&loop_), 0);
}

}  // namespace

std::unique_ptr<event_loop> make_event_loop() { return std::make_unique<libuv_loop>(); }

}  // namespace weir::testing
