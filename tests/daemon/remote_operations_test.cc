// A client's operations with a daemon that says what no daemon says. fuzz/remote_operations.cc has
// more of that.

#include "daemon/client/remote_operations.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "daemon/disk_file.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using namespace detail::daemon;

constexpr std::size_t shared_size = std::size_t{64} << 10;

class remote_operations_test : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(memory_.open(shared_size), 0);
    file_ = make_file(directory_ / "file", 4096);
    if (!is_disk_file(file_.get())) GTEST_SKIP() << directory_.path() << " is not on a disk";
    there_ = std::make_unique<remote_operations>(4, memory_, files_);
  }

  /// Begins it, and returns how it was said.
  wire_operation begin(recorded& op) {
    const auto by = there_->route_of(op.args, 0);
    EXPECT_TRUE(by.has_value());
    there_->begin(op, *by);
    const wire_operation said = there_->to_send().front();
    there_->to_send().clear();
    return said;
  }

  bool hears(const completed_operation& answer, std::uint32_t count = 1) {
    const completed_answer head{
        .header = {.kind = message::completed, .size = sizeof head + sizeof answer},
        .count = count};
    std::array<std::byte, sizeof head + sizeof answer> bytes{};
    std::memcpy(bytes.data(), &head, sizeof head);
    std::memcpy(bytes.data() + sizeof head, &answer, sizeof answer);
    return there_->take_answers(bytes);
  }

  temp_directory directory_;
  descriptor file_;
  shared_memory memory_;
  shared_files files_;
  std::unique_ptr<remote_operations> there_;
};

TEST_F(remote_operations_test, an_answer_is_no_more_than_was_asked_for) {
  recorded sync({.op = opcode::fsync, .fd = file_.get()});
  recorded copy({.op = opcode::copy_file_range,
                 .fd = file_.get(),
                 .mode = static_cast<std::uint32_t>(file_.get()),
                 .address = nullptr,
                 .offset = 1000,
                 .length = 100});
  std::array<std::byte, 10> bytes{};
  recorded read(read_request(file_.get(), bytes));
  const auto sync_tag = begin(sync).tag;
  const auto copy_tag = begin(copy).tag;
  const auto read_tag = begin(read).tag;
  EXPECT_FALSE(hears({.tag = sync_tag, .result = 1}));
  EXPECT_FALSE(hears({.tag = sync_tag, .result = std::int64_t{1} << 31}));  // a negative int32_t
  EXPECT_FALSE(hears({.tag = copy_tag, .result = 101}));
  EXPECT_FALSE(hears({.tag = read_tag, .result = 11}));
  EXPECT_FALSE(hears({.tag = read_tag, .result = -4096}));
  EXPECT_TRUE(hears({.tag = sync_tag, .result = 0}));
  EXPECT_TRUE(hears({.tag = copy_tag, .result = 100}));
  EXPECT_TRUE(hears({.tag = read_tag, .result = 10}));
  EXPECT_EQ(there_->in_flight(), 0U);
  EXPECT_EQ(copy.answer(), 100);
  while (!there_->finished().empty()) there_->finished().pop_front();
}

TEST_F(remote_operations_test, a_message_has_as_many_answers_as_it_says) {
  recorded sync({.op = opcode::fsync, .fd = file_.get()});
  const auto tag = begin(sync).tag;
  EXPECT_FALSE(hears({.tag = tag, .result = 0}, 0));
  EXPECT_FALSE(hears({.tag = tag, .result = 0}, 2));
  EXPECT_FALSE(hears({.tag = tag, .result = 0}, UINT32_MAX));
  EXPECT_TRUE(hears({.tag = tag, .result = 0}));
  EXPECT_FALSE(hears({.tag = tag, .result = 0}));  // again
  while (!there_->finished().empty()) there_->finished().pop_front();
}

}  // namespace
}  // namespace weir::testing
