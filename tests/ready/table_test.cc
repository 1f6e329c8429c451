// The table of ready files: handles and their bound, events, ends.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "ready/ready_support.hpp"

namespace weir::testing {
namespace {

class table_of_ready_files : public ready_test {};
INSTANTIATE_TEST_SUITE_P(drivers, table_of_ready_files,
                         ::testing::ValuesIn(driver_names_and_wrapped), name_of_driver);

// Invariant 14; E7, E-D9.
TEST_P(table_of_ready_files, has_as_many_handles_as_it_was_given) {
  make_patterned_file(directory_ / "file", 10);
  const auto files = make({.files = 5});
  event_log log(*files);
  std::set<int> handles;
  for (int i = 0; i < 5; ++i) handles.insert(opened(*files, log, directory_ / "file"));
  EXPECT_EQ(handles, (std::set{0, 1, 2, 3, 4}));
  EXPECT_TRUE(says(files->open(directory_ / "file"), EMFILE));
  // Free when its closed event has been taken, and not before.
  EXPECT_TRUE(files->close(2));
  EXPECT_TRUE(eventually([&] { return files->status(2).value() == ready_status::closed; }));
  EXPECT_TRUE(says(files->open(directory_ / "file"), EMFILE));
  EXPECT_EQ(log.wait(2, ready::closed), std::error_code{});
  EXPECT_TRUE(says(files->status(2), EBADF));
  EXPECT_TRUE(files->close_and_wait(4));
  EXPECT_TRUE(files->close_and_wait(0));
  // The one that has been free the longest comes first.
  EXPECT_EQ(opened(*files, log, directory_ / "file"), 2);
  EXPECT_EQ(opened(*files, log, directory_ / "file"), 4);
  EXPECT_EQ(opened(*files, log, directory_ / "file"), 0);
  EXPECT_TRUE(says(files->open(directory_ / "file"), EMFILE));
}

TEST_P(table_of_ready_files, tells_why_a_file_was_not_opened) {
  make_patterned_file(directory_ / "file", 10);
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  const auto files = make({.files = 10});
  event_log log(*files);
  const auto error_of_opening = [&](const std::string& path, const open_options& options = {}) {
    const int handle = files->open(path, options).value_or(-1);
    const auto told = log.wait(handle, ready::opened);
    const auto asked = files->status(handle);
    EXPECT_TRUE(!asked && asked.error() == told) << path;
    std::vector<std::byte> memory(10);
    const auto read = files->try_read(handle, memory);
    EXPECT_TRUE(!read && read.error() == told) << path;
    EXPECT_TRUE(files->close(handle)) << "E-D14: it has a handle until it is closed";
    EXPECT_EQ(log.wait(handle, ready::closed), std::error_code{});
    EXPECT_TRUE(says(files->status(handle), EBADF));
    return told;
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(error_of_opening(directory_ / "none"), errno_of(ENOENT));
  EXPECT_EQ(error_of_opening(directory_.path()), errno_of(EISDIR));
  EXPECT_EQ(error_of_opening(directory_ / "pipe"), errno_of(ESPIPE)) << "and nobody waits for it";
  EXPECT_EQ(error_of_opening("/dev/null"), errno_of(ESPIPE));
  EXPECT_EQ(error_of_opening(directory_ / "file/file"), errno_of(ENOTDIR));
  auto exclusive = open_options{.write = true, .create = true, .exclusive = true};
  EXPECT_EQ(error_of_opening(directory_ / "file", exclusive), errno_of(EEXIST));
  EXPECT_TRUE(says(files->open(directory_ / "file", {.read = false}), EINVAL));
  EXPECT_TRUE(says(files->open(std::string_view("a\0b", 3)), EINVAL));
  EXPECT_TRUE(says(files->open("file", {.directory = closed_descriptor()}), EBADF));
}

// E-D15
TEST_P(table_of_ready_files, resolves_a_path_from_where_the_program_is_when_it_opens) {
  make_patterned_file(directory_ / "file", 10);
  gate opens;
  opens.close_for({opcode::openat, opcode::openat2});
  const auto files = make_behind(opens);
  event_log log(*files);
  const descriptor before = open_file(".", O_PATH | O_DIRECTORY);
  ASSERT_EQ(::chdir(directory_.path().c_str()), 0);
  const auto relative = files->open("file");
  const auto beneath = files->open("file", {.resolve = resolve::beneath});
  ASSERT_EQ(::fchdir(before.get()), 0);
  descriptor there = open_file(directory_.path(), O_PATH | O_DIRECTORY);
  const auto named = files->open("file", {.directory = there.get()});
  there.reset();
  opens.open();
  for (const auto& handle : {relative, beneath, named}) {
    EXPECT_EQ(log.wait(handle.value(), ready::opened), std::error_code{});
  }
}

TEST_P(table_of_ready_files, shows_at_its_descriptor_that_there_are_events) {
  make_patterned_file(directory_ / "file", 10);
  const auto files = make();
  EXPECT_FALSE(readable(files->fd(), 0));
  EXPECT_EQ(files->next(), std::nullopt);
  const auto first = files->open(directory_ / "file");
  const auto second = files->open(directory_ / "file");
  for (const int handle : {*first, *second}) {
    EXPECT_TRUE(readable(files->fd(), 10'000));
    const auto event = files->next();
    ASSERT_TRUE(event) << "readable, and nothing there";
    EXPECT_EQ(event->what, ready::opened);
    EXPECT_TRUE(event->handle == *first || event->handle == *second) << handle;
  }
  EXPECT_FALSE(readable(files->fd(), 0));
}

TEST_P(table_of_ready_files, calls_back) {
  make_patterned_file(directory_ / "file", 10);
  struct heard {
    std::mutex mutex;
    std::vector<ready_event> events;
    std::size_t count() {
      const std::lock_guard lock(mutex);
      return events.size();
    }
  } all;
  const auto tell = [](void* user, const ready_event& event) noexcept {
    auto& to = *static_cast<heard*>(user);
    const std::lock_guard lock(to.mutex);
    to.events.push_back(event);
  };
  const auto files = make();
  const int handle = files->open(directory_ / "file").value();
  EXPECT_TRUE(readable(files->fd(), 10'000));
  files->on_event(tell, &all);
  EXPECT_TRUE(eventually([&] { return all.count() == 1; })) << "what was there before";
  EXPECT_FALSE(readable(files->fd(), 0));
  EXPECT_TRUE(files->sync(handle));
  EXPECT_TRUE(eventually([&] { return all.count() == 2; }));
  files->on_event(nullptr, nullptr);
  EXPECT_TRUE(files->close(handle));
  EXPECT_TRUE(readable(files->fd(), 10'000));
  EXPECT_EQ(files->next().value_or(ready_event{}).what, ready::closed);
  ASSERT_EQ(all.count(), 2U);
  EXPECT_EQ(all.events[0].what, ready::opened);
  EXPECT_EQ(all.events[1].what, ready::synced);
}

TEST_P(table_of_ready_files, may_be_used_by_its_callback_but_not_waited_for) {
  make_patterned_file(directory_ / "file", 1000);
  struct server {
    ready_files* files;
    std::atomic<int> closed{0};
    std::atomic<int> refused{0};
  } all;
  const auto files = make();
  all.files = files.get();
  files->on_event(
      [](void* user, const ready_event& event) noexcept {
        auto& in = *static_cast<server*>(user);
        if (event.what == ready::closed) ++in.closed;
        if (event.what != ready::opened) return;
        if (says(in.files->close_and_wait(event.handle), EDEADLK)) ++in.refused;
        (void)in.files->close(event.handle);
      },
      &all);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(files->open(directory_ / "file"));
  EXPECT_TRUE(eventually([&] { return all.closed == 20; }));
  EXPECT_EQ(all.refused, 20);
  files->on_event(nullptr, nullptr);
}

TEST_P(table_of_ready_files, closes_what_is_being_opened) {
  make_patterned_file(directory_ / "file", 10);
  const std::size_t before = count_descriptors();
  {
    gate opens;
    opens.close_for({opcode::openat});
    const auto files = make_behind(opens);
    event_log log(*files);
    const int handle = files->open(directory_ / "file").value();
    EXPECT_TRUE(files->close(handle));
    EXPECT_TRUE(says(files->close(handle), EBADF));
    EXPECT_EQ(files->status(handle).value(), ready_status::closing);
    opens.open();
    EXPECT_EQ(log.wait(handle, ready::closed), std::error_code{});
    EXPECT_EQ(log.count(handle, ready::opened), 0U);
  }
  EXPECT_EQ(count_descriptors(), before);
}

TEST_P(table_of_ready_files, closes_while_something_is_read) {
  const descriptor file = make_patterned_file(directory_ / "file", 100'000);
  gate reads;
  const auto files = make_behind(reads);
  event_log log(*files);
  const int handle = opened(*files, log, directory_ / "file");
  (void)drop_from_cache(file);
  reads.close_for({opcode::read});
  std::vector<std::byte> memory(10);
  const bool waits = says(files->try_read(handle, memory), EAGAIN);
  EXPECT_TRUE(files->close(handle));
  EXPECT_TRUE(says(files->try_read(handle, memory), EBADF));
  if (waits) {
    EXPECT_EQ(log.count(handle, ready::closed), 0U) << "its memory is in use";
  }
  reads.open();
  EXPECT_EQ(log.wait(handle, ready::closed), std::error_code{});
  EXPECT_EQ(log.count(handle, ready::readable), 0U);
}

// Invariants 21 and 29.
TEST_P(table_of_ready_files, loses_nothing_and_leaves_nothing_when_it_ends) {
  const std::size_t threads = count_threads();
  const std::size_t descriptors = count_descriptors();
  for (int round = 0; round < 3; ++round) {
    auto files = make();
    for (int i = 0; i < 10; ++i) {
      const auto path = directory_ / std::to_string(i);
      auto file = ready_file::open(*files, path, for_writing);
      ASSERT_TRUE(file);
      while (says(file->try_write(patterned(7000, 0, static_cast<unsigned>(round))), EAGAIN)) {
        ASSERT_TRUE(readable(files->fd(), 10'000));
        while (files->next()) {
        }
      }
      if (i % 2 == 0) (void)file->close();
    }
    files.reset();
    for (int i = 0; i < 10; ++i) {
      const auto there = contents_of(directory_ / std::to_string(i));
      EXPECT_EQ(there.size(), 7000U);
      EXPECT_TRUE(holds_pattern(there, 0, static_cast<unsigned>(round)));
    }
  }
  EXPECT_EQ(count_threads(), threads);
  EXPECT_EQ(count_descriptors(), descriptors);
}

TEST(ready_files, refuse_a_table_that_makes_no_sense) {
  const auto error = [](const ready_options& options, const driver_options& with = {}) {
    const auto made = ready_files::make(options, with);
    return made ? std::error_code{} : made.error();
  };
  EXPECT_EQ(error({.files = 0}), errno_of(EINVAL));
  EXPECT_EQ(error({.read_ahead = 0}), errno_of(EINVAL));
  EXPECT_EQ(error({.write_behind = 0}), errno_of(EINVAL));
  EXPECT_EQ(error({.block_size = 0}), errno_of(EINVAL));
  EXPECT_EQ(error({.flush_after = std::chrono::milliseconds(-1)}), errno_of(EINVAL));
  EXPECT_EQ(error({}, {.name = "no such driver"}), make_error_code(errc::no_driver));
}

TEST_P(table_of_ready_files, is_for_many_threads) {
  constexpr int threads = 4;
  constexpr int rounds = 12;
  const auto files = make({.files = 2 * threads, .block_size = 4096});
  std::atomic<int> copied = 0;
  const auto copy = [&](int me) {
    const auto bytes = patterned(100'000, 0, static_cast<unsigned>(me));
    for (int i = 0; i < rounds; ++i) {
      const auto path = directory_ / (std::to_string(me) + "-" + std::to_string(i));
      auto file = ready_file::open(*files, path, for_writing);
      std::size_t moved = 0;
      // Nobody takes events here: tried again and again, as who only polls does.
      while (file && moved < bytes.size()) {
        const auto put = file->try_write(std::span(bytes).subspan(moved));
        if (put) moved += *put;
        if (!put && !says(put, EAGAIN)) break;
        std::this_thread::yield();
      }
      if (file && file->close_and_wait() && contents_of(path) == bytes) ++copied;
    }
  };
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) all.emplace_back(copy, i);
  for (std::thread& each : all) each.join();
  EXPECT_EQ(copied, threads * rounds);
}

}  // namespace
}  // namespace weir::testing
