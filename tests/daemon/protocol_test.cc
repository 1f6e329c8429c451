// What is a sound message, and what is none (S-T18): whatever a client sends, it is judged by its
// bytes alone.

#include "daemon/protocol.hpp"

#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

using detail::daemon::check;
using detail::daemon::descriptors_of;
using detail::daemon::path_max;
using detail::daemon::to_the_end;
namespace transfer_flag = detail::daemon::transfer_flag;

int error_of(const std::vector<std::byte>& bytes, std::size_t descriptors, bool cut_off = false) {
  const auto judged = check({.bytes = bytes, .descriptors = descriptors, .cut_off = cut_off});
  return judged ? 0 : judged.error();
}

const message all_of_a_path[] = {message::read,        message::send,    message::open,
                                 message::read_memory, message::receive, message::write_memory,
                                 message::stat,        message::sync};

wanted sound_range(message kind) {
  const bool memory = kind == message::read_memory || kind == message::write_memory;
  return {.offset = 1, .length = memory ? 2 : to_the_end, .memory_offset = 3, .tag = 4};
}

TEST(protocol, a_sound_message_is_read_back_as_it_was_written) {
  for (const message kind : all_of_a_path) {
    const auto bytes = path_frame(kind, "a/b", sound_range(kind));
    const auto judged = check({.bytes = bytes, .descriptors = descriptors_of(kind).most});
    ASSERT_TRUE(judged) << static_cast<int>(kind);
    EXPECT_EQ(judged->header.kind, kind);
    EXPECT_EQ(judged->header.tag, 4U);
    EXPECT_EQ(judged->file.offset, 1U);
    EXPECT_EQ(judged->path, "a/b");
  }
  const auto bytes = id_frame(message::cancel, 0x123456789abcdef0, 7);
  const auto judged = check({.bytes = bytes});
  ASSERT_TRUE(judged);
  EXPECT_EQ(judged->id, 0x123456789abcdef0U);
  EXPECT_EQ(judged->header.tag, 7U);
}

TEST(protocol, every_length_below_the_whole_is_refused) {
  for (const message kind : all_of_a_path) {
    const auto bytes = path_frame(kind, "a/b", sound_range(kind));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const std::vector<std::byte> part(bytes.begin(),
                                        bytes.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(error_of(part, descriptors_of(kind).most), EBADMSG);
    }
  }
}

TEST(protocol, paths_have_a_length_and_no_end_mark) {
  EXPECT_EQ(error_of(path_frame(message::read, ""), 1), EBADMSG);
  EXPECT_EQ(error_of(path_frame(message::read, std::string_view("a\0b", 3)), 1), EBADMSG);
  EXPECT_EQ(error_of(path_frame(message::read, std::string(path_max, 'x')), 1), 0);
  EXPECT_EQ(error_of(path_frame(message::read, std::string(path_max + 1, 'x')), 1), ENAMETOOLONG);
}

TEST(protocol, ranges_end_where_a_file_can_end) {
  const auto judged = [](std::uint64_t offset, std::uint64_t length) {
    return error_of(path_frame(message::read, "a", {.offset = offset, .length = length}), 1);
  };
  EXPECT_EQ(judged(INT64_MAX, 0), 0);
  EXPECT_EQ(judged(INT64_MAX, 1), EINVAL);
  EXPECT_EQ(judged(1, INT64_MAX), EINVAL);
  EXPECT_EQ(judged(std::uint64_t{INT64_MAX} + 1, 0), EINVAL);
  EXPECT_EQ(judged(INT64_MAX, to_the_end), 0);
  EXPECT_EQ(judged(0, to_the_end - 1), EINVAL);
}

TEST(protocol, each_kind_has_its_flags_and_its_descriptors) {
  for (const message kind : all_of_a_path) {
    for (std::uint32_t bit = 1; bit != 0; bit <<= 1U) {
      wanted what = sound_range(kind);
      what.flags = bit;
      const int error = error_of(path_frame(kind, "a", what), descriptors_of(kind).most);
      const bool known = bit <= transfer_flag::data_only && error == 0;
      EXPECT_TRUE(known || error == EINVAL) << static_cast<int>(kind) << ", flag " << bit;
    }
    const auto sound = path_frame(kind, "a", sound_range(kind));
    const auto [least, most] = descriptors_of(kind);
    for (std::size_t count = 0; count <= most + 2; ++count) {
      const bool fits = count >= least && count <= most;
      EXPECT_EQ(error_of(sound, count), fits ? 0 : EBADMSG);
    }
    EXPECT_EQ(error_of(sound, most, true), EMSGSIZE);
  }
}

// The seed is said by the test's name: what once failed can be had again.
TEST(protocol, chance_finds_nothing_that_is_taken_for_more_than_it_is) {
  std::minstd_rand random(6);
  for (int i = 0; i < 200'000; ++i) {
    auto bytes = path_frame(static_cast<message>(random() % 18), "abc",
                            {.offset = random() % 5, .length = random() % 5});
    for (auto changes = random() % 6; changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    bytes.resize(bytes.size() - random() % 3);
    const auto judged = check({.bytes = bytes, .descriptors = random() % 4});
    if (!judged) continue;
    EXPECT_EQ(judged->header.size, bytes.size());
    EXPECT_LE(judged->path.size(), bytes.size());
    EXPECT_TRUE(judged->file.length == to_the_end ||
                judged->file.offset + judged->file.length <= INT64_MAX);
    if (!judged->path.empty()) {
      const auto* const end = reinterpret_cast<const char*>(bytes.data() + bytes.size());
      EXPECT_EQ(judged->path.data() + judged->path.size(), end);
    }
  }
}

}  // namespace
}  // namespace weir::testing
