// Copies by ready files, as the predecessor's tests made them: E-T1 to E-T5 of its list.

#include <fcntl.h>

#include <map>
#include <thread>

#include "ready/ready_support.hpp"

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t source_size = 5'352'871;
constexpr std::size_t step = 9999;

class copies_of_ready_files : public ready_test {
 protected:
  void SetUp() override {
    ready_test::SetUp();
    if (IsSkipped()) return;
    make_patterned_file(directory_ / "source", source_size);
    make_destination(directory_ / "copy");
  }
  /// Eleven bytes are there already.
  static void make_destination(const std::string& path) { make_patterned_file(path, 11); }

  static bool is_copy(const std::string& path) {
    const auto there = contents_of(path);
    return there.size() == 11 + source_size && holds_pattern(std::span(there).first(11), 0) &&
           holds_pattern(std::span(there).subspan(11), 0);
  }
};
INSTANTIATE_TEST_SUITE_P(drivers, copies_of_ready_files,
                         ::testing::ValuesIn(driver_names_and_wrapped), name_of_driver);

void copy(ready_files& files, event_log& log, int from, int to) {
  std::vector<std::byte> memory(step);
  for (;;) {
    const std::size_t got = read_all(files, log, from, memory);
    ASSERT_TRUE(write_all(files, log, to, std::span(memory).first(got)));
    if (got < step) return;
  }
}

constexpr open_options appending{.read = false, .write = true, .create = true, .append = true};
constexpr open_options reading_and_appending{.write = true, .create = true, .append = true};

TEST_P(copies_of_ready_files, E_T1_one_to_the_end_of_another) {
  const auto files = make();
  event_log log(*files);
  const int from = opened(*files, log, directory_ / "source");
  const int to = opened(*files, log, directory_ / "copy", appending);
  copy(*files, log, from, to);
  EXPECT_TRUE(files->close_and_wait(from));
  EXPECT_TRUE(files->close_and_wait(to));
  EXPECT_EQ(size_of(directory_ / "copy"), 5'352'882U);
  EXPECT_TRUE(is_copy(directory_ / "copy"));
}

/// A copy that is driven by nothing but what it is told.
struct told_copy {
  ready_files* files;
  int from;
  int to;
  std::vector<std::byte> memory;
  std::size_t held = 0;  // of `memory`, to be written
  std::size_t moved = 0;
  bool ended = false;
  std::map<std::pair<int, unsigned>, int> heard;
  std::atomic<int> closed{0};
  std::atomic<bool> failed{false};

  static void tell(void* user, const ready_event& event) noexcept {
    auto& self = *static_cast<told_copy*>(user);
    ++self.heard[{event.handle, event.what}];
    if (event.error) self.failed = true;
    if (event.what == ready::closed) {
      ++self.closed;
    } else if (self.heard.contains({self.from, ready::opened}) &&
               self.heard.contains({self.to, ready::opened})) {
      self.go_on();
    }
  }

  void go_on() noexcept {
    while (!ended && (moved < held || refill())) {
      const auto put = files->try_write(to, std::span(memory).first(held).subspan(moved));
      if (says(put, EAGAIN)) return;
      if (!put) return end(true);
      moved += *put;
    }
  }
  bool refill() noexcept {
    const auto got = files->try_read(from, memory);
    if (says(got, EAGAIN)) return false;
    moved = 0;
    held = got.value_or(0);
    if (held == 0) end(!got);
    return held != 0;
  }
  void end(bool badly) noexcept {
    ended = true;
    if (badly) failed = true;
    (void)files->close(from);
    (void)files->close(to);
  }
};

