// What a copy has: the source's bytes and holes, by whichever route, over every driver; and which
// route is taken when another is refused.

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "transfer/transfer_support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t large = (std::size_t{3} << 20) + 12'345;
constexpr std::size_t block = 4096;

class copy_file_test : public transfer_test {
 protected:
  transfer_outcome copy(file& from, file& to, copy_part part = {}, transfer_options options = {}) {
    return context_->run(copy_file(from, to, part, std::move(options)));
  }
  /// The driver answers requests of these kinds with EOPNOTSUPP.
  void refuse(std::set<opcode> refused) {
    use_faults({.decide = [refused = std::move(refused)](
                              const request& what) -> std::optional<std::int32_t> {
      if (refused.contains(what.op)) return -EOPNOTSUPP;
      return std::nullopt;
    }});
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, copy_file_test, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

TEST_P(copy_file_test, every_size_by_every_route) {
  for (const auto route : {transfer_route::automatic, transfer_route::buffered}) {
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, block, block + 1, std::size_t{512} << 10, large}) {
      file from = patterned(size);
      file to = empty_target();
      const transfer_outcome outcome = copy(from, to, {}, {.route = route});
      EXPECT_TRUE(succeeded(outcome, size));
      EXPECT_EQ(outcome.routes.none(), size == 0);
      const auto bytes = contents_of(target());
      EXPECT_EQ(bytes.size(), size);
      EXPECT_TRUE(holds_pattern(bytes, 0));
    }
  }
}

TEST_P(copy_file_test, a_part_to_another_place) {
  for (const auto route : {transfer_route::automatic, transfer_route::buffered}) {
    file from = patterned(large);
    file to = empty_target();
    const copy_part part{.from_offset = 5001, .to_offset = 3, .length = 1'000'000};
    EXPECT_TRUE(succeeded(copy(from, to, part, {.route = route}), 1'000'000));
    const auto bytes = contents_of(target());
    ASSERT_EQ(bytes.size(), 1'000'003);
    EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(3), 5001));
  }
}

TEST_P(copy_file_test, more_than_there_is_is_a_short_read) {
  for (const auto route : {transfer_route::automatic, transfer_route::buffered}) {
    file from = patterned(large);
    file to = empty_target();
    const transfer_outcome outcome =
        copy(from, to, {.from_offset = 1000, .length = large}, {.route = route});
    EXPECT_EQ(outcome.error, errc::short_read);
    EXPECT_EQ(outcome.transferred, large - 1000);
    EXPECT_TRUE(holds_pattern(contents_of(target()), 1000));
  }
}

TEST_P(copy_file_test, what_one_route_refuses_the_next_one_does) {
  refuse({opcode::clone_range});
  file from = patterned(large);
  file to = empty_target();
  EXPECT_TRUE(copy(from, to).routes.has(transfer_route::copy_file_range));
  refuse({opcode::clone_range, opcode::copy_file_range});
  from = patterned(large);
  to = empty_target();
  transfer_routes through_memory;
  through_memory.add(transfer_route::buffered);
  const transfer_outcome outcome = copy(from, to);
  EXPECT_TRUE(succeeded(outcome, large));
  EXPECT_EQ(outcome.routes, through_memory);
  EXPECT_TRUE(holds_pattern(contents_of(target()), 0));
}

// What a file system without shared blocks says is not tried on.
TEST_P(copy_file_test, a_forced_route_that_is_refused_fails) {
  refuse({opcode::clone_range, opcode::copy_file_range});
  for (const auto route : {transfer_route::reflink, transfer_route::copy_file_range}) {
    file from = patterned(large);
    file to = empty_target();
    const transfer_outcome outcome = copy(from, to, {}, {.route = route});
    EXPECT_TRUE(failed_with(outcome, std::errc::operation_not_supported));
    EXPECT_EQ(outcome.transferred, 0);
  }
}

// By a driver that says it has shared the blocks: nothing else is done then.
TEST_P(copy_file_test, what_has_been_shared_is_not_copied) {
  request asked;
  use_faults({.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op != opcode::clone_range) return std::nullopt;
    asked = what;
    return 0;
  }});
  file from = patterned(large);
  file to = empty_target();
  const transfer_outcome outcome = copy(from, to);
  EXPECT_TRUE(succeeded(outcome, large));
  transfer_routes shared;
  shared.add(transfer_route::reflink);
  EXPECT_EQ(outcome.routes, shared);
  EXPECT_EQ(asked.fd, from.native_handle());
  EXPECT_EQ(asked.mode, static_cast<std::uint32_t>(to.native_handle()));
  EXPECT_EQ(asked.length, large);
  EXPECT_TRUE(contents_of(target()).empty());
}

TEST_P(copy_file_test, a_file_onto_itself_is_refused) {
  file from = patterned(1000, O_RDWR);
  file again(*context_, open_file(path(), O_RDWR).release());
  EXPECT_TRUE(failed_with(copy(from, again), std::errc::invalid_argument));
  EXPECT_TRUE(failed_with(copy(from, from), std::errc::invalid_argument));
  EXPECT_TRUE(holds_pattern(contents_of(path()), 0));
}

