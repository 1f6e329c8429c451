// What a server needs besides reads and writes: names, links, advice, copying from file to file,
// attributes, and memory that is used again and again. Each test runs on each driver, and the
// answers are those of the system calls.

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "perform.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;  // what O_DIRECT is content with everywhere
constexpr std::uint64_t no_offset = UINT64_MAX;
constexpr std::uint64_t biggest = INT64_MAX;

std::uint64_t address_of(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }
void* as_address(std::uint64_t number) { return reinterpret_cast<void*>(number); }
std::uint32_t second(int fd) { return static_cast<std::uint32_t>(fd); }

/// A path stays where it is as long as the request that names it.
void* path_of(const std::string& path) { return const_cast<char*>(path.c_str()); }

request open_within(int directory, const std::string& path, const open_how& how) {
  return {.op = opcode::openat2,
          .fd = directory,
          .address = path_of(path),
          .offset = address_of(&how),
          .length = sizeof how};
}

request on_two_paths(opcode op, const std::string& from, const std::string& to,
                     std::uint32_t flags = 0) {
  return {.op = op,
          .fd = AT_FDCWD,
          .flags = flags,
          .mode = second(AT_FDCWD),
          .address = path_of(from),
          .offset = address_of(to.c_str())};
}

request remove_request(const std::string& path, std::uint32_t flags = 0) {
  return {.op = opcode::unlinkat, .fd = AT_FDCWD, .flags = flags, .address = path_of(path)};
}

request from_file_to_file(opcode op, int from, std::uint64_t from_offset, int to,
                          std::uint64_t to_offset, std::uint64_t length) {
  return {.op = op,
          .fd = from,
          .mode = second(to),
          .address = as_address(to_offset),
          .offset = from_offset,
          .length = length};
}

request attribute_request(opcode op, int fd, const char* name, std::span<const char> value,
                          std::uint32_t flags = 0) {
  return {.op = op,
          .fd = fd,
          .flags = flags,
          .address = const_cast<char*>(value.data()),
          .offset = address_of(name),
          .length = value.size()};
}

class operations : public driver_test {
 protected:
  io_context& context(const driver_options& options = {}) {
    if (!context_) context_ = open_context(GetParam(), options);
    return *context_;
  }

  std::int32_t answer_to(const request& what) {
    recorded op(what);
    context().start(op);
    context().run();
    EXPECT_EQ(op.completions, 1);
    return op.answer();
  }

