#pragma once

#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "support/support.hpp"
#include "weir/ready_file.hpp"

/// What the tests of ready files share: events that are waited for, and drivers that are looked
/// into, or held up.
namespace weir::testing {

/// Takes a table's events, and keeps those that nobody has asked for yet.
class event_log {
 public:
  explicit event_log(ready_files& files) noexcept : files_(&files) {}

  /// Waits for this one; what it came to. ETIMEDOUT after ten seconds.
  std::error_code wait(int handle, unsigned what) {
    for (;;) {
      for (auto at = seen_.begin(); at != seen_.end(); ++at) {
        if (at->handle != handle || at->what != what) continue;
        const std::error_code error = at->error;
        seen_.erase(at);
        return error;
      }
      if (!take() && !readable(files_->fd(), 10'000)) {
        return std::make_error_code(std::errc::timed_out);
      }
    }
  }

  /// How many of these there have been since the last that was waited for.
  std::size_t count(int handle, unsigned what) {
    while (take()) {
    }
    std::size_t found = 0;
    for (const ready_event& event : seen_)
      found += event.handle == handle && event.what == what ? 1 : 0;
    return found;
  }

 private:
  bool take() {
    const auto event = files_->next();
    if (event) seen_.push_back(*event);
    return event.has_value();
  }

  ready_files* files_;
  std::vector<ready_event> seen_;
};

/// Sees each operation on its way to the driver, and may hold it up until the gate is opened.
class gate {
 public:
  /// Operations of these kinds stay before the gate.
  void close_for(std::initializer_list<opcode> kinds) {
    const std::lock_guard lock(mutex_);
    for (const opcode kind : kinds) held_[kind] = true;
  }
  /// Everything passes. Any thread.
  void open() {
    const std::lock_guard lock(mutex_);
    held_.clear();
    if (driver_ != nullptr) driver_->wake();
  }
  std::size_t count(opcode kind) {
    const std::lock_guard lock(mutex_);
    return seen_[kind];
  }
  std::size_t waiting() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }
  /// Called with each, on the driver's thread, before it is submitted.
  std::function<void(const request&)> look;

  std::unique_ptr<driver> around(std::unique_ptr<driver> inner);

 private:
  class guarded;

  std::mutex mutex_;
  driver* driver_ = nullptr;
  std::map<opcode, bool> held_;
  std::map<opcode, std::size_t> seen_;
  std::size_t waiting_ = 0;
};

class gate::guarded : public wrapping_driver {
 public:
  guarded(gate& by, std::unique_ptr<driver> inner) : wrapping_driver(std::move(inner)), by_(&by) {
    by_->driver_ = this;
  }
  ~guarded() override {
    const std::lock_guard lock(by_->mutex_);
    by_->driver_ = nullptr;
  }

  void submit(operation_queue& staged) noexcept override {
    sort(staged);
    wrapping_driver::submit(passing_);
  }
  void reap(operation_queue& completed, deadline until) noexcept override {
    wrapping_driver::reap(completed, until);
    operation_queue again = std::move(waiting_);
    for (; !again.empty();) {
      operation& op = again.pop_front();
      (holds(op) ? waiting_ : passing_).push_back(op);
    }
    wrapping_driver::submit(passing_);
  }

 private:
  void sort(operation_queue& staged) {
    while (!staged.empty()) {
      operation& op = staged.pop_front();
      if (by_->look) by_->look(op.args);
      {
        const std::lock_guard lock(by_->mutex_);
        ++by_->seen_[op.args.op];
      }
      (holds(op) ? waiting_ : passing_).push_back(op);
    }
  }
  bool holds(const operation& op) {
    const std::lock_guard lock(by_->mutex_);
    const bool held = by_->held_.contains(op.args.op);
    by_->waiting_ = waiting_.size() + (held ? 1 : 0);
    return held;
  }

  gate* by_;
  operation_queue waiting_;
  operation_queue passing_;
};

inline std::unique_ptr<driver> gate::around(std::unique_ptr<driver> inner) {
  return std::make_unique<guarded>(*this, std::move(inner));
}

/// A table on the driver that the test's name ends in.
class ready_test : public driver_test {
 protected:
  std::unique_ptr<ready_files> make(const ready_options& options = {}) {
    return std::make_unique<ready_files>(options, open_driver_named(GetParam()));
  }
  std::unique_ptr<ready_files> make_behind(gate& with, const ready_options& options = {}) {
    return std::make_unique<ready_files>(options, with.around(open_driver_named(GetParam())));
  }

  /// Opens, and waits until that is done.
  static int opened(ready_files& files, event_log& log, std::string_view path,
                    const open_options& options = {}) {
    const auto handle = files.open(path, options);
    EXPECT_TRUE(handle) << handle.error().message();
    if (!handle) return -1;
    EXPECT_EQ(log.wait(*handle, ready::opened), std::error_code{}) << path;
    return *handle;
  }

  temp_directory directory_;
};

inline constexpr open_options for_writing{.read = false, .write = true, .create = true};
inline constexpr open_options for_both{.read = true, .write = true, .create = true};

inline std::error_code errno_of(int error) { return {error, std::system_category()}; }
inline bool says(const auto& answer, int error) {
  return !answer && answer.error() == errno_of(error);
}

/// Reads all of `memory`, waiting where it must; short at the end.
inline std::size_t read_all(ready_files& files, event_log& log, int handle,
                            std::span<std::byte> memory, std::size_t piece = SIZE_MAX) {
  std::size_t moved = 0;
  while (moved < memory.size()) {
    const auto part = memory.subspan(moved, std::min(piece, memory.size() - moved));
    const auto got = files.try_read(handle, part);
    if (says(got, EAGAIN)) {
      EXPECT_EQ(log.wait(handle, ready::readable), std::error_code{});
      continue;
    }
    EXPECT_TRUE(got) << got.error().message();
    if (!got || *got == 0) break;
    moved += *got;
  }
  return moved;
}

inline ::testing::AssertionResult write_all(ready_files& files, event_log& log, int handle,
                                            std::span<const std::byte> bytes,
                                            std::size_t piece = SIZE_MAX) {
  std::size_t moved = 0;
  while (moved < bytes.size()) {
    const auto put =
        files.try_write(handle, bytes.subspan(moved, std::min(piece, bytes.size() - moved)));
    if (says(put, EAGAIN)) {
      const auto told = log.wait(handle, ready::writable);
      if (told) return ::testing::AssertionFailure() << "no event: " << told.message();
      continue;
    }
    if (!put) return ::testing::AssertionFailure() << put.error().message();
    moved += *put;
  }
  return ::testing::AssertionSuccess();
}

inline std::vector<std::byte> patterned(std::size_t size, std::uint64_t offset = 0,
                                        unsigned seed = 0) {
  std::vector<std::byte> memory(size);
  fill(memory, offset, seed);
  return memory;
}

inline std::uint64_t size_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

}  // namespace weir::testing