// Data, a hole, data, and a hole at the end.
class sparse_copy : public copy_file_test {
 protected:
  static constexpr std::size_t hole = std::size_t{1} << 20;
  static constexpr std::size_t size = 4 * hole;

  file sparse_source() {
    const descriptor made = make_file(path(), size);
    std::vector<std::byte> data(hole);
    for (const std::size_t at : {std::size_t{0}, 2 * hole}) {
      fill(data, at);
      EXPECT_EQ(::pwrite(made.get(), data.data(), hole, static_cast<off_t>(at)),
                static_cast<ssize_t>(hole));
    }
    return file(*context_, open_file(path(), O_RDONLY).release());
  }
  static bool has_holes(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 &&
           static_cast<std::size_t>(status.st_blocks) * 512 < size;
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, sparse_copy, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(sparse_copy, holes_stay_holes) {
  for (const bool target_has_data : {false, true}) {
    for (const auto route : {transfer_route::automatic, transfer_route::buffered}) {
      file from = sparse_source();
      if (!has_holes(path())) GTEST_SKIP() << "SKIPPED: no holes on this file system";
      if (target_has_data) make_patterned_file(target(), size + 10);
      file to = empty_target(target_has_data ? O_RDWR : O_RDWR | O_CREAT | O_TRUNC);
      EXPECT_TRUE(succeeded(copy(from, to, {}, {.route = route}), size));
      const auto bytes = contents_of(target());
      ASSERT_EQ(bytes.size(), target_has_data ? size + 10 : size);
      const std::span all(bytes);
      EXPECT_TRUE(holds_pattern(all.first(hole), 0));
      EXPECT_TRUE(holds_only(all.subspan(hole, hole), std::byte{0}));
      EXPECT_TRUE(holds_pattern(all.subspan(2 * hole, hole), 2 * hole));
      EXPECT_TRUE(holds_only(all.subspan(3 * hole, hole), std::byte{0}));
      EXPECT_TRUE(holds_pattern(all.subspan(size), size));
      EXPECT_TRUE(has_holes(target()));
    }
  }
}

TEST_P(copy_file_test, past_the_page_cache) {
  make_patterned_file(path(), large);
  descriptor source = open_direct(path());
  descriptor destination = open_direct(target());
  if (!source || !destination) GTEST_SKIP() << "SKIPPED: no O_DIRECT on this file system";
  file from(*context_, source.release());
  file to(*context_, destination.release());
  EXPECT_TRUE(succeeded(copy(from, to), large));
  const auto bytes = contents_of(target());
  EXPECT_EQ(bytes.size(), large);
  EXPECT_TRUE(holds_pattern(bytes, 0));
}

// What the file system says of it is told; the count is right.
TEST_P(copy_file_test, past_the_page_cache_at_odd_places) {
  make_patterned_file(path(), large);
  descriptor source = open_direct(path());
  descriptor destination = open_direct(target());
  if (!source || !destination) GTEST_SKIP() << "SKIPPED: no O_DIRECT on this file system";
  file from(*context_, source.release());
  file to(*context_, destination.release());
  for (const copy_part part : {copy_part{.from_offset = 5}, copy_part{.to_offset = 5}}) {
    ASSERT_EQ(::ftruncate(to.native_handle(), 0), 0);
    const transfer_outcome outcome = copy(from, to, part);
    EXPECT_TRUE(outcome || outcome.error == std::errc::invalid_argument);
    const auto bytes = contents_of(target());
    if (outcome.transferred == 0) continue;
    EXPECT_EQ(bytes.size(), part.to_offset + outcome.transferred);
    EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(part.to_offset), part.from_offset));
  }
}

TEST_P(copy_file_test, appending_ignores_the_place) {
  file from = patterned(large);
  make_patterned_file(target(), 5);
  file to = empty_target(O_WRONLY | O_APPEND);
  EXPECT_TRUE(succeeded(copy(from, to, {.to_offset = 1}), large));
  const auto bytes = contents_of(target());
  ASSERT_EQ(bytes.size(), large + 5);
  EXPECT_TRUE(holds_pattern(std::span(bytes).subspan(5), 0));
}

TEST_P(copy_file_test, a_full_disk_ends_it_with_what_was_written) {
  std::uint64_t writes = 0;
  use_faults({.decide = [&](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::clone_range || what.op == opcode::copy_file_range) return -EXDEV;
    if (what.op == opcode::write && ++writes == 3) return -ENOSPC;
    return std::nullopt;
  }});
  file from = patterned(large);
  file to = empty_target();
  const transfer_outcome outcome = copy(from, to);
  EXPECT_TRUE(failed_with(outcome, std::errc::no_space_on_device));
  EXPECT_EQ(outcome.transferred, contents_of(target()).size());
  EXPECT_EQ(outcome.transferred, std::size_t{1} << 20);
}

}  // namespace
}  // namespace weir::testing