  bool is_uring() const { return innermost(GetParam()) == "uring"; }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

INSTANTIATE_TEST_SUITE_P(drivers, operations, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

// --- names ---------------------------------------------------------------------------------------

TEST_P(operations, open_a_file_and_nothing_outside_its_directory) {
  make_patterned_file(directory_ / "file", 100);
  ASSERT_EQ(::mkdir((directory_ / "inner").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("/", (directory_ / "inner/root").c_str()), 0);
  const descriptor inner = open_file(directory_ / "inner", O_RDONLY | O_DIRECTORY);
  open_how how{.flags = O_CREAT | O_RDWR | O_CLOEXEC, .mode = 0640, .resolve = RESOLVE_BENEATH};
  const descriptor made(answer_to(open_within(inner.get(), "made", how)));
  ASSERT_TRUE(made);
  struct stat status{};
  ASSERT_EQ(::fstat(made.get(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640);
  how = {.flags = O_RDONLY, .mode = 0, .resolve = RESOLVE_BENEATH};
  EXPECT_EQ(answer_to(open_within(inner.get(), "../file", how)), -EXDEV);
  EXPECT_EQ(answer_to(open_within(inner.get(), "/etc/passwd", how)), -EXDEV);
  EXPECT_EQ(answer_to(open_within(inner.get(), "root/etc/passwd", how)), -EXDEV);
  EXPECT_EQ(answer_to(open_within(inner.get(), "missing", how)), -ENOENT);
  how.resolve = 0;
  const descriptor outside(answer_to(open_within(inner.get(), "../file", how)));
  EXPECT_TRUE(outside);
}

TEST_P(operations, rename_a_file) {
  const std::string from = directory_ / "from";
  const std::string to = directory_ / "to";
  make_patterned_file(from, 100);
  EXPECT_EQ(answer_to(on_two_paths(opcode::renameat, from, to)), 0);
  EXPECT_EQ(contents_of(to).size(), 100);
  EXPECT_EQ(answer_to(on_two_paths(opcode::renameat, from, to)), -ENOENT);
  make_patterned_file(from, 50);
  EXPECT_EQ(answer_to(on_two_paths(opcode::renameat, from, to, RENAME_NOREPLACE)), -EEXIST);
  EXPECT_EQ(answer_to(on_two_paths(opcode::renameat, from, to, RENAME_EXCHANGE)), 0);
  EXPECT_EQ(contents_of(to).size(), 50);
  EXPECT_EQ(contents_of(from).size(), 100);
}

TEST_P(operations, rename_from_one_directory_into_another) {
  make_patterned_file(directory_ / "file", 100);
  ASSERT_EQ(::mkdir((directory_ / "inner").c_str(), 0700), 0);
  const descriptor outer = open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
  const descriptor inner = open_file(directory_ / "inner", O_RDONLY | O_DIRECTORY);
  const std::string name = "file";
  request what = on_two_paths(opcode::renameat, name, name);
  what.fd = outer.get();
  what.mode = second(inner.get());
  EXPECT_EQ(answer_to(what), 0);
  EXPECT_EQ(contents_of(directory_ / "inner/file").size(), 100);
}

TEST_P(operations, make_and_remove_directories) {
  const std::string path = directory_ / "made";
  const request make{.op = opcode::mkdirat, .fd = AT_FDCWD, .mode = 0750, .address = path_of(path)};
  EXPECT_EQ(answer_to(make), 0);
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_TRUE(S_ISDIR(status.st_mode));
  EXPECT_EQ(status.st_mode & 0777, 0750);
  EXPECT_EQ(answer_to(make), -EEXIST);
  make_file(path + "/file");
  EXPECT_EQ(answer_to(remove_request(path)), -EISDIR);
  EXPECT_EQ(answer_to(remove_request(path, AT_REMOVEDIR)), -ENOTEMPTY);
  EXPECT_EQ(answer_to(remove_request(path + "/file", AT_REMOVEDIR)), -ENOTDIR);
  EXPECT_EQ(answer_to(remove_request(path + "/file")), 0);
  EXPECT_EQ(answer_to(remove_request(path, AT_REMOVEDIR)), 0);
  EXPECT_EQ(answer_to(remove_request(path, AT_REMOVEDIR)), -ENOENT);
}

TEST_P(operations, link_files) {
  const std::string file = directory_ / "file";
  const std::string same = directory_ / "same";
  const std::string text = "a target that need not exist";
  const std::string link = directory_ / "link";
  make_patterned_file(file, 100);
  EXPECT_EQ(answer_to(on_two_paths(opcode::linkat, file, same)), 0);
  struct stat status{};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_nlink, 2);
  EXPECT_EQ(answer_to(on_two_paths(opcode::linkat, file, same)), -EEXIST);
  EXPECT_EQ(answer_to(on_two_paths(opcode::symlinkat, text, link)), 0);
  std::array<char, 100> target{};
  ASSERT_EQ(::readlink(link.c_str(), target.data(), target.size()),
            static_cast<ssize_t>(text.size()));
  EXPECT_EQ(target.data(), text);
  EXPECT_EQ(answer_to(on_two_paths(opcode::symlinkat, text, link)), -EEXIST);
  const std::string linked = directory_ / "linked";
  EXPECT_EQ(answer_to(on_two_paths(opcode::linkat, link, linked, AT_SYMLINK_FOLLOW)), -ENOENT);
}

// A thousand names do not fit into the memory, so that the place in the directory has to be kept.
TEST_P(operations, list_a_directory_completely) {
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < 1000; ++i) {
    expected.insert("a name of some length " + std::to_string(i));
    make_file(directory_ / ("a name of some length " + std::to_string(i)));
  }
  const descriptor folder = open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
  std::multiset<std::string> seen;
  std::array<std::byte, block> memory{};
  const request what{.op = opcode::getdents,
                     .fd = folder.get(),
                     .address = memory.data(),
                     .length = memory.size()};
  int pieces = 0;
  for (std::int32_t count = answer_to(what); count != 0; count = answer_to(what)) {
    ASSERT_GT(count, 0);
    ++pieces;
    for (std::int32_t at = 0; at < count;) {
      const auto* entry = reinterpret_cast<const dirent64*>(&memory[static_cast<std::size_t>(at)]);
      seen.insert(entry->d_name);
      at += entry->d_reclen;
    }
  }
  EXPECT_GT(pieces, 2);
  EXPECT_TRUE(std::ranges::equal(seen, expected));
}

TEST_P(operations, keep_attributes) {
  const descriptor file = make_file(directory_ / "file");
  const char* const name = "user.weir.test";
  const std::string value = "a value of an attribute";
  if (::fsetxattr(file.get(), name, "", 0, 0) != 0 && errno == EOPNOTSUPP) {
    GTEST_SKIP() << "the file system of $TMPDIR or /var/tmp has no extended attributes";
  }
  std::array<char, 100> read{};
  const auto set = [&](std::uint32_t flags) {
    return answer_to(attribute_request(opcode::fsetxattr, file.get(), name, value, flags));
  };
  const auto get = [&](std::span<const char> into) {
    return answer_to(attribute_request(opcode::fgetxattr, file.get(), name, into));
  };
  EXPECT_EQ(set(XATTR_CREATE), -EEXIST);
  EXPECT_EQ(set(0), 0);
  EXPECT_EQ(set(XATTR_REPLACE), 0);
  EXPECT_EQ(get({}), static_cast<std::int32_t>(value.size()));  // how long it is
  EXPECT_EQ(get(read), static_cast<std::int32_t>(value.size()));
  EXPECT_EQ(read.data(), value);
  EXPECT_EQ(get(std::span(read).first(3)), -ERANGE);
  ASSERT_EQ(::fremovexattr(file.get(), name), 0);
  EXPECT_EQ(get(read), -ENODATA);
  EXPECT_EQ(set(XATTR_REPLACE), -ENODATA);
  const std::vector<char> huge(100'000);
  EXPECT_EQ(answer_to(attribute_request(opcode::fsetxattr, file.get(), name, huge)), -E2BIG);
}

// --- advice --------------------------------------------------------------------------------------

// io_uring's queue entries have 32 bits for these lengths.
constexpr std::uint64_t long_length = std::uint64_t{6} << 30;

TEST_P(operations, advise_on_a_file) {
  const descriptor file = make_patterned_file(directory_ / "file", 10 * block);
  for (const int advice : {POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
                           POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE}) {
    for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{block}, long_length}) {
      const request what{.op = opcode::fadvise,
                         .fd = file.get(),
                         .flags = static_cast<std::uint32_t>(advice),
                         .length = length};
      EXPECT_EQ(answer_to(what), 0) << advice << " " << length;
    }
  }
}

// What the kernel was told shows: pages that are not needed are gone, far ones too.
TEST_P(operations, advise_on_memory) {
  constexpr std::size_t size = long_length + block;
  void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const std::span memory(static_cast<std::byte*>(mapped), size);
  for (const std::size_t length : {block, size}) {
    memory.front() = memory.back() = std::byte{7};
    const request what{
        .op = opcode::madvise, .flags = MADV_DONTNEED, .address = mapped, .length = length};
    EXPECT_EQ(answer_to(what), 0);
    EXPECT_EQ(memory.front(), std::byte{0});
    EXPECT_EQ(memory.back(), std::byte(length == block ? 7 : 0));
  }
  ::munmap(mapped, size);
}

TEST_P(operations, write_out_a_part_of_a_file) {
  const descriptor file = make_patterned_file(directory_ / "file", 10 * block);
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{block}, long_length}) {
    const request what{.op = opcode::sync_file_range,
                       .fd = file.get(),
                       .flags = SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER,
                       .offset = block,
                       .length = length};
    EXPECT_EQ(answer_to(what), 0) << length;
  }
}

