#include "weir/adapters/libev.hpp"

#include <deque>
#include <memory>
#include <optional>

#include <ev++.h>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

using adapters::libev_attachment;

struct free_loop {
  void operator()(struct ev_loop* loop) const { ev_loop_destroy(loop); }
};
using owned_loop = std::unique_ptr<struct ev_loop, free_loop>;

/// One of libev's watchers, and what it calls.
template <class Watcher>
struct calling : Watcher {
  calling(struct ev_loop* in, std::function<void()> what) : Watcher(in), call(std::move(what)) {
    this->template set<calling, &calling::run>(this);
  }
  void run(Watcher&, int) { call(); }

  std::function<void()> call;
};

class libev_loop final : public event_loop {
 public:
  result<void> attach(io_context& context) override {
    attachment_.emplace(context);
    return attach_again();
  }
  result<void> attach_again() override {
    attachment_->attach(loop_.get());
    return {};
  }
  void detach() override { attachment_->detach(); }
  void drop() override { attachment_.reset(); }

  void turn() override { ev_run(loop_.get(), EVRUN_ONCE); }
  void on_readable(int fd, std::function<void()> call) override {
    watchers_.emplace_back(loop_.get(), std::move(call)).start(fd, ev::READ);
  }
  void every_millisecond(std::function<void()> call) override {
    timers_.emplace_back(loop_.get(), std::move(call)).start(0.001, 0.001);
  }

 private:
  owned_loop loop_{ev_loop_new(EVFLAG_AUTO)};
  std::deque<calling<ev::io>> watchers_;
  std::deque<calling<ev::timer>> timers_;
  std::optional<libev_attachment> attachment_;
};

class libev_attachments : public driver_test {
 protected:
  io_context& context() { return *context_; }

  owned_loop loop_{ev_loop_new(EVFLAG_AUTO)};
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, libev_attachments, ::testing::ValuesIn(driver_names),
                         name_of_driver);

// So that a program without sockets, too, may simply run its loop.
TEST_P(libev_attachments, keep_the_loop_running_until_they_are_detached) {
  libev_attachment files(context());
  files.attach(loop_.get());
  int left = 100;
  recorded op({}, [&](recorded& self) { --left > 0 ? context().start(self) : files.detach(); });
  context().start(op);
  ev_run(loop_.get(), 0);
  EXPECT_EQ(left, 0);
}

TEST_P(libev_attachments, move_to_another_loop) {
  const owned_loop other(ev_loop_new(EVFLAG_AUTO));
  libev_attachment files(context());
  files.attach(loop_.get());
  files.attach(other.get());
  recorded op({}, [&](recorded&) { files.detach(); });
  context().start(op);
  ev_run(loop_.get(), 0);  // has nothing left to wait for
  EXPECT_EQ(op.completions, 0);
  ev_run(other.get(), 0);
  EXPECT_EQ(op.completions, 1);
}

}  // namespace

std::unique_ptr<event_loop> make_event_loop() { return std::make_unique<libev_loop>(); }

}  // namespace weir::testing
