#include "weir/adapters/epoll.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <map>
#include <optional>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

using adapters::epoll_attachment;

/// A plain loop, as a server of 2005 has it.
class epoll_loop final : public event_loop {
 public:
  result<void> attach(io_context& context) override {
    attachment_.emplace(context);
    return attach_again();
  }
  result<void> attach_again() override {
    attached_ = true;
    return attachment_->attach(epoll_.get());
  }
  void detach() override {
    attached_ = false;
    attachment_->detach();
  }
  void drop() override {
    attached_ = false;
    attachment_.reset();
  }
  bool may_be_dropped_by_a_completion() const override { return false; }

  void turn() override {
    std::array<epoll_event, 8> events{};
    for (const epoll_event& event : std::span(events).first(wait(events))) {
      calls_.at(event.data.fd)();
    }
  }
  void on_readable(int fd, std::function<void()> call) override {
    calls_[fd] = std::move(call);
    epoll_event wanted{.events = EPOLLIN, .data = {.fd = fd}};
    ASSERT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted), 0);
  }
  void every_millisecond(std::function<void()> call) override {
    timer_ = descriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    constexpr timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
    const itimerspec often{.it_interval = millisecond, .it_value = millisecond};
    ASSERT_EQ(::timerfd_settime(timer_.get(), 0, &often, nullptr), 0);
    on_readable(timer_.get(), [this, call = std::move(call)] {
      std::uint64_t times = 0;
      if (::read(timer_.get(), &times, sizeof times) == sizeof times) call();
    });
  }

 private:
  // While nothing is attached, the wait is the loop's own, as it was before.
  std::size_t wait(std::span<epoll_event> into) {
    if (!attached_) {
      const int count = ::epoll_wait(epoll_.get(), into.data(), static_cast<int>(into.size()), -1);
      return static_cast<std::size_t>(std::max(count, 0));
    }
    const auto ready = attachment_->wait(into, -1);
    EXPECT_TRUE(ready.has_value());
    return ready.value_or(0);
  }

  descriptor epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  descriptor timer_;
  std::map<int, std::function<void()>> calls_;
  std::optional<epoll_attachment> attachment_;
  bool attached_ = false;
};

class epoll_attachments : public driver_test {
 protected:
  io_context& context() { return *context_; }

  descriptor epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, epoll_attachments, ::testing::ValuesIn(driver_names),
                         name_of_driver);

TEST_P(epoll_attachments, say_why_they_could_not_be_attached) {
  epoll_attachment files(context());
  EXPECT_EQ(error_of(files.attach(closed_descriptor())), std::errc::bad_file_descriptor);
  epoll_attachment twice(context());
  ASSERT_TRUE(files.attach(epoll_.get()));
  EXPECT_EQ(error_of(twice.attach(epoll_.get())), std::errc::file_exists);
}

TEST_P(epoll_attachments, wait_as_long_as_they_are_told_to) {
  epoll_attachment files(context());
  ASSERT_TRUE(files.attach(epoll_.get()));
  std::array<epoll_event, 4> events{};
  EXPECT_EQ(files.wait(events, 0), 0U);
  EXPECT_EQ(files.wait(events, 1), 0U);
}

// The loop then looks at what they have changed before it sleeps.
TEST_P(epoll_attachments, do_not_wait_once_completions_have_run) {
  epoll_attachment files(context());
  ASSERT_TRUE(files.attach(epoll_.get()));
  std::array<epoll_event, 4> events{};
  recorded op{request{}};
  context().start(op);
  while (op.completions == 0) ASSERT_EQ(files.wait(events, -1), 0U);
}

TEST_P(epoll_attachments, keep_their_own_event_to_themselves_whatever_its_mark) {
  epoll_attachment files(context());
  ASSERT_TRUE(files.attach(epoll_.get(), {.u64 = 7}));
  std::array<pipe_ends, 3> pipes{make_pipe(), make_pipe(), make_pipe()};
  for (std::uint64_t i = 0; i < pipes.size(); ++i) {
    epoll_event wanted{.events = EPOLLIN, .data = {.u64 = i}};
    ASSERT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pipes[i].read.get(), &wanted), 0);
  }
  recorded op{request{}};
  context().start(op);
  for (const pipe_ends& pipe : pipes) pipe.feed(1);
  std::array<epoll_event, 8> events{};
  while (op.completions == 0) {
    ASSERT_EQ(files.wait(events, -1), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_LT(events[i].data.u64, 3U);
  }
}

TEST_P(epoll_attachments, take_no_place_among_the_events_of_others_when_detached) {
  {
    epoll_attachment files(context());
    ASSERT_TRUE(files.attach(epoll_.get()));
  }
  recorded op{request{}};
  context().start(op);
  context().flush();
  epoll_event event{};
  EXPECT_EQ(::epoll_wait(epoll_.get(), &event, 1, 0), 0);
  context().run();
}

}  // namespace

std::unique_ptr<event_loop> make_event_loop() { return std::make_unique<epoll_loop>(); }

}  // namespace weir::testing