// --- from file to file ---------------------------------------------------------------------------

TEST_P(operations, splice_from_a_file_through_a_pipe_into_another) {
  const descriptor from = make_patterned_file(directory_ / "from", 1000);
  const descriptor to = make_file(directory_ / "to");
  const pipe_ends pipe = make_pipe();
  const auto in = [&](std::uint64_t offset) {
    return answer_to(
        from_file_to_file(opcode::splice, from.get(), offset, pipe.write.get(), no_offset, 400));
  };
  const auto out = [&](std::uint64_t offset) {
    return answer_to(
        from_file_to_file(opcode::splice, pipe.read.get(), no_offset, to.get(), offset, 10'000));
  };
  EXPECT_EQ(in(700), 300);
  EXPECT_EQ(out(50), 300);
  const auto now = contents_of(directory_ / "to");
  ASSERT_EQ(now.size(), 350);
  EXPECT_TRUE(holds_pattern(std::span(now).subspan(50), 700));
  EXPECT_EQ(in(1000), 0);
  EXPECT_EQ(in(5000), 0);
  // By the file's own position.
  EXPECT_EQ(in(no_offset), 400);
  EXPECT_EQ(in(no_offset), 400);
  EXPECT_EQ(::lseek(from.get(), 0, SEEK_CUR), 800);
  EXPECT_EQ(out(no_offset), 800);
  EXPECT_EQ(::lseek(to.get(), 0, SEEK_CUR), 800);
  EXPECT_TRUE(holds_pattern(contents_of(directory_ / "to"), 0));
}

// Invariant 2. As a transfer does, on every driver.
TEST_P(operations, splice_waits_for_a_descriptor_that_does_not_block) {
  for (const int flags : {0, O_NONBLOCK}) {
    const pipe_ends from = make_pipe(flags);
    const pipe_ends to = make_pipe(flags);
    request what = from_file_to_file(opcode::splice, from.read.get(), no_offset, to.write.get(),
                                     no_offset, 100);
    std::thread feeder([&] { from.feed(4); });
    EXPECT_EQ(answer_to(what), 4);
    feeder.join();
    EXPECT_EQ(bytes_in(to), 4);
    what.flags = SPLICE_F_NONBLOCK;
    EXPECT_EQ(answer_to(what), -EAGAIN);
    from.feed(5);
    EXPECT_EQ(answer_to(what), 5);
  }
}

// Who does not wait answers EAGAIN well within that time.
TEST_P(operations, splice_goes_on_waiting) {
  if (innermost(GetParam()) == "sync")
    GTEST_SKIP() << "sync carries out in submit: it would block for ever";
  for (const int flags : {0, O_NONBLOCK}) {
    const pipe_ends from = make_pipe(flags);
    const pipe_ends to = make_pipe(flags);
    recorded moving(from_file_to_file(opcode::splice, from.read.get(), no_offset, to.write.get(),
                                      no_offset, 100));
    const auto later = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
    const std::chrono::nanoseconds when = later.time_since_epoch();
    recorded timer({.op = opcode::timeout, .offset = static_cast<std::uint64_t>(when.count())});
    context().start(moving);
    context().start(timer);
    drive_until(context(), [&] { return timer.completions == 1; });
    EXPECT_EQ(moving.completions, 0);
    from.feed(4);
    context().run();
    EXPECT_TRUE(answered(moving, 4));
  }
}

TEST_P(operations, splice_into_a_socket) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const descriptor near(ends[0]);
  const descriptor far(ends[1]);
  const pipe_ends pipe = make_pipe();
  pipe.feed(100);
  EXPECT_EQ(answer_to(from_file_to_file(opcode::splice, pipe.read.get(), no_offset, near.get(),
                                        no_offset, 100)),
            100);
  std::array<std::byte, 200> memory{};
  EXPECT_EQ(answer_to(read_request(far.get(), memory)), 100);
}

TEST_P(operations, copy_a_range_of_a_file) {
  const descriptor from = make_patterned_file(directory_ / "from", 10'000);
  const descriptor to = make_file(directory_ / "to");
  const auto copy = [&](std::uint64_t offset, std::uint64_t into, std::uint64_t length) {
    return answer_to(
        from_file_to_file(opcode::copy_file_range, from.get(), offset, to.get(), into, length));
  };
  EXPECT_EQ(copy(5000, 20, 1000), 1000);
  EXPECT_EQ(copy(9990, 1020, 1000), 10);  // to the end of the file
  EXPECT_EQ(copy(10'000, 0, 1000), 0);
  const auto now = contents_of(directory_ / "to");
  ASSERT_EQ(now.size(), 1030);
  EXPECT_TRUE(holds_pattern(std::span(now).subspan(20, 1000), 5000));
  EXPECT_TRUE(holds_pattern(std::span(now).subspan(1020), 9990));
  // By the files' own positions.
  EXPECT_EQ(copy(no_offset, no_offset, 600), 600);
  EXPECT_EQ(copy(no_offset, no_offset, UINT64_MAX), 9400);
  EXPECT_EQ(copy(no_offset, no_offset, UINT64_MAX), 0);
  EXPECT_TRUE(holds_pattern(contents_of(directory_ / "to"), 0));
}

// Few file systems share blocks; the others say so, on every driver alike.
TEST_P(operations, share_the_blocks_of_a_file) {
  const descriptor from = make_patterned_file(directory_ / "from", 2 * block);
  const descriptor to = make_file(directory_ / "to");
  const descriptor pipe = make_pipe().read;
  const auto share = [&](const descriptor& source, std::uint64_t length) {
    return answer_to(from_file_to_file(opcode::clone_range, source.get(), 0, to.get(), 0, length));
  };
  const std::int32_t answer = share(from, 0);
  if (answer == 0) {
    EXPECT_EQ(contents_of(directory_ / "to"), contents_of(directory_ / "from"));
  } else {
    EXPECT_TRUE(answer == -EOPNOTSUPP || answer == -ENOTTY) << answer;
  }
  EXPECT_LT(share(pipe, 0), 0);
}

// --- answers -------------------------------------------------------------------------------------

/// Requests that something is wrong with, and what they need.
struct odd_requests {
  explicit odd_requests(const temp_directory& directory)
      : path(directory / "file"),
        inner(directory / "inner"),
        missing(directory / "missing"),
        below_a_file(path + "/x"),
        file(make_patterned_file(path, 2 * block)),
        other(make_file(directory / "other")),
        reading(open_file(path, O_RDONLY)),
        folder(open_file(directory.path(), O_RDONLY | O_DIRECTORY)) {
    EXPECT_EQ(::mkdir(inner.c_str(), 0700), 0);
    make_file(inner + "/file");
    add_paths();
    add_openings();
    add_advice();
    add_copies();
    add_attributes();
    for (const int fd : {-1, closed_descriptor(), file.get(), pipe.read.get()}) {
      all.push_back({.op = opcode::getdents, .fd = fd, .address = memory.data(), .length = 100});
    }
    all.push_back(
        {.op = opcode::getdents, .fd = folder.get(), .address = memory.data(), .length = 5});
    all.push_back({.op = opcode::timeout, .offset = biggest + 1});
  }

  void add_paths() {
    for (const std::string* each : {&missing, &below_a_file, &empty}) {
      all.push_back({.op = opcode::unlinkat, .fd = AT_FDCWD, .address = path_of(*each)});
      all.push_back(on_two_paths(opcode::renameat, *each, path));
      all.push_back(on_two_paths(opcode::linkat, *each, path));
    }
    for (const std::string* each : {&path, &below_a_file, &empty}) {
      all.push_back({.op = opcode::mkdirat, .fd = AT_FDCWD, .address = path_of(*each)});
      all.push_back(on_two_paths(opcode::symlinkat, path, *each));
      all.push_back(on_two_paths(opcode::linkat, path, *each));
    }
    all.push_back(on_two_paths(opcode::symlinkat, empty, missing));
    all.push_back(on_two_paths(opcode::renameat, inner, path));
    all.push_back(on_two_paths(opcode::renameat, path, inner));
    all.push_back(on_two_paths(opcode::renameat, path, inner, 1u << 20));
    all.push_back(on_two_paths(opcode::linkat, inner, missing));
    all.push_back(on_two_paths(opcode::linkat, path, missing, 1u << 20));
    all.push_back(remove_request(inner));
    all.push_back(remove_request(inner, AT_REMOVEDIR));
    all.push_back(remove_request(path, AT_REMOVEDIR));
    all.push_back(remove_request(path, 1));
    for (const opcode op :
         {opcode::unlinkat, opcode::mkdirat, opcode::renameat, opcode::linkat, opcode::symlinkat}) {
      request what = on_two_paths(op, name, name);
      for (const int fd : {-1, closed_descriptor(), file.get()}) {  // the last is no directory
        what.fd = fd;
        what.mode = second(fd);
        all.push_back(what);
      }
    }
  }

  void add_openings() {
    for (const std::string* each : {&missing, &below_a_file, &empty}) {
      all.push_back(open_within(AT_FDCWD, *each, reading_how));
    }
    all.push_back(open_within(file.get(), name, reading_how));
    all.push_back(open_within(closed_descriptor(), name, reading_how));
    all.push_back(open_within(folder.get(), path, beneath));
    all.push_back(open_within(AT_FDCWD, path, unknown_flag));
    all.push_back(open_within(AT_FDCWD, path, unknown_resolve));
    all.push_back(open_within(AT_FDCWD, path, idle_mode));
    for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{1} << 20,
                                     (std::uint64_t{1} << 32) + 24, UINT64_MAX}) {
      request what = open_within(AT_FDCWD, missing, reading_how);
      what.length = size;
      all.push_back(what);
    }
    request nowhere = open_within(AT_FDCWD, path, reading_how);
    nowhere.offset = 0;
    all.push_back(nowhere);
  }

  void add_advice() {
    for (const opcode op : {opcode::fadvise, opcode::sync_file_range}) {
      for (const int fd : {-1, closed_descriptor(), pipe.read.get()}) {
        all.push_back({.op = op, .fd = fd, .length = 10});
      }
      all.push_back({.op = op, .fd = file.get(), .flags = 77});
      all.push_back({.op = op, .fd = file.get(), .offset = biggest + 1});
      all.push_back({.op = op, .fd = file.get(), .length = UINT64_MAX});
      all.push_back({.op = op, .fd = file.get(), .offset = biggest, .length = biggest});
    }
    for (const std::uint64_t length : {std::uint64_t{block}, UINT64_MAX}) {
      all.push_back({.op = opcode::madvise, .flags = 77, .address = memory.data()});
      all.push_back({.op = opcode::madvise, .address = memory.data() + 1, .length = length});
      all.push_back({.op = opcode::madvise, .address = as_address(block), .length = length});
    }
  }

  void add_copies() {
    for (const opcode op : {opcode::splice, opcode::copy_file_range}) {
      const auto add = [&](int from, std::uint64_t offset, int to, std::uint64_t into,
                           std::uint64_t length, std::uint32_t flags = 0) {
        all.push_back(from_file_to_file(op, from, offset, to, into, length));
        all.back().flags = flags;
      };
      for (const int bad : {-1, closed_descriptor()}) {
        for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{10}}) {
          add(bad, no_offset, pipe.write.get(), no_offset, length);
          add(file.get(), 0, bad, no_offset, length);
        }
      }
      add(file.get(), 0, pipe.write.get(), 0, 10);  // a pipe has no offset
      add(pipe.read.get(), 0, other.get(), 0, 10);
      add(folder.get(), 0, other.get(), 0, 10);
      add(file.get(), 0, folder.get(), 0, 10);
      add(file.get(), 0, reading.get(), 0, 10);
      add(file.get(), 0, file.get(), 5, 10);  // onto itself
      add(file.get(), 0, other.get(), biggest, 10);
      add(file.get(), biggest, other.get(), 0, 10);
      add(file.get(), biggest + 1, other.get(), 0, 10);
      add(file.get(), 0, other.get(), UINT64_MAX - 1, 10);
      add(file.get(), 2 * block, other.get(), 0, 10);
      add(file.get(), 0, pipe.read.get(), no_offset, 10);
      add(file.get(), 0, pipe.write.get(), no_offset, 10, 1u << 20);
    }
  }

  void add_attributes() {
    for (const opcode op : {opcode::fgetxattr, opcode::fsetxattr}) {
      for (const int fd : {-1, closed_descriptor()}) {
        all.push_back(attribute_request(op, fd, "user.weir", value));
      }
      all.push_back(attribute_request(op, file.get(), "", value));
      all.push_back(attribute_request(op, file.get(), "nobody.knows", value));
      all.push_back(attribute_request(op, file.get(), nullptr, value));
      all.push_back(attribute_request(op, file.get(), long_name.c_str(), value));
    }
    all.push_back(attribute_request(opcode::fgetxattr, file.get(), "user.weir", value));
    all.push_back(attribute_request(opcode::fsetxattr, file.get(), "user.weir", value, 77));
    all.push_back(attribute_request(opcode::fsetxattr, reading.get(), "user.weir", value, 77));
  }

  std::string path, inner, missing, below_a_file;
  std::string empty, name = "inner", long_name = std::string(1000, 'x');
  descriptor file, other, reading, folder;
  pipe_ends pipe = make_pipe();
  open_how reading_how{.flags = O_RDONLY, .mode = 0, .resolve = 0};
  open_how beneath{.flags = O_RDONLY, .mode = 0, .resolve = RESOLVE_BENEATH};
  open_how unknown_flag{.flags = std::uint64_t{1} << 40, .mode = 0, .resolve = 0};
  open_how unknown_resolve{.flags = O_RDONLY, .mode = 0, .resolve = std::uint64_t{1} << 40};
  open_how idle_mode{.flags = O_RDONLY, .mode = 0600, .resolve = 0};
  buffer memory{2 * block};
  std::array<char, 10> value{};
  std::vector<request> all;
};

