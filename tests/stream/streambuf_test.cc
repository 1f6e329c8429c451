// Iostreams over readers and writers, from a plain thread, on every driver.

#include "weir/streambuf.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <istream>
#include <iterator>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "stream/stream_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;

class streambuf_test : public stream_test {
 protected:
  void write_file(std::string_view contents) {
    const descriptor made = make_file(path());
    ASSERT_EQ(::write(made.get(), contents.data(), contents.size()),
              static_cast<ssize_t>(contents.size()));
  }
  std::string contents() const {
    const std::vector<std::byte> bytes = contents_of(path());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static std::string all_of(std::streambuf& from) {
    return {std::istreambuf_iterator<char>(&from), std::istreambuf_iterator<char>()};
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, streambuf_test, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

// Of a buffered stream: two with a limit of 4 on one source; one that is written and read.
TEST_P(streambuf_test, e_t9_buffered_stream) {
  write_file("01234567");
  reader in(open_for(O_RDONLY));
  {
    streambuf first(*context_, &in, nullptr, 4);
    EXPECT_EQ(all_of(first), "0123");
    EXPECT_EQ(all_of(first), "");
  }
  {
    streambuf second(*context_, &in, nullptr, 4);
    EXPECT_EQ(all_of(second), "4567");
  }
  write_file("");
  writer out(open_for(O_WRONLY));
  reader again(open_for(O_RDONLY));
  streambuf both(*context_, &again, &out);
  std::ostream to(&both);
  to << "01" << "23" << "45" << "67" << std::flush;
  std::istream from(&both);
  std::string text;
  from >> text;
  EXPECT_EQ(text, "01234567");
}

TEST_P(streambuf_test, what_was_not_read_is_left_to_the_next) {
  write_file("01234567");
  reader in(open_for(O_RDONLY));
  {
    streambuf first(*context_, &in, nullptr);
    EXPECT_EQ(first.sbumpc(), '0');
  }
  {
    streambuf second(*context_, &in, nullptr, 4);
    EXPECT_EQ(second.sbumpc(), '1');
    second.skip_rest();
    EXPECT_EQ(second.sbumpc(), std::char_traits<char>::eof());
  }
  streambuf third(*context_, &in, nullptr);
  EXPECT_EQ(all_of(third), "567");
}

TEST_P(streambuf_test, lines_and_numbers_over_many_blocks) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i) + '\n';
  {
    writer out(open_for(O_WRONLY | O_CREAT), {.block_size = page, .blocks = 3});
    streambuf to(*context_, nullptr, &out);
    std::ostream stream(&to);
    for (int i = 0; i < 20'000; ++i) stream << i << '\n';
    EXPECT_TRUE(stream.flush().good());
  }
  EXPECT_TRUE(contents() == text);
  reader in(open_for(O_RDONLY), {.block_size = page, .blocks = 3});
  streambuf from(*context_, &in, nullptr);
  std::istream stream(&from);
  int expected = 0;
  for (int number = 0; stream >> number; ++expected) ASSERT_EQ(number, expected);
  EXPECT_EQ(expected, 20'000);
}

TEST_P(streambuf_test, seeking) {
  write_file("0123456789");
  reader in(open_for(O_RDONLY));
  streambuf from(*context_, &in, nullptr);
  std::istream stream(&from);
  EXPECT_EQ(stream.get(), '0');
  EXPECT_EQ(stream.tellg(), 1);
  EXPECT_EQ(stream.get(), '1');
  stream.seekg(7);
  EXPECT_EQ(stream.get(), '7');
  stream.seekg(-6, std::ios_base::cur);
  EXPECT_EQ(stream.get(), '2');
  stream.seekg(-100, std::ios_base::cur);
  EXPECT_TRUE(stream.fail());
}

TEST_P(streambuf_test, a_limit_of_what_is_written_is_exact) {
  for (const std::size_t limit : {std::size_t{0}, std::size_t{5}, page, 2 * page + 1}) {
    ::unlink(path().c_str());
    const std::string text(3 * page, 'x');
    {
      writer out(open_for(O_WRONLY | O_CREAT));
      streambuf to(*context_, nullptr, &out, limit);
      EXPECT_EQ(to.sputn(text.data(), static_cast<std::streamsize>(text.size())),
                static_cast<std::streamsize>(limit));
      EXPECT_EQ(to.pubsync(), 0);
      EXPECT_FALSE(to.error());
    }
    EXPECT_EQ(contents().size(), limit);
  }
}

TEST_P(streambuf_test, errors_are_told) {
  write_file("text");
  use_faults({.decide = [](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::read) return -EIO;
    return what.op == opcode::write ? std::optional(-ENOSPC) : std::nullopt;
  }});
  reader in(open_for(O_RDONLY));
  streambuf from(*context_, &in, nullptr);
  EXPECT_EQ(from.sgetc(), std::char_traits<char>::eof());
  EXPECT_EQ(from.error(), std::errc::io_error);
  writer out(open_for(O_WRONLY));
  streambuf to(*context_, nullptr, &out);
  EXPECT_EQ(to.sputc('x'), 'x');
  EXPECT_EQ(to.pubsync(), -1);
  EXPECT_EQ(to.error(), std::errc::no_space_on_device);
}

TEST_P(streambuf_test, a_plain_thread_blocks_while_an_io_thread_works) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i) + ' ';
  write_file(text);
  context_.reset();
  io_thread thread(open_driver_named(GetParam()));
  const auto open_there = [&](int flags) {
    return file(thread.context(), open_file(path(), flags).release());
  };
  // Made and destroyed there, since a stream belongs to its context's thread.
  std::optional<reader> in(std::in_place, open_there(O_RDONLY),
                           reader_options{.block_size = page, .blocks = 3});
  {
    streambuf from(thread, &*in, nullptr);
    EXPECT_TRUE(all_of(from) == text);
  }
  spawn(thread.context(), [](std::optional<reader>& gone) -> task<void> {
    gone.reset();
    co_return;
  }(in));
  thread.finish();
  EXPECT_FALSE(in.has_value());
}

}  // namespace
}  // namespace weir::testing
