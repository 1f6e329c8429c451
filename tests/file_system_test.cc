#include "weir/file_system.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "support/support.hpp"

namespace weir::testing {
namespace {

namespace fs = std::filesystem;

class file_system : public driver_test {
 protected:
  io_context& context() { return *context_; }
  std::string at(std::string_view name) const { return directory_ / name; }
  void make(std::string_view name, std::size_t size = 10) { make_patterned_file(at(name), size); }

  template <class Sender>
  auto wait_for(Sender sender) {
    auto wait = [&]() -> task<typename Sender::value_type> {
      co_return co_await std::move(sender);
    };
    return context().run(wait());
  }
  /// The errno that it ended with; 0 for success.
  template <class Sender>
  int errno_of(Sender sender) {
    const auto outcome = wait_for(std::move(sender));
    return outcome ? 0 : outcome.error().value();
  }

  /// For functions that begin at a directory.
  descriptor opened_directory() const {
    return open_file(directory_.path(), O_RDONLY | O_DIRECTORY);
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, file_system, ::testing::ValuesIn(driver_names), name_of_driver);

// --- names ---------------------------------------------------------------------------------------

TEST_P(file_system, renames_and_replaces) {
  make("old", 10);
  make("other", 20);
  EXPECT_EQ(errno_of(rename(context(), at("old"), at("new"))), 0);
  EXPECT_FALSE(fs::exists(at("old")));
  EXPECT_EQ(errno_of(rename(context(), at("new"), at("other"))), 0);
  EXPECT_FALSE(fs::exists(at("new")));
  EXPECT_EQ(fs::file_size(at("other")), 10);
}

TEST_P(file_system, renames_without_replacing) {
  make("old", 10);
  make("other", 20);
  const rename_options keep{.mode = rename_mode::no_replace};
  EXPECT_EQ(errno_of(rename(context(), at("old"), at("other"), keep)), EEXIST);
  EXPECT_EQ(fs::file_size(at("old")), 10);
  EXPECT_EQ(fs::file_size(at("other")), 20);
  EXPECT_EQ(errno_of(rename(context(), at("old"), at("free"), keep)), 0);
  EXPECT_EQ(fs::file_size(at("free")), 10);
}

TEST_P(file_system, exchanges_two_names) {
  make("one", 10);
  make("two", 20);
  const rename_options swap{.mode = rename_mode::exchange};
  EXPECT_EQ(errno_of(rename(context(), at("one"), at("two"), swap)), 0);
  EXPECT_EQ(fs::file_size(at("one")), 20);
  EXPECT_EQ(fs::file_size(at("two")), 10);
  EXPECT_EQ(errno_of(rename(context(), at("one"), at("none"), swap)), ENOENT);
}

TEST_P(file_system, removes_files_and_directories_each_by_its_own_function) {
  make("file");
  fs::create_directory(at("directory"));
  EXPECT_EQ(errno_of(remove_file(context(), at("directory"))), EISDIR);
  EXPECT_EQ(errno_of(remove_directory(context(), at("file"))), ENOTDIR);
  EXPECT_EQ(errno_of(remove_file(context(), at("file"))), 0);
  EXPECT_EQ(errno_of(remove_directory(context(), at("directory"))), 0);
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

TEST_P(file_system, keeps_a_directory_that_is_not_empty) {
  fs::create_directory(at("full"));
  make("full/file");
  EXPECT_EQ(errno_of(remove_directory(context(), at("full"))), ENOTEMPTY);
  EXPECT_TRUE(fs::exists(at("full/file")));
}

TEST_P(file_system, makes_directories_with_permissions) {
  EXPECT_EQ(errno_of(make_directory(context(), at("private"), 0700)), 0);
  EXPECT_TRUE(fs::is_directory(at("private")));
  EXPECT_EQ(fs::status(at("private")).permissions(), fs::perms::owner_all);
  EXPECT_EQ(errno_of(make_directory(context(), at("private"))), EEXIST);
  EXPECT_EQ(errno_of(make_directory(context(), at("none/private"))), ENOENT);
}

TEST_P(file_system, links_names_to_one_file) {
  make("file", 10);
  EXPECT_EQ(errno_of(link(context(), at("file"), at("second"))), 0);
  EXPECT_TRUE(fs::equivalent(at("file"), at("second")));
  EXPECT_EQ(errno_of(link(context(), at("file"), at("second"))), EEXIST);
  EXPECT_EQ(errno_of(link(context(), at("none"), at("third"))), ENOENT);
}

TEST_P(file_system, links_a_symbolic_link_or_what_it_leads_to) {
  make("file");
  ASSERT_EQ(::symlink("file", at("way").c_str()), 0);
  EXPECT_EQ(errno_of(link(context(), at("way"), at("itself"))), 0);
  EXPECT_TRUE(fs::is_symlink(at("itself")));
  EXPECT_EQ(errno_of(link(context(), at("way"), at("followed"), {.follow = true})), 0);
  EXPECT_FALSE(fs::is_symlink(at("followed")));
}

TEST_P(file_system, makes_symbolic_links_to_whatever_is_said) {
  EXPECT_EQ(errno_of(symlink(context(), "no such thing", at("way"))), 0);
  EXPECT_EQ(fs::read_symlink(at("way")), "no such thing");
  EXPECT_EQ(errno_of(symlink(context(), "else", at("way"))), EEXIST);
}

TEST_P(file_system, tells_what_a_path_leads_to_or_is) {
  make("file", 12'345);
  ASSERT_EQ(::symlink("file", at("way").c_str()), 0);
  struct stat expected{};
  ASSERT_EQ(::stat(at("file").c_str(), &expected), 0);
  const result<file_status> followed = wait_for(status(context(), at("way")));
  ASSERT_TRUE(followed.has_value()) << followed.error().message();
  EXPECT_EQ(followed->size, 12'345);
  EXPECT_EQ(followed->inode, expected.st_ino);
  EXPECT_EQ(followed->mode, expected.st_mode);
  const result<file_status> itself = wait_for(symlink_status(context(), at("way")));
  ASSERT_TRUE(itself.has_value());
  EXPECT_TRUE(S_ISLNK(itself->mode));
  EXPECT_NE(itself->inode, expected.st_ino);
  EXPECT_EQ(errno_of(status(context(), at("none"))), ENOENT);
  EXPECT_EQ(errno_of(status(context(), at("file/below"))), ENOTDIR);
  EXPECT_EQ(errno_of(status(context(), "")), ENOENT);
}

TEST_P(file_system, begins_relative_paths_at_a_directory) {
  const descriptor here = opened_directory();
  const int fd = here.get();
  EXPECT_EQ(errno_of(make_directory(context(), "inner", 0755, fd)), 0);
  make("inner/file");
  const descriptor inner = open_file(at("inner"), O_RDONLY | O_DIRECTORY);
  const rename_options out{.from_directory = inner.get(), .to_directory = fd};
  EXPECT_EQ(errno_of(rename(context(), "file", "moved", out)), 0);
  const link_options into{.from_directory = fd, .to_directory = inner.get()};
  EXPECT_EQ(errno_of(link(context(), "moved", "linked", into)), 0);
  EXPECT_TRUE(fs::equivalent(at("moved"), at("inner/linked")));
  EXPECT_EQ(errno_of(symlink(context(), "moved", "way", fd)), 0);
  EXPECT_EQ(wait_for(status(context(), "way", fd))->links, 2);
  EXPECT_EQ(wait_for(symlink_status(context(), "way", fd))->links, 1);
  EXPECT_EQ(wait_for(list_directory(context(), "inner", fd))->size(), 1);
  EXPECT_EQ(errno_of(remove_file(context(), "linked", inner.get())), 0);
  EXPECT_EQ(errno_of(remove_directory(context(), "inner", fd)), 0);
  EXPECT_FALSE(fs::exists(at("inner")));
  EXPECT_EQ(errno_of(remove_file(context(), "x", closed_descriptor())), EBADF);
}

TEST_P(file_system, takes_any_kind_of_path) {
  make("file");
  const std::string text = at("file");
  const fs::path native = text;
  EXPECT_EQ(errno_of(status(context(), text)), 0);
  EXPECT_EQ(errno_of(status(context(), text.c_str())), 0);
  EXPECT_EQ(errno_of(status(context(), native)), 0);
  EXPECT_EQ(errno_of(status(context(), std::string_view(text + "x").substr(0, text.size()))), 0);
}

TEST_P(file_system, keeps_its_own_copy_of_paths) {
  make("file");
  std::string from = at("file");
  std::string to = at("a name that is too long for the short string of any library");
  const std::string expected = to;
  path_sender described = rename(context(), from, to);
  std::ranges::fill(from, 'x');
  std::ranges::fill(to, 'y');
  EXPECT_EQ(errno_of(described), 0);  // a copy, which leaves the description as it is
  EXPECT_TRUE(fs::exists(expected));
  EXPECT_EQ(errno_of(std::move(described)), ENOENT);
}

// Invariant 23: else "file\0.txt" would pass a check for ".txt" and name "file".
TEST_P(file_system, refuses_a_path_that_holds_a_nul) {
  make("file");
  const std::string trick = at("file") + '\0' + ".txt";
  EXPECT_EQ(errno_of(remove_file(context(), trick)), EINVAL);
  EXPECT_EQ(errno_of(remove_directory(context(), trick)), EINVAL);
  EXPECT_EQ(errno_of(make_directory(context(), at("new") + '\0' + "x")), EINVAL);
  EXPECT_EQ(errno_of(rename(context(), trick, at("new"))), EINVAL);
  EXPECT_EQ(errno_of(rename(context(), at("file"), at("new") + '\0' + "x")), EINVAL);
  EXPECT_EQ(errno_of(link(context(), trick, at("new"))), EINVAL);
  EXPECT_EQ(errno_of(link(context(), at("file"), at("new") + '\0' + "x")), EINVAL);
  EXPECT_EQ(errno_of(symlink(context(), trick, at("new"))), EINVAL);
  EXPECT_EQ(errno_of(symlink(context(), "file", at("new") + '\0' + "x")), EINVAL);
  EXPECT_EQ(errno_of(status(context(), trick)), EINVAL);
  EXPECT_EQ(errno_of(symlink_status(context(), trick)), EINVAL);
  EXPECT_EQ(errno_of(open_directory(context(), directory_.path() + '\0' + "x")), EINVAL);
  EXPECT_EQ(errno_of(list_directory(context(), directory_.path() + '\0' + "x")), EINVAL);
  EXPECT_EQ(wait_for(list_directory(context(), directory_.path()))->size(), 1);
}

TEST_P(file_system, is_asked_by_callbacks_and_under_deadlines_too) {
  make("file", 77);
  std::uint64_t heard = 0;
  start(status(context(), at("file")),
        [&](const result<file_status>& found) { heard = found.value().size; });
  context().run();
  EXPECT_EQ(heard, 77);
  EXPECT_EQ(errno_of(with_deadline(remove_file(context(), at("file")), std::chrono::hours(1))), 0);
  EXPECT_FALSE(fs::exists(at("file")));
}

// --- directories ---------------------------------------------------------------------------------

TEST_P(file_system, lists_a_directory_with_types_and_inodes) {
  make("file");
  fs::create_directory(at("directory"));
  ASSERT_EQ(::symlink("file", at("way").c_str()), 0);
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  auto listed = wait_for(list_directory(context(), directory_.path()));
  ASSERT_TRUE(listed.has_value()) << listed.error().message();
  std::map<std::string, directory_entry> found;
  for (directory_entry& entry : *listed) found[entry.name] = entry;
  ASSERT_EQ(listed->size(), 4);
  ASSERT_EQ(found.size(), 4);
  EXPECT_EQ(found["file"].type, entry_type::regular);
  EXPECT_EQ(found["directory"].type, entry_type::directory);
  EXPECT_EQ(found["way"].type, entry_type::symlink);
  EXPECT_EQ(found["fifo"].type, entry_type::fifo);
  for (const auto& [name, entry] : found) {
    struct stat expected{};
    ASSERT_EQ(::lstat(at(name).c_str(), &expected), 0);
    EXPECT_EQ(entry.inode, expected.st_ino) << name;
  }
}

TEST_P(file_system, lists_ten_thousand_entries_whole_or_in_pieces) {
  const descriptor here = opened_directory();
  std::set<std::string> expected;
  for (int i = 0; i < 10'000; ++i) {
    const std::string name = "entry " + std::to_string(i);
    ASSERT_EQ(::mknodat(here.get(), name.c_str(), S_IFREG | 0600, 0), 0);
    expected.insert(name);
  }
  const auto listed = wait_for(list_directory(context(), directory_.path()));
  ASSERT_TRUE(listed.has_value()) << listed.error().message();
  std::set<std::string> found;
  for (const directory_entry& entry : *listed) found.insert(entry.name);
  EXPECT_EQ(listed->size(), 10'000);
  EXPECT_EQ(found, expected);

  auto reader = wait_for(open_directory(context(), directory_.path()));
  ASSERT_TRUE(reader.has_value());
  std::multiset<std::string> in_pieces;
  std::size_t most = 0;
  for (;;) {
    const auto entries = wait_for(reader->next());
    ASSERT_TRUE(entries.has_value());
    if (entries->empty()) break;
    most = std::max(most, entries->size());
    for (const directory_entry& entry : *entries) in_pieces.insert(entry.name);
  }
  EXPECT_TRUE(std::ranges::equal(in_pieces, expected));
  EXPECT_LT(most, 5'000);
  EXPECT_TRUE(wait_for(reader->next())->empty());
  EXPECT_TRUE(wait_for(reader->close()).has_value());
  EXPECT_EQ(errno_of(reader->next()), EBADF);
}

TEST_P(file_system, lists_nothing_in_an_empty_directory_and_leaves_nothing_open) {
  const std::size_t before = count_descriptors();
  EXPECT_TRUE(wait_for(list_directory(context(), directory_.path()))->empty());
  {
    auto reader = wait_for(open_directory(context(), directory_.path()));
    EXPECT_TRUE(wait_for(reader->next())->empty());
  }
  EXPECT_EQ(count_descriptors(), before);
}

TEST_P(file_system, lists_only_directories) {
  make("file");
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_EQ(errno_of(list_directory(context(), at("file"))), ENOTDIR);
  EXPECT_EQ(errno_of(open_directory(context(), at("file"))), ENOTDIR);
  EXPECT_EQ(errno_of(list_directory(context(), at("none"))), ENOENT);
  // Opened without O_DIRECTORY it would wait for a writer.
  EXPECT_EQ(errno_of(open_directory(context(), at("fifo"))), ENOTDIR);
  EXPECT_EQ(errno_of(open(context(), at("fifo"), {.only_directory = true})), ENOTDIR);
}

TEST_P(file_system, opens_a_fifo_that_nobody_writes_without_waiting_if_asked_to) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  auto opened = wait_for(open(context(), at("fifo"), {.nonblock = true}));
  ASSERT_TRUE(opened);
  EXPECT_TRUE(S_ISFIFO(wait_for(opened->stat())->mode));
}

/// Says whether a directory is to be read, and lets nobody read it: who is interrupted then is
/// interrupted in the midst.
class watching_driver final : public wrapping_driver {
 public:
  watching_driver(std::unique_ptr<driver> inner, bool& reading)
      : wrapping_driver(std::move(inner)), reading_(reading) {}

  void submit(operation_queue& staged) noexcept override {
    operation_queue reads;
    operation_queue others;
    while (!staged.empty()) {
      operation& op = staged.pop_front();
      (op.args.op == opcode::getdents ? reads : others).push_back(op);
    }
    reading_ = reading_ || !reads.empty();
    wrapping_driver::submit(others);
    others.append(std::move(reads));
    staged = std::move(others);
  }

 private:
  bool& reading_;
};

/// Listings that are interrupted after they have opened the directory.
class interrupted_listing : public file_system {
 protected:
  void SetUp() override {
    file_system::SetUp();
    make("entry", 0);
    context_.reset();
    descriptors_before_ = count_descriptors();
    context_ = std::make_unique<io_context>(
        std::make_unique<watching_driver>(open_driver_named(GetParam()), reading_));
  }
  template <class Sender>
  void begin_reading(Sender sender) {
    start(std::move(sender), [this](const result<std::vector<directory_entry>>& listed) {
      heard_ = true;
      outcome_ = error_of(listed);
    });
    while (!reading_) context().dispatch(false);
  }

  bool reading_ = false;
  bool heard_ = false;
  std::error_code outcome_;
  std::size_t descriptors_before_ = 0;
};

INSTANTIATE_TEST_SUITE_P(drivers, interrupted_listing, ::testing::ValuesIn(driver_names),
                         name_of_driver);

TEST_P(interrupted_listing, says_that_it_was_stopped_and_closes_what_it_opened) {
  std::stop_source stop;
  begin_reading(with_stop(list_directory(context(), directory_.path()), stop.get_token()));
  stop.request_stop();
  context().run();
  EXPECT_TRUE(heard_);
  EXPECT_EQ(outcome_, std::errc::operation_canceled);
  context_.reset();
  EXPECT_EQ(count_descriptors(), descriptors_before_);
}

// Invariants 12 and 29
TEST_P(interrupted_listing, closes_what_it_opened_when_the_context_is_destroyed) {
  begin_reading(list_directory(context(), directory_.path()));
  context_.reset();
  EXPECT_TRUE(heard_);
  EXPECT_EQ(outcome_, std::errc::operation_canceled);
  EXPECT_EQ(count_descriptors(), descriptors_before_);
}

// --- two descriptors, and memory -----------------------------------------------------------------

TEST_P(file_system, copies_a_range_between_files) {
  const descriptor from = make_patterned_file(at("from"), 100'000);
  const descriptor to = make_file(at("to"));
  std::uint64_t moved = 0;
  while (moved < 50'000) {
    const auto count = wait_for(
        copy_range(context(), from.get(), 1000 + moved, to.get(), 2000 + moved, 50'000 - moved));
    ASSERT_TRUE(count.has_value()) << count.error().message();
    ASSERT_NE(*count, 0);
    moved += *count;
  }
  const std::vector<std::byte> copied = contents_of(at("to"));
  ASSERT_EQ(copied.size(), 52'000);
  EXPECT_TRUE(holds_pattern(std::span(copied).subspan(2000), 1000));
  EXPECT_EQ(wait_for(copy_range(context(), from.get(), 200'000, to.get(), 0, 10)), 0);
  EXPECT_EQ(errno_of(copy_range(context(), from.get(), 0, from.get(), 10, 100)), EINVAL);
  EXPECT_EQ(errno_of(copy_range(context(), closed_descriptor(), 0, to.get(), 0, 100)), EBADF);
}

TEST_P(file_system, splices_through_a_pipe) {
  const descriptor from = make_patterned_file(at("from"), 10'000);
  const descriptor to = make_file(at("to"));
  const pipe_ends pipe = make_pipe();
  EXPECT_EQ(wait_for(splice(context(), from.get(), 100, pipe.write.get(), no_offset, 5000)), 5000);
  EXPECT_EQ(wait_for(splice(context(), pipe.read.get(), no_offset, to.get(), 300, 5000)), 5000);
  const std::vector<std::byte> moved = contents_of(at("to"));
  ASSERT_EQ(moved.size(), 5300);
  EXPECT_TRUE(holds_pattern(std::span(moved).subspan(300), 100));
  EXPECT_EQ(errno_of(splice(context(), from.get(), 0, to.get(), 0, 10)), EINVAL);
  EXPECT_EQ(errno_of(splice(context(), from.get(), 0, pipe.write.get(), 0, 10)), ESPIPE);
}

TEST_P(file_system, advises_on_memory) {
  constexpr std::size_t size = 1 << 16;
  void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const std::span memory(static_cast<std::byte*>(mapped), size);
  std::ranges::fill(memory, std::byte{7});
  EXPECT_EQ(errno_of(advise_memory(context(), memory, MADV_DONTNEED)), 0);
  EXPECT_TRUE(holds_only(memory, std::byte{0}));
  EXPECT_EQ(errno_of(advise_memory(context(), memory.subspan(1), MADV_DONTNEED)), EINVAL);
  ::munmap(mapped, size);
}

}  // namespace
}  // namespace weir::testing