std::string in_words(const request& what) {
  return "opcode " + std::to_string(static_cast<int>(what.op)) + " fd " + std::to_string(what.fd) +
         " flags " + std::to_string(what.flags) + " mode " +
         std::to_string(static_cast<int>(what.mode)) + " address " +
         std::to_string(address_of(what.address)) + " offset " + std::to_string(what.offset) +
         " length " + std::to_string(what.length);
}

// Invariant 2. `perform` is the system call itself, and what the sync driver answers.
TEST_P(operations, answer_odd_requests_as_the_system_call_does) {
  const odd_requests odd(directory_);
  for (const request& what : odd.all) {
    EXPECT_EQ(answer_to(what), detail::perform(what)) << in_words(what);
  }
}

// Invariant 3
TEST_P(operations, that_are_odd_do_not_affect_their_neighbours) {
  const odd_requests odd(directory_);
  const descriptor good = make_patterned_file(directory_ / "good", odd.all.size() * 10);
  std::vector<std::byte> read(odd.all.size() * 10);
  batch bad_ones;
  batch good_ones;
  for (std::size_t i = 0; i < odd.all.size(); ++i) {
    add(bad_ones, odd.all[i]);
    add(good_ones, read_request(good.get(), std::span(read).subspan(10 * i, 10), 10 * i));
    context().start(*bad_ones.back());
    context().start(*good_ones.back());
  }
  context().run();
  EXPECT_TRUE(all_answered(good_ones, 10));
  EXPECT_TRUE(holds_pattern(read, 0));
  for (const auto& op : bad_ones) EXPECT_EQ(op->completions, 1) << in_words(op->args);
}

