#include "weir/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "support/support.hpp"

namespace weir::testing {
namespace {

/// What a file does before and after its operations reach a driver, so on the simplest.
class file_of_a_context : public ::testing::Test {
 protected:
  io_context& context() { return *context_; }
  std::string path() { return directory_ / "file"; }

  template <class Sender>
  auto wait_for(Sender sender) {
    auto wait = [&]() -> task<decltype(std::move(sender).operator co_await().await_resume())> {
      co_return co_await std::move(sender);
    };
    return context().run(wait());
  }

  /// With a descriptor for reading and writing, of a file that holds a pattern.
  file make(std::size_t size = 1000) {
    return {context(), make_patterned_file(path(), size).release()};
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_ = open_context("sync");
};

// --- closed files --------------------------------------------------------------------------------

template <class Result>
bool is_ebadf(const Result& outcome) {
  return !outcome && outcome.error() == std::errc::bad_file_descriptor;
}

TEST_F(file_of_a_context, that_is_closed_answers_ebadf_to_everything) {
  file closed;
  std::array<std::byte, 10> memory{};
  std::array<iovec, 1> vector{{{memory.data(), memory.size()}}};
  EXPECT_FALSE(closed.is_open());
  EXPECT_EQ(closed.native_handle(), -1);
  EXPECT_TRUE(is_ebadf(wait_for(closed.read_at(std::span(memory), 0))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.write_at(std::span<const std::byte>(memory), 0))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.readv_at(vector, 0))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.writev_at(vector, 0))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.read_exactly_at(memory, 0))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.write_all_at(memory, 0))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.sync())));
  EXPECT_TRUE(is_ebadf(wait_for(closed.datasync())));
  EXPECT_TRUE(is_ebadf(wait_for(closed.stat())));
  EXPECT_TRUE(is_ebadf(wait_for(closed.truncate(0))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.allocate(0, 1))));
  EXPECT_TRUE(is_ebadf(wait_for(closed.close())));
}

// Invariant 7
TEST_F(file_of_a_context, that_is_closed_gives_travelling_buffers_back) {
  file closed;
  const buffer_result read = wait_for(closed.read_at(buffer(10), 0));
  EXPECT_TRUE(is_ebadf(read.transferred));
  EXPECT_EQ(read.data.size(), 10);
  const buffer_result written = wait_for(closed.write_at(buffer(20), 0));
  EXPECT_TRUE(is_ebadf(written.transferred));
  EXPECT_EQ(written.data.size(), 20);
}

TEST_F(file_of_a_context, may_be_closed_only_once) {
  file once = make();
  EXPECT_TRUE(wait_for(once.close()).has_value());
  EXPECT_TRUE(is_ebadf(wait_for(once.close())));
  EXPECT_TRUE(is_ebadf(wait_for(once.sync())));
}

TEST_F(file_of_a_context, hears_why_it_could_not_be_closed) {
  file source = make();
  ::close(source.native_handle());  // what nobody should do
  EXPECT_TRUE(is_ebadf(wait_for(source.close())));
}

