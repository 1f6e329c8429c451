#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "weir/faulty.hpp"
#include "weir/weir.hpp"

/// What the tests share: a vocabulary for files, pipes, operations and children.
namespace weir::testing {

#if defined(__has_feature)
#define WEIR_TEST_FEATURE(name) __has_feature(name)
#else
#define WEIR_TEST_FEATURE(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || WEIR_TEST_FEATURE(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif
#if defined(__SANITIZE_ADDRESS__) || WEIR_TEST_FEATURE(address_sanitizer)
inline constexpr bool address_sanitizer = true;
#else
inline constexpr bool address_sanitizer = false;
#endif
#undef WEIR_TEST_FEATURE

// --- drivers -------------------------------------------------------------------------------------

/// Every driver there is, in the default order.
inline constexpr std::string_view driver_names[] = {"uring", "linux_aio", "threads", "sync"};

/// The same, each also in what may be wrapped around it and changes no answer: merging, faults of
/// timing (<weir/faulty.hpp>), whose seed is WEIR_FAULT_SEED, else 1, and counters. "timing:" and
/// "measured:" are these tests' own, and so is "daemon": the client of a daemon (`weir serve`) that
/// is started when it is first asked for and ends with this process.
inline constexpr std::string_view driver_names_and_wrapped[] = {"uring",
                                                                "linux_aio",
                                                                "threads",
                                                                "sync",
                                                                "daemon",
                                                                "merging:uring",
                                                                "merging:linux_aio",
                                                                "merging:threads",
                                                                "merging:sync",
                                                                "timing:uring",
                                                                "timing:linux_aio",
                                                                "timing:threads",
                                                                "timing:sync",
                                                                "measured:uring",
                                                                "measured:linux_aio",
                                                                "measured:threads",
                                                                "measured:sync"};

/// "uring" of "merging:uring", as of "uring".
std::string_view innermost(std::string_view driver);

/// What this machine said when the driver was tried; asked once.
const driver_report& report_of(std::string_view driver);

/// Throws std::runtime_error, with the reason, where the driver cannot be opened.
std::unique_ptr<driver> open_driver_named(std::string_view name, driver_options options = {});
std::unique_ptr<io_context> open_context(std::string_view driver, driver_options options = {});

/// A test that has the name of a driver for its parameter, and is skipped without that driver.
class driver_test : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override;
};

/// A test's name must end in the driver's, or in that and what it is wrapped in ("uring_merging"):
/// continuous integration counts them by it.
std::string name_of_driver(const ::testing::TestParamInfo<std::string_view>& tested);

/// Forwards everything: to see what passes, or to change it, override one function.
class wrapping_driver : public driver {
 public:
  explicit wrapping_driver(std::unique_ptr<driver> inner) noexcept : inner_(std::move(inner)) {}
  void submit(operation_queue& staged) noexcept override { inner_->submit(staged); }
  void reap(operation_queue& completed, deadline until) noexcept override {
    inner_->reap(completed, until);
  }
  void wake() noexcept override { inner_->wake(); }
  std::int64_t now_ns() const noexcept override { return inner_->now_ns(); }
  std::int32_t perform_now(const request& what) noexcept override {
    return inner_->perform_now(what);
  }
  result<std::uint64_t> random_bits() noexcept override { return inner_->random_bits(); }
  int fd() const noexcept override { return inner_->fd(); }

 private:
  std::unique_ptr<driver> inner_;
};

// --- operations ----------------------------------------------------------------------------------

/// An operation that counts its completions, then does what it is told.
class recorded : public operation {
 public:
  explicit recorded(const request& what) noexcept : operation(what, &complete) {}
  recorded(const request& what, std::function<void(recorded&)> and_then) noexcept
      : operation(what, &complete), then(std::move(and_then)) {}

  int completions = 0;
  std::function<void(recorded&)> then;

 private:
  static void complete(operation& op) noexcept {
    auto& self = static_cast<recorded&>(op);
    ++self.completions;
    if (self.then) self.then(self);
  }
};

/// Operations stay where they are, so a batch of them is made of pointers.
using batch = std::vector<std::unique_ptr<recorded>>;
recorded& add(batch& to, const request& what);
void start_all(io_context& context, const batch& operations);

/// Completed exactly once, with this answer: EXPECT_TRUE(answered(op, -EBADF)).
::testing::AssertionResult answered(const recorded& op, std::int32_t expected);
::testing::AssertionResult all_answered(const batch& operations, std::int32_t expected);

/// Why there is no value; nothing where there is one.
template <class T>
std::error_code error_of(const result<T>& answer) {
  return answer ? std::error_code{} : answer.error();
}