// --- memory --------------------------------------------------------------------------------------

request on_memory(opcode op, std::span<std::byte> memory) {
  return {.op = op, .address = memory.data(), .length = memory.size()};
}

/// Writes `memory` and reads it back, in pieces, all at once.
void carry_through(io_context& context, int fd, std::span<std::byte> memory, std::uint8_t hints) {
  constexpr std::size_t piece = 2 * block;
  fill(memory, 0);
  for (const opcode op : {opcode::write, opcode::read}) {
    batch pieces;
    for (std::size_t at = 0; at < memory.size(); at += piece) {
      add(pieces, {.op = op,
                   .hints = hints,
                   .fd = fd,
                   .address = memory.data() + at,
                   .offset = at,
                   .length = piece});
    }
    start_all(context, pieces);
    context.run();
    EXPECT_TRUE(all_answered(pieces, piece));
    if (op == opcode::write) std::ranges::fill(memory, std::byte{0});
  }
  EXPECT_TRUE(holds_pattern(memory, 0));
}

// Regions with gaps between: pieces lie within one, beside one, and across the end of one.
TEST_P(operations, move_the_right_bytes_within_and_beside_registered_memory) {
  const descriptor buffered = make_file(directory_ / "buffered");
  const descriptor direct = open_direct(directory_ / "direct");
  buffer memory(64 * block);
  std::vector<std::span<std::byte>> regions;
  for (const std::size_t at : {40uz, 1uz, 10uz, 60uz, 17uz, 22uz}) {
    regions.push_back(memory.span().subspan(at * block, at == 10 ? 7 * block : 3 * block));
  }
  for (const auto& each : regions) {
    EXPECT_EQ(answer_to(on_memory(opcode::register_memory, each)), 0);
  }
  carry_through(context(), buffered.get(), memory.span(), 0);
  if (direct) carry_through(context(), direct.get(), memory.span(), hint::direct);
  for (const auto& each : regions) {
    EXPECT_EQ(answer_to(on_memory(opcode::forget_memory, each)), 0);
    carry_through(context(), buffered.get(), memory.span(), 0);
  }
}