TEST_F(file_of_a_context, whose_close_is_not_awaited_is_closed_all_the_same) {
  file source = make();
  const int fd = source.native_handle();
  {
    close_sender unused = source.close();
    const close_sender moved = std::move(unused);
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
}

// --- ownership -----------------------------------------------------------------------------------

TEST_F(file_of_a_context, closes_its_descriptor_at_its_end) {
  std::optional<file> source = make();
  const int fd = source->native_handle();
  EXPECT_TRUE(is_open(fd));
  EXPECT_EQ(&source->context(), &context());
  source.reset();
  EXPECT_FALSE(is_open(fd));
}

TEST_F(file_of_a_context, is_closed_when_it_has_been_moved_from) {
  file first = make();
  const int fd = first.native_handle();
  file second = std::move(first);
  EXPECT_FALSE(first.is_open());
  EXPECT_EQ(second.native_handle(), fd);
  EXPECT_TRUE(is_ebadf(wait_for(first.sync())));
  EXPECT_TRUE(wait_for(second.sync()).has_value());
}

TEST_F(file_of_a_context, is_closed_when_another_takes_its_place) {
  file first = make();
  file second(context(), ::dup(first.native_handle()));
  const int left = first.native_handle();
  const int kept = second.native_handle();
  first = std::move(second);
  EXPECT_FALSE(is_open(left));
  EXPECT_TRUE(is_open(kept));
  file& same = first;
  first = std::move(same);
  EXPECT_TRUE(is_open(kept));
}

TEST_F(file_of_a_context, may_outlive_its_context_when_idle) {
  file source = make();
  const int fd = source.native_handle();
  context_.reset();
  source = file{};
  EXPECT_FALSE(is_open(fd));
}

// Invariant 32. Linux AIO asks: only there are such transfers asynchronous.
TEST_F(file_of_a_context, knows_whether_it_was_opened_direct) {
  file buffered = make();
  std::array<std::byte, 10> memory{};
  EXPECT_EQ(buffered.read_at(std::span(memory), 0).what().hints, 0);
  descriptor opened = open_direct(path());
  if (!opened) GTEST_SKIP() << "the file system refuses O_DIRECT";
  file adopted(context(), opened.release());
  EXPECT_EQ(adopted.read_at(std::span(memory), 0).what().hints, hint::direct);
  const open_options options{.direct = true};
  result<file> own = wait_for(open(context(), path(), options));
  ASSERT_TRUE(own.has_value()) << own.error().message();
  EXPECT_EQ(own->read_at(std::span(memory), 0).what().hints, hint::direct);
}

// --- senders -------------------------------------------------------------------------------------

TEST_F(file_of_a_context, describes_before_it_begins) {
  file source = make();
  std::array<std::byte, 10> memory{};
  const io_sender sender = source.read_at(std::span(memory), 7);
  const request expected{.op = opcode::read,
                         .fd = source.native_handle(),
                         .address = memory.data(),
                         .offset = 7,
                         .length = 10};
  EXPECT_EQ(sender.what(), expected);
  EXPECT_EQ(context().outstanding(), 0);
  EXPECT_TRUE(holds_only(memory, std::byte{0}));
}

TEST_F(file_of_a_context, performs_twice_what_is_awaited_twice) {
  file source = make();
  std::array<std::byte, 10> memory{};
  const io_sender sender = source.read_at(std::span(memory), 7);
  for (int i = 0; i < 2; ++i) {
    memory = {};
    EXPECT_EQ(wait_for(sender), 10);
    EXPECT_TRUE(holds_pattern(memory, 7));
  }
}

TEST_F(file_of_a_context, moves_nothing_when_nothing_is_asked_for) {
  file source = make();
  for (const std::uint64_t offset : {0uz, 5'000uz}) {
    EXPECT_EQ(wait_for(source.read_at(std::span<std::byte>{}, offset)), 0);
    EXPECT_EQ(wait_for(source.write_at(std::span<const std::byte>{}, offset)), 0);
    EXPECT_EQ(wait_for(source.read_exactly_at({}, offset)), 0);
    EXPECT_EQ(wait_for(source.write_all_at({}, offset)), 0);
  }
  EXPECT_EQ(contents_of(path()).size(), 1000);
}

TEST_F(file_of_a_context, refuses_more_vectors_than_the_system_takes) {
  file source = make();
  std::byte byte{};
  const std::vector<iovec> vectors(1025, iovec{&byte, 1});
  EXPECT_EQ(wait_for(source.readv_at(vectors, 0)).error(), std::errc::invalid_argument);
  EXPECT_EQ(wait_for(source.readv_at(std::span(vectors).first(1000), 0)), 1000);
}

TEST_F(file_of_a_context, tells_what_statx_says) {
  file source = make(12'345);
  struct stat expected{};
  ASSERT_EQ(::fstat(source.native_handle(), &expected), 0);
  const result<file_status> got = wait_for(source.stat());
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->size, 12'345);
  EXPECT_EQ(got->allocated, static_cast<std::uint64_t>(expected.st_blocks) * 512);
  EXPECT_EQ(got->mode, expected.st_mode);
  EXPECT_EQ(got->user, expected.st_uid);
  EXPECT_EQ(got->group, expected.st_gid);
  EXPECT_EQ(got->links, expected.st_nlink);
  EXPECT_EQ(got->device, expected.st_dev);
  EXPECT_EQ(got->inode, expected.st_ino);
  const auto& modified = expected.st_mtim;
  EXPECT_EQ(got->modified_ns, modified.tv_sec * 1'000'000'000 + modified.tv_nsec);
}

TEST_F(file_of_a_context, grows_and_shrinks) {
  file source = make(1000);
  EXPECT_TRUE(wait_for(source.truncate(5000)).has_value());
  EXPECT_EQ(wait_for(source.stat())->size, 5000);
  EXPECT_TRUE(wait_for(source.truncate(10)).has_value());
  EXPECT_EQ(wait_for(source.stat())->size, 10);
  const result<void> allocated = wait_for(source.allocate(0, 100'000));
  if (!allocated) {
    EXPECT_EQ(allocated.error(), std::errc::operation_not_supported);
    return;
  }
  EXPECT_EQ(wait_for(source.stat())->size, 100'000);
  EXPECT_GE(wait_for(source.stat())->allocated, 100'000);
}

// --- opening -------------------------------------------------------------------------------------

TEST_F(file_of_a_context, is_opened_by_any_kind_of_path) {
  make_patterned_file(path(), 100);
  const std::string text = path();
  const char* const characters = text.c_str();
  const std::filesystem::path native = text;
  EXPECT_TRUE(wait_for(open(context(), text)).has_value());
  EXPECT_TRUE(wait_for(open(context(), characters)).has_value());
  EXPECT_TRUE(wait_for(open(context(), std::string_view(text + "x").substr(0, text.size()))));
  EXPECT_TRUE(wait_for(open(context(), native)).has_value());
}

TEST_F(file_of_a_context, is_not_opened_by_a_path_that_holds_a_nul) {
  make_patterned_file(path(), 100);
  const std::string trick = path() + '\0' + "tail";
  EXPECT_EQ(wait_for(open(context(), trick)).error(), std::errc::invalid_argument);
}

TEST_F(file_of_a_context, is_opened_for_something) {
  make_patterned_file(path(), 100);
  const open_options neither{.read = false, .write = false};
  EXPECT_EQ(wait_for(open(context(), path(), neither)).error(), std::errc::invalid_argument);
}

TEST_F(file_of_a_context, is_opened_as_asked) {
  make_patterned_file(path(), 100);
  std::array<std::byte, 10> memory{};
  const open_options writing{.read = false, .write = true};
  file target = wait_for(open(context(), path(), writing)).value();
  EXPECT_TRUE(is_ebadf(wait_for(target.read_at(std::span(memory), 0))));
  EXPECT_EQ(wait_for(target.write_all_at(memory, 0)), 10);
  file source = wait_for(open(context(), path())).value();
  EXPECT_TRUE(is_ebadf(wait_for(source.write_all_at(memory, 0))));
  const open_options appending{.write = true, .append = true};
  file end = wait_for(open(context(), path(), appending)).value();
  EXPECT_EQ(wait_for(end.write_all_at(memory, 0)), 10);
  EXPECT_EQ(contents_of(path()).size(), 110);
  const open_options emptying{.write = true, .truncate = true};
  EXPECT_TRUE(wait_for(open(context(), path(), emptying)).has_value());
  EXPECT_TRUE(contents_of(path()).empty());
}

TEST_F(file_of_a_context, is_made_where_it_is_missing) {
  EXPECT_EQ(wait_for(open(context(), path())).error(), std::errc::no_such_file_or_directory);
  const open_options making{.write = true, .create = true, .exclusive = true, .mode = 0640};
  const ::mode_t before = ::umask(0);
  const result<file> made = wait_for(open(context(), path(), making));
  ::umask(before);
  ASSERT_TRUE(made.has_value());
  struct stat status{};
  ASSERT_EQ(::fstat(made->native_handle(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640);
  EXPECT_EQ(wait_for(open(context(), path(), making)).error(), std::errc::file_exists);
}

}  // namespace
}  // namespace weir::testing
