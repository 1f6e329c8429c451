// What happens where a driver is refused. Each test is a child of its own, with a seccomp filter or
// a limit that cannot be taken back.

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <list>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

using opened_driver = result<std::unique_ptr<driver>>;

class fallback : public ::testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("WEIR_DRIVER");
    for (const std::string_view each : {"uring", "linux_aio"}) {
      const driver_report& report = report_of(each);
      if (!report.available) GTEST_SKIP() << "SKIPPED: " << each << ": " << report.reason;
    }
  }

  /// Who was tried, in order.
  std::vector<std::string_view> names() const {
    std::vector<std::string_view> all;
    for (const driver_report& each : tried_) all.push_back(each.name);
    return all;
  }

  opened_driver open(std::string_view name = {}) {
    return open_driver({.name = name, .queue_depth = 64}, tried_);
  }

  void expect_opened(const opened_driver& opened, std::vector<std::string_view> expected) const {
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().message());
    EXPECT_EQ(names(), expected);
    ASSERT_FALSE(tried_.empty());
    EXPECT_TRUE(tried_.back().available);
    EXPECT_EQ(tried_.back().error, std::error_code{});
    EXPECT_TRUE(tried_.back().reason.empty());
  }

  /// Refused with this error, whose report has these words; and nothing tried after it.
  void expect_refused(const opened_driver& opened, int error, std::string_view words) const {
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error(), std::error_code(error, std::system_category()));
    ASSERT_FALSE(tried_.empty());
    expect_report(tried_.back(), error, words);
  }

  // Invariant 6
  static void expect_report(const driver_report& report, int error, std::string_view words) {
    EXPECT_FALSE(report.available);
    EXPECT_EQ(report.error, std::error_code(error, std::system_category()));
    EXPECT_NE(report.reason.find(report.error.message()), std::string::npos) << report.reason;
    EXPECT_NE(report.reason.find(words), std::string::npos) << report.reason;
    EXPECT_FALSE(report.advice.empty());
  }

  static void expect_success(const std::function<void()>& in_a_child) {
    const child_outcome outcome = run_in_child(in_a_child);
    EXPECT_TRUE(outcome.succeeded()) << outcome;
  }

  std::vector<driver_report> tried_;
};

TEST_F(fallback, is_not_needed_where_io_uring_is_available) {
  const opened_driver opened = open();
  expect_opened(opened, {"uring"});
}

// Invariant 6
TEST_F(fallback, goes_to_linux_aio_where_io_uring_is_forbidden) {
  for (const int error : {EPERM, EACCES, ENOSYS}) {
    expect_success([&] {
      refuse_system_call(SYS_io_uring_setup, error);
      expect_opened(open(), {"uring", "linux_aio"});
      expect_report(tried_.front(), error, "io_uring_setup");
      expect_report(tried_.front(), error, "seccomp");
      EXPECT_NE(tried_.front().advice.find("seccomp"), std::string::npos);
    });
  }
}

TEST_F(fallback, works_where_io_uring_is_forbidden) {
  expect_success([&] {
    const temp_directory directory;
    const descriptor file = make_patterned_file(directory / "file", 1000);
    refuse_system_call(SYS_io_uring_setup, EPERM);
    auto opened = open();
    ASSERT_TRUE(opened.has_value());
    io_context context(std::move(*opened));
    std::vector<std::byte> memory(1000);
    recorded op(read_request(file.get(), memory));
    context.start(op);
    context.run();
    EXPECT_TRUE(answered(op, 1000));
    EXPECT_TRUE(holds_pattern(memory, 0));
  });
}

TEST_F(fallback, knows_a_seccomp_filter_of_one_thread_alone) {
  expect_success([&] {
    std::thread confined([&] {
      refuse_system_call(SYS_io_uring_setup, EPERM);
      expect_opened(open(), {"uring", "linux_aio"});
    });
    confined.join();
    expect_report(tried_[0], EPERM, "seccomp");
    tried_.clear();
    expect_opened(open(), {"uring"});
  });
}