TEST_P(copies_of_ready_files, E_T2_driven_by_what_is_told) {
  const auto files = make();
  told_copy state{.files = files.get(), .from = 0, .to = 1, .memory = std::vector<std::byte>(step)};
  files->on_event(&told_copy::tell, &state);
  ASSERT_EQ(files->open(directory_ / "source"), 0);
  ASSERT_EQ(files->open(directory_ / "copy", appending), 1);
  EXPECT_TRUE(eventually([&] { return state.closed == 2; }));
  files->on_event(nullptr, nullptr);
  EXPECT_FALSE(state.failed);
  EXPECT_EQ((state.heard[{0, ready::opened}]), 1);
  EXPECT_EQ((state.heard[{1, ready::opened}]), 1);
  EXPECT_EQ((state.heard[{1, ready::readable}]), 0) << "of what is only written";
  EXPECT_EQ((state.heard[{0, ready::closed}]), 1);
  EXPECT_EQ((state.heard[{1, ready::closed}]), 1);
  EXPECT_TRUE(is_copy(directory_ / "copy"));
}

// Nobody closes or syncs: what is written by itself, after a while, must be all.
TEST_P(copies_of_ready_files, E_T3_fifty_at_once_written_in_time_without_being_closed) {
  constexpr int pairs = 50;
  const auto files = make({.write_behind = 256 << 10, .block_size = 64 << 10, .flush_after = 50ms});
  event_log log(*files);
  const descriptor small = make_patterned_file(directory_ / "small", 100'000);
  std::vector<std::pair<int, int>> open;
  for (int i = 0; i < pairs; ++i) {
    const auto path = directory_ / ("copy" + std::to_string(i));
    make_destination(path);
    open.emplace_back(opened(*files, log, directory_ / (i == 37 ? "source" : "small")),
                      opened(*files, log, path, reading_and_appending));
  }
  for (const auto& [from, to] : open) copy(*files, log, from, to);
  EXPECT_TRUE(eventually([&] { return size_of(directory_ / "copy37") == 11 + source_size; }));
  EXPECT_TRUE(is_copy(directory_ / "copy37"));
  EXPECT_TRUE(eventually([&] { return size_of(directory_ / "copy49") == 100'011; }));
}

TEST_P(copies_of_ready_files, E_T4_by_four_threads_of_ten_each) {
  const auto files = make({.write_behind = 256 << 10, .block_size = 64 << 10, .flush_after = 50ms});
  const descriptor small = make_patterned_file(directory_ / "small", 200'003);
  const auto copy_ten = [&](int first) {
    std::vector<std::byte> memory(step);
    for (int i = first; i < first + 10; ++i) {
      auto from = ready_file::open(*files, directory_ / "small").value();
      const auto path = directory_ / ("copy" + std::to_string(i));
      make_destination(path);
      const int to = files->open(path, reading_and_appending).value();
      for (;;) {  // who only tries has nothing to take
        const auto got = from.try_read(memory);
        if (got && *got == 0) break;
        std::size_t moved = 0;
        while (got && moved < *got) {
          moved += files->try_write(to, std::span(memory).first(*got).subspan(moved)).value_or(0);
          std::this_thread::yield();
        }
        if (!got) std::this_thread::yield();
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(copy_ten, 10 * i);
  for (std::thread& each : threads) each.join();
  for (const int number : {3, 11, 25, 37}) {
    const auto path = directory_ / ("copy" + std::to_string(number));
    EXPECT_TRUE(eventually([&] { return size_of(path) == 200'014; })) << number;
    EXPECT_TRUE(holds_pattern(std::span<const std::byte>(contents_of(path)).subspan(11), 0));
  }
}

TEST_P(copies_of_ready_files, E_T5_to_the_end_of_what_is_read_as_well) {
  const auto files = make();
  event_log log(*files);
  const int from = opened(*files, log, directory_ / "source");
  const int to = opened(*files, log, directory_ / "copy", reading_and_appending);
  copy(*files, log, from, to);
  std::vector<std::byte> all(11 + source_size + 1);
  EXPECT_EQ(read_all(*files, log, to, all), 11 + source_size);
  EXPECT_TRUE(holds_pattern(std::span(all).subspan(11, source_size), 0));
  EXPECT_TRUE(files->close_and_wait(to));
  EXPECT_TRUE(is_copy(directory_ / "copy"));
}

}  // namespace
}  // namespace weir::testing
