#include "weir/adapters/glib.hpp"

#include <glib.h>

#include <deque>
#include <memory>
#include <optional>

#include <glib-unix.h>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

using adapters::glib_attachment;

struct free_loop {
  void operator()(GMainContext* loop) const { g_main_context_unref(loop); }
};
using owned_loop = std::unique_ptr<GMainContext, free_loop>;

/// One of GLib's sources, and what it calls.
class calling {
 public:
  calling(GMainContext* loop, GSource* source, GSourceFunc run, std::function<void()> call)
      : call_(std::move(call)), source_(source) {
    g_source_set_callback(source, run, this, nullptr);
    g_source_attach(source, loop);
  }
  calling(const calling&) = delete;
  calling& operator=(const calling&) = delete;
  ~calling() {
    g_source_destroy(source_);
    g_source_unref(source_);
  }

  static gboolean time_has_come(gpointer self) {
    static_cast<calling*>(self)->call_();
    return G_SOURCE_CONTINUE;
  }
  static gboolean is_readable(gint, GIOCondition, gpointer self) { return time_has_come(self); }

 private:
  std::function<void()> call_;
  GSource* source_;
};

class glib_loop final : public event_loop {
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

  void turn() override { g_main_context_iteration(loop_.get(), TRUE); }
  void on_readable(int fd, std::function<void()> call) override {
    // Each kind of source has its own kind of function, which GLib wants disguised.
    const auto any = reinterpret_cast<void (*)()>(&calling::is_readable);
    sources_.emplace_back(loop_.get(), g_unix_fd_source_new(fd, G_IO_IN),
                          reinterpret_cast<GSourceFunc>(any), std::move(call));
  }
  void every_millisecond(std::function<void()> call) override {
    sources_.emplace_back(loop_.get(), g_timeout_source_new(1), &calling::time_has_come,
                          std::move(call));
  }

 private:
  owned_loop loop_{g_main_context_new()};
  std::deque<calling> sources_;
  std::optional<glib_attachment> attachment_;
};

class glib_attachments : public driver_test {
 protected:
  io_context& context() { return *context_; }

  owned_loop loop_{g_main_context_new()};
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, glib_attachments, ::testing::ValuesIn(driver_names),
                         name_of_driver);

// GLib's own rule, for every source that does not ask for the contrary.
TEST_P(glib_attachments, take_no_part_in_a_loop_that_a_completion_runs) {
  glib_attachment files(context());
  files.attach(loop_.get());
  recorded second{request{}};
  recorded first({}, [&](recorded&) {
    context().start(second);
    EXPECT_FALSE(g_main_context_iteration(loop_.get(), FALSE));
    EXPECT_EQ(second.completions, 0);
  });
  context().start(first);
  while (second.completions == 0) g_main_context_iteration(loop_.get(), TRUE);
  EXPECT_EQ(first.completions, 1);
}

TEST_P(glib_attachments, serve_the_default_loop_if_none_is_named) {
  glib_attachment files(context());
  files.attach(nullptr);
  recorded op{request{}};
  context().start(op);
  while (op.completions == 0) g_main_context_iteration(nullptr, TRUE);
}

TEST_P(glib_attachments, move_to_another_loop) {
  const owned_loop other(g_main_context_new());
  glib_attachment files(context());
  files.attach(loop_.get());
  files.attach(other.get());
  recorded op{request{}};
  context().start(op);
  EXPECT_FALSE(g_main_context_iteration(loop_.get(), FALSE));
  EXPECT_EQ(op.completions, 0);
  while (op.completions == 0) g_main_context_iteration(other.get(), TRUE);
}

}  // namespace

std::unique_ptr<event_loop> make_event_loop() { return std::make_unique<glib_loop>(); }

}  // namespace weir::testing
