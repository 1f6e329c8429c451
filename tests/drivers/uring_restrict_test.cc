// That a ring which is restricted refuses what is not weir's, and nothing that is.

#include "drivers/uring_restrict.hpp"

#include <liburing.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "support/support.hpp"
#include "weir/weir.hpp"

namespace weir::testing {
namespace {

using detail::restrict_to_own;
using detail::uring_ring;

class restricted_ring : public ::testing::Test {
 protected:
  void SetUp() override {
    const driver_report& report = report_of("uring");
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
    ASSERT_TRUE(ring_.open(4, 8, 0, 0));
    const auto restricted = restrict_to_own(ring_);
    ASSERT_TRUE(restricted) << restricted.error().call << ' ' << restricted.error().error;
    ring_.enable(1);
  }

  /// What the kernel answers to the entry that was filled in last.
  int answer() {
    std::optional<int> came;
    while (!came) {
      ring_.enter(true, deadline::never());
      ring_.take_completions([&](const io_uring_cqe& cqe) { came = cqe.res; });
    }
    return *came;
  }

  uring_ring ring_;
};

TEST_F(restricted_ring, does_what_weir_asks) {
  io_uring_prep_nop(ring_.next_entry());
  EXPECT_EQ(answer(), 0);
}

TEST_F(restricted_ring, refuses_other_operations) {
  io_uring_prep_socket(ring_.next_entry(), AF_UNIX, SOCK_STREAM, 0, 0);
  EXPECT_EQ(answer(), -EACCES);
}

TEST_F(restricted_ring, refuses_flags_that_are_not_its_own) {
  io_uring_sqe* const sqe = ring_.next_entry();
  io_uring_prep_nop(sqe);
  sqe->flags |= IOSQE_IO_DRAIN;
  EXPECT_EQ(answer(), -EACCES);
}

TEST_F(restricted_ring, refuses_to_register_anything_else) {
  const int file = 0;
  EXPECT_EQ(ring_.tell(IORING_REGISTER_FILES, &file, 1), -EACCES);
}

TEST(restricted_driver, reads_and_writes_as_any_other) {
  if (!report_of("uring").available) GTEST_SKIP() << "SKIPPED: " << report_of("uring").reason;
  auto opened = open_driver({.name = "uring", .restricted = true});
  ASSERT_TRUE(opened);
  io_context context(std::move(*opened));
  const temp_directory directory;
  const auto path = directory / "file";
  const std::string text = "what is allowed is done";
  std::array<char, 64> read{};
  const auto count = context.run([](io_context& on, const std::string& name,
                                    const std::string& from,
                                    std::span<char> into) -> task<result<std::size_t>> {
    auto opened_file = co_await weir::open(on, name, {.read = true, .write = true, .create = true});
    if (!opened_file) co_return std::unexpected(opened_file.error());
    const auto wrote = co_await opened_file->write_all_at(std::as_bytes(std::span(from)), 0);
    if (!wrote) co_return std::unexpected(wrote.error());
    co_return co_await opened_file->read_at(std::as_writable_bytes(into), 0);
  }(context, path, text, std::span(read)));
  ASSERT_TRUE(count) << count.error().message();
  EXPECT_EQ(std::string(read.data(), *count), text);
}

}  // namespace
}  // namespace weir::testing