// Invariant 6
TEST_F(fallback, goes_to_threads_where_linux_aio_is_forbidden_too) {
  expect_success([&] {
    refuse_system_call(SYS_io_uring_setup, EPERM);
    refuse_system_call(SYS_io_setup, ENOSYS);
    expect_opened(open(), {"uring", "linux_aio", "threads"});
    expect_report(tried_[1], ENOSYS, "io_setup");
  });
}

// Invariant 6. As when other programs have used fs.aio-max-nr up; to do that really would disturb
// them, and other tests.
TEST_F(fallback, goes_to_threads_where_linux_aio_is_used_up) {
  expect_success([&] {
    refuse_system_call(SYS_io_uring_setup, EPERM);
    refuse_system_call(SYS_io_setup, EAGAIN);
    expect_opened(open(), {"uring", "linux_aio", "threads"});
    expect_report(tried_[1], EAGAIN, "fs.aio-max-nr");
    EXPECT_NE(tried_[1].reason.find_first_of("0123456789"), std::string::npos);
    EXPECT_NE(tried_[1].advice.find("fs.aio-max-nr"), std::string::npos);
  });
}

TEST_F(fallback, is_not_taken_by_whoever_asks_for_a_driver_by_name) {
  expect_success([&] {
    refuse_system_call(SYS_io_uring_setup, EPERM);
    expect_refused(open("uring"), EPERM, "io_uring_setup");
    EXPECT_EQ(names(), (std::vector<std::string_view>{"uring"}));
  });
}

TEST_F(fallback, is_not_taken_where_the_environment_names_a_driver) {
  expect_success([&] {
    ::setenv("WEIR_DRIVER", "uring", 1);
    refuse_system_call(SYS_io_uring_setup, EPERM);
    expect_refused(open(), EPERM, "io_uring_setup");
    EXPECT_EQ(names(), (std::vector<std::string_view>{"uring"}));
  });
}

// Invariant 6
TEST_F(fallback, does_not_hide_a_lack_of_memory) {
  expect_success([&] {
    refuse_system_call(SYS_io_uring_setup, ENOMEM);
    expect_refused(open(), ENOMEM, "RLIMIT_MEMLOCK");
    EXPECT_EQ(names(), (std::vector<std::string_view>{"uring"}));
  });
}