/// Drives the context until `done`. Where nothing completes, this waits for ever, and the test
/// program's time limit speaks.
void drive_until(io_context& context, const std::function<bool()>& done);
/// The same from an event loop that has only fd() to go by; false if that shows nothing for
/// seconds.
bool poll_until(io_context& context, const std::function<bool()>& done);

request read_request(int fd, std::span<std::byte> into, std::uint64_t offset = 0);
request write_request(int fd, std::span<const std::byte> from, std::uint64_t offset = 0);

// --- files ---------------------------------------------------------------------------------------

/// A new directory under $TMPDIR or /var/tmp (on a disk, where /tmp may not be); removed with all
/// it holds.
class temp_directory {
 public:
  temp_directory();
  temp_directory(const temp_directory&) = delete;
  temp_directory& operator=(const temp_directory&) = delete;
  ~temp_directory();

  const std::string& path() const noexcept { return path_; }
  std::string operator/(std::string_view name) const;

 private:
  std::string path_;
};

/// Owns a file descriptor.
class descriptor {
 public:
  descriptor() noexcept = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
  descriptor& operator=(descriptor&& other) noexcept;
  ~descriptor() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// open(2) with O_CLOEXEC; throws std::system_error.
descriptor open_file(const std::string& path, int flags);
/// A new file for reading and writing, `size` bytes long, all of them a hole.
descriptor make_file(const std::string& path, std::uint64_t size = 0);
/// The same, filled with `pattern`.
descriptor make_patterned_file(const std::string& path, std::size_t size);
/// Whether all of its first `size` bytes are in the page cache, as far as the file system can tell
/// (RWF_NOWAIT; tmpfs cannot, and this is false).
bool is_resident(const descriptor& file, std::size_t size);
/// Writes the file back and takes it out of the page cache; false where some of it stayed.
bool drop_from_cache(const descriptor& file);
/// Opens for reading and writing with O_DIRECT; empty where the file system refuses that.
descriptor open_direct(const std::string& path);
/// A descriptor number that is not open.
int closed_descriptor();
bool is_open(int fd);

struct pipe_ends {
  descriptor read;
  descriptor write;

  /// One byte for each reader that waits.
  void feed(std::size_t bytes) const;
};
pipe_ends make_pipe(int flags = 0);

/// A byte that depends on where in a file it is, and on `seed`.
std::byte pattern(std::uint64_t offset, unsigned seed = 0);
void fill(std::span<std::byte> memory, std::uint64_t offset, unsigned seed = 0);
::testing::AssertionResult holds_pattern(std::span<const std::byte> memory, std::uint64_t offset,
                                         unsigned seed = 0);
::testing::AssertionResult holds_only(std::span<const std::byte> memory, std::byte value);
std::vector<std::byte> contents_of(const std::string& path);

// --- processes -----------------------------------------------------------------------------------

struct child_outcome {
  int exit_code = -1;  ///< -1 where a signal ended it
  int signal = 0;
  std::string output;  ///< what it wrote to stdout and stderr

  bool succeeded() const noexcept { return exit_code == 0; }
};
std::ostream& operator<<(std::ostream& out, const child_outcome& outcome);

/// Forks, and runs `body` in the child, which exits with 1 if an expectation failed there, else
/// with 0. A child that hangs is ended by SIGALRM.
child_outcome run_in_child(const std::function<void()>& body);

/// Aborted with a sentence that contains `words`.
::testing::AssertionResult aborted_saying(const child_outcome& outcome, std::string_view words);

/// From now on the kernel refuses this system call to the process, or ends it by SIGSYS for
/// trying: a real seccomp filter. It cannot be taken back, so only a child may ask for it.
void refuse_system_call(long number, int error);
void die_of_system_call(long number);

/// Of this process, but those that are ending: who has been joined is gone.
std::size_t count_threads();
std::size_t count_descriptors();
/// io_uring's own threads (io-wq) of this process.
std::size_t count_kernel_workers();

/// poll(2) for POLLIN, again where a signal interrupts it.
bool readable(int fd, int timeout_ms);
/// How many bytes lie in a pipe.
std::size_t bytes_in(const pipe_ends& pipe);
/// gettid(2), for `is_asleep`.
int this_thread();
/// Whether a thread of this process waits in the kernel.
bool is_asleep(int thread);

/// For what another thread, or the kernel, brings about and does not announce: looks again and
/// again, for ten seconds.
bool eventually(const std::function<bool()>& condition);

}  // namespace weir::testing