TEST_P(operations, answer_alike_where_registered_memory_is_read_into) {
  const descriptor file = make_patterned_file(directory_ / "file", block + 100);
  const pipe_ends pipe = make_pipe(O_NONBLOCK);
  buffer memory(4 * block);
  EXPECT_EQ(answer_to(on_memory(opcode::register_memory, memory.span())), 0);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.span())), block + 100);
  EXPECT_TRUE(holds_pattern(memory.first(block + 100), 0));
  EXPECT_EQ(answer_to(read_request(file.get(), memory.span(), 2 * block)), 0);
  EXPECT_EQ(answer_to(read_request(closed_descriptor(), memory.span())), -EBADF);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.first(0))), 0);
  EXPECT_EQ(answer_to(read_request(file.get(), memory.span(), biggest)), -EINVAL);
  request what = read_request(pipe.read.get(), memory.span());
  what.flags = RWF_NOWAIT;
  EXPECT_EQ(answer_to(what), -EAGAIN);
  std::thread feeder([&] { pipe.feed(4); });
  EXPECT_EQ(answer_to(read_request(pipe.read.get(), memory.span())), 4);
  feeder.join();
}

// A hint: what is done with it is each driver's affair, and never the transfer's.
TEST_P(operations, need_not_find_room_for_a_hint) {
  buffer memory(100 * block);
  const descriptor file = make_file(directory_ / "file");
  int refused = 0;
  for (std::size_t i = 0; i < 70; ++i) {
    const auto page = memory.span().subspan(i * block, block);
    const std::int32_t answer = answer_to(on_memory(opcode::register_memory, page));
    EXPECT_TRUE(answer == 0 || answer == -ENOSPC) << answer;
    if (answer != 0) ++refused;
  }
  EXPECT_EQ(refused, is_uring() ? 70 - 64 : 0);
  carry_through(context(), file.get(), memory.span(), 0);
  // The first place to become free is found.
  EXPECT_EQ(answer_to(on_memory(opcode::forget_memory, memory.span().subspan(5 * block, block))),
            0);
  EXPECT_EQ(answer_to(on_memory(opcode::register_memory, memory.span().last(block))), 0);
  carry_through(context(), file.get(), memory.span(), 0);
}

}  // namespace
}  // namespace weir::testing