/// Opens where this process can have only `count` more descriptors. The limit is lifted again, for
/// whatever else wants descriptors: a sanitizer does.
opened_driver open_with_descriptors(rlim_t count, std::string_view name,
                                    std::vector<driver_report>& tried) {
  rlimit before{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  {
    const descriptor next(::dup(0));
    few.rlim_cur = static_cast<rlim_t>(next.get()) + count;
  }
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  opened_driver opened = open_driver({.name = name}, tried);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  return opened;
}

// Invariant 6
TEST_F(fallback, does_not_hide_a_lack_of_descriptors) {
  for (const rlim_t left : {rlim_t{0}, rlim_t{1}}) {
    expect_success([&] {
      expect_refused(open_with_descriptors(left, "", tried_), EMFILE, "RLIMIT_NOFILE");
      EXPECT_EQ(names(), (std::vector<std::string_view>{"uring"}));
      EXPECT_NE(tried_[0].advice.find("ulimit -n"), std::string::npos);
    });
  }
}

TEST_F(fallback, every_driver_says_that_descriptors_are_lacking) {
  for (const std::string_view name : driver_names) {
    expect_success(
        [&] { expect_refused(open_with_descriptors(0, name, tried_), EMFILE, "RLIMIT_NOFILE"); });
  }
}

// The largest queues, and no address space for them: some of it the kernel is asked for, some
// `new`.
TEST_F(fallback, a_lack_of_memory_is_an_answer_and_no_exception) {
  if (address_sanitizer || thread_sanitizer) {
    GTEST_SKIP() << "SKIPPED: a sanitizer needs the address space";
  }
  expect_success([&] {
    rlimit little{};
    ASSERT_EQ(::getrlimit(RLIMIT_AS, &little), 0);
    little.rlim_cur = 1;
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
    // What the heap had free of it.
    std::list<std::unique_ptr<std::byte[]>> hoarded;
    while (auto* more = new (std::nothrow) std::byte[256 * 1024]) hoarded.emplace_back(more);
    unsigned refused = 0;
    for (const std::string_view name : driver_names) {
      const auto opened = open_driver({.name = name, .queue_depth = 16'384}, tried_);
      if (opened) continue;
      ++refused;
      expect_refused(opened, ENOMEM, "memory");
    }
    EXPECT_GT(refused, 0u);
  });
}

// Invariant 29
TEST_F(fallback, leaves_no_descriptor_of_a_driver_that_was_refused) {
  expect_success([&] {
    refuse_system_call(SYS_io_uring_setup, EPERM);
    refuse_system_call(SYS_io_setup, EAGAIN);
    const std::size_t before = count_descriptors();
    for (int i = 0; i < 5; ++i) {
      EXPECT_FALSE(open("uring").has_value());
      EXPECT_FALSE(open("linux_aio").has_value());
    }
    EXPECT_EQ(count_descriptors(), before);
  });
}

constexpr uid_t nobody = 65534;

/// Limits do not bind root.
void become_nobody() {
  if (::getuid() != 0) return;
  ASSERT_EQ(::setgid(nobody), 0);
  ASSERT_EQ(::setuid(nobody), 0);
}

// Invariant 6. Since 5.12 rings are not locked memory; before, that must be said.
TEST_F(fallback, says_when_locked_memory_is_lacking) {
  expect_success([&] {
    const rlimit none{};
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &none), 0);
    become_nobody();
    const opened_driver opened = open("uring");
    if (!opened) expect_refused(opened, ENOMEM, "RLIMIT_MEMLOCK is 0");
  });
}

// Invariant 6
TEST_F(fallback, says_when_threads_are_lacking) {
  expect_success([&] {
    become_nobody();
    const rlimit none{};
    ASSERT_EQ(::setrlimit(RLIMIT_NPROC, &none), 0);
    expect_refused(open("threads"), EAGAIN, "RLIMIT_NPROC is 0");
  });
}

// --- asking --------------------------------------------------------------------------------------

TEST_F(fallback, the_environment_replaces_no_name) {
  expect_success([&] {
    ::setenv("WEIR_DRIVER", "sync", 1);
    expect_opened(open(), {"sync"});
    tried_.clear();
    expect_opened(open("threads"), {"threads"});
    tried_.clear();
    ::setenv("WEIR_DRIVER", "", 1);
    expect_opened(open(), {"uring"});
  });
}

TEST_F(fallback, does_not_know_a_driver_of_another_name) {
  expect_success([&] {
    for (const std::string_view name : {"io_uring", "URING", "urin", " "}) {
      EXPECT_EQ(open(name).error(), errc::no_driver) << name;
    }
    tried_.clear();
    ::setenv("WEIR_DRIVER", "best", 1);
    EXPECT_EQ(open().error(), errc::no_driver);
    ASSERT_EQ(tried_.size(), 1);
    EXPECT_FALSE(tried_[0].available);
    EXPECT_EQ(tried_[0].error, errc::no_driver);
    EXPECT_NE(tried_[0].reason.find("best"), std::string::npos);
    for (const std::string_view name : driver_names) {
      EXPECT_NE(tried_[0].advice.find(name), std::string::npos) << tried_[0].advice;
    }
  });
}

// Found by fuzz/driver_name.cc.
TEST_F(fallback, wraps_no_driver_more_often_than_there_is_a_use_for) {
  const auto wrapped = [](int times) {
    std::string name;
    for (int i = 0; i < times; ++i) name += "merging:";
    return name + "sync";
  };
  EXPECT_TRUE(open_driver({.name = wrapped(8)}).has_value());
  std::vector<driver_report> tried;
  const std::string too_often = wrapped(100'000);
  const auto opened = open_driver({.name = too_often}, tried);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error(), errc::no_driver);
  ASSERT_FALSE(tried.empty());
  EXPECT_NE(tried.back().reason.find("more than 8"), std::string::npos) << tried.back().reason;
}

TEST_F(fallback, wraps_a_driver_as_its_name_says) {
  expect_success([&] {
    expect_opened(open("merging:threads"), {"threads"});
    tried_.clear();
    expect_opened(open("merging:merging:sync"), {"sync"});
    tried_.clear();
    expect_opened(open("merging:"), {"uring"});
    refuse_system_call(SYS_io_uring_setup, ENOSYS);
    tried_.clear();
    expect_opened(open("merging:"), {"uring", "linux_aio"});
    tried_.clear();
    expect_refused(open("merging:uring"), ENOSYS, "io_uring_setup");
  });
}

TEST_F(fallback, the_environment_names_what_is_to_be_wrapped) {
  expect_success([&] {
    ::setenv("WEIR_DRIVER", "sync", 1);
    expect_opened(open("merging:"), {"sync"});
    tried_.clear();
    expect_opened(open("merging:threads"), {"threads"});
    tried_.clear();
    ::setenv("WEIR_DRIVER", "merging:", 1);
    expect_opened(open(), {"uring"});
    tried_.clear();
    expect_opened(open("merging:"), {"uring"});
    tried_.clear();
    expect_opened(open("sync"), {"sync"});
  });
}

TEST_F(fallback, does_not_know_a_wrapper_of_another_name) {
  expect_success([&] {
    for (const std::string_view name : {"merge:uring", "MERGING:uring", ":uring",
                                        "merging:no:uring", "uring:merging", " merging:uring"}) {
      tried_.clear();
      EXPECT_EQ(open(name).error(), errc::no_driver) << name;
      ASSERT_EQ(tried_.size(), 1) << name;
      EXPECT_FALSE(tried_[0].available);
      EXPECT_NE(tried_[0].advice.find("merging"), std::string::npos) << tried_[0].advice;
    }
    tried_.clear();
    EXPECT_EQ(open("merging:no").error(), errc::no_driver);
    ASSERT_EQ(tried_.size(), 1);
    EXPECT_NE(tried_[0].reason.find("'no'"), std::string::npos) << tried_[0].reason;
  });
}

TEST_F(fallback, refuses_a_queue_depth_that_is_none_or_too_much) {
  for (const std::string_view name : driver_names) {
    for (const unsigned depth : {0u, 16385u, 1u << 31}) {
      const auto opened = open_driver({.name = name, .queue_depth = depth});
      ASSERT_FALSE(opened.has_value());
      EXPECT_EQ(opened.error(), std::errc::invalid_argument);
    }
    EXPECT_TRUE(open_driver({.name = name, .queue_depth = 1}).has_value());
  }
}

TEST_F(fallback, probing_tries_every_driver_in_the_default_order) {
  ::setenv("WEIR_DRIVER", "sync", 1);  // does not matter here
  tried_ = probe_drivers();
  ::unsetenv("WEIR_DRIVER");
  EXPECT_TRUE(std::ranges::equal(names(), driver_names));
  for (const driver_report& each : tried_) EXPECT_TRUE(each.available) << each.reason;
}

TEST_F(fallback, probing_tells_the_refused_from_the_available) {
  expect_success([&] {
    refuse_system_call(SYS_io_uring_setup, EPERM);
    tried_ = probe_drivers();
    EXPECT_TRUE(std::ranges::equal(names(), driver_names));
    expect_report(tried_[0], EPERM, "io_uring_setup");
    for (const std::size_t i : {1uz, 2uz, 3uz}) EXPECT_TRUE(tried_[i].available);
  });
}

}  // namespace
}  // namespace weir::testing
