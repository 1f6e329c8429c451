// weir cp as a user runs it: how it ends, what it says, and what is on the disk afterwards. The
// command runs in a directory of the test's own, so paths here are relative to that.

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/loop.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <regex>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/support.hpp"
#include "tools/command.hpp"

namespace weir::testing {
namespace {

using test::command_options;
using test::outcome;
using test::running_command;
using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;
using words = std::vector<std::string>;

namespace fs = std::filesystem;

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;
constexpr std::uint64_t gib = 1024 * mib;

constexpr int tries = 20;  // for what takes luck, as to interrupt a copy before it has ended

// --- files to copy -------------------------------------------------------------------------------

std::string bytes(std::size_t size, unsigned seed = 0) {
  std::string made(size, '\0');
  fill(std::as_writable_bytes(std::span(made)), 0, seed);
  return made;
}

void write_file(const fs::path& path, std::string_view contents) {
  std::ofstream file(path, std::ios::binary);
  file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path.string());
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

// Not sparse, but quickly made: the blocks are there, and few have been written to.
void make_large_file(const fs::path& path, std::uint64_t size) {
  const descriptor file = make_file(path);
  if (::posix_fallocate(file.get(), 0, static_cast<off_t>(size)) != 0) {
    throw std::runtime_error("cannot allocate " + path.string());
  }
  const std::string block = bytes(4096, 1);
  for (std::uint64_t at = 0; at + block.size() <= size; at += 3 * mib + 4096) {
    ASSERT_EQ(::pwrite(file.get(), block.data(), block.size(), static_cast<off_t>(at)), 4096);
  }
}

void set_times(const fs::path& path, timespec accessed, timespec modified) {
  const std::array<timespec, 2> times{accessed, modified};
  if (::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
    throw std::system_error(errno, std::system_category(), "utimensat");
  }
}

// Everything gets a modification time of its own, to the nanosecond; directories last.
void age_tree(const fs::path& top) {
  std::vector<fs::path> all{top};
  for (const auto& each : fs::recursive_directory_iterator(top)) all.push_back(each.path());
  std::ranges::sort(all, std::greater());
  long step = 0;
  for (const fs::path& each : all) {
    ++step;
    set_times(each, {1'000'000'000, 5}, {1'500'000'000 + step, 123'456'789 + step});
  }
}

// How many bytes of a copy are those of its source, or 0, up to the first that is neither.
std::size_t right_or_zero(std::string_view copy, std::string_view source) {
  std::size_t right = 0;
  while (right < copy.size()) {
    const std::size_t step = std::min(4 * kib, copy.size() - right);
    // Whole pages, as they mostly are.
    if (copy.substr(right, step) == source.substr(right, step)) {
      right += step;
    } else if (copy[right] == source[right] || copy[right] == 0) {
      ++right;
    } else {
      break;
    }
  }
  return right;
}

// --- what is on the disk -------------------------------------------------------------------------

struct stat status_of(const fs::path& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    throw std::system_error(errno, std::system_category(), path.string());
  }
  return status;
}

unsigned mode_of(const fs::path& path) { return status_of(path).st_mode & 07777; }

// Whether `b` holds what `a` has; what is a hole in `a` is not looked at.
AssertionResult has_the_data_of(const std::string& a, const std::string& b) {
  const descriptor one = open_file(a, O_RDONLY);
  const descriptor other = open_file(b, O_RDONLY);
  static std::vector<char> left(mib);  // once: some tests compare ten thousand files
  static std::vector<char> right(mib);
  off_t hole = 0;
  for (;;) {
    const off_t data = ::lseek(one.get(), hole, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return AssertionSuccess();
    if (data < 0) return AssertionFailure() << "SEEK_DATA: " << std::strerror(errno);
    hole = ::lseek(one.get(), data, SEEK_HOLE);
    for (off_t at = data; at < hole;) {
      const auto wanted = std::min(left.size(), static_cast<std::size_t>(hole - at));
      const ssize_t count = ::pread(one.get(), left.data(), wanted, at);
      if (count <= 0 || ::pread(other.get(), right.data(), wanted, at) != count) {
        return AssertionFailure() << b << " cannot be read as " << a << " at " << at;
      }
      const auto size = static_cast<std::size_t>(count);
      if (std::memcmp(left.data(), right.data(), size) != 0) {
        return AssertionFailure() << a << " and " << b << " differ within " << size
                                  << " bytes from " << at;
      }
      at += count;
    }
  }
}

AssertionResult same_contents(const fs::path& a, const fs::path& b) {
  std::error_code error;
  const auto expected = fs::file_size(a, error);
  const auto found = error ? 0 : fs::file_size(b, error);
  if (error) return AssertionFailure() << a << " or " << b << ": " << error.message();
  if (expected != found) {
    return AssertionFailure() << a << " has " << expected << " bytes, " << b << " " << found;
  }
  if (auto forth = has_the_data_of(a, b); !forth) return forth;
  return has_the_data_of(b, a);
}

// What a copy keeps of a file, a directory or a link, contents aside.
std::string described(const fs::path& path) {
  const struct stat status = status_of(path);
  std::ostringstream text;
  text << std::oct << (status.st_mode & (S_IFMT | 01777)) << std::dec << " modified "
       << status.st_mtim.tv_sec << "." << status.st_mtim.tv_nsec;
  if (S_ISREG(status.st_mode)) text << " size " << status.st_size;
  if (S_ISLNK(status.st_mode)) text << " -> " << fs::read_symlink(path).string();
  return text.str();
}

std::map<std::string, std::string> inventory(const fs::path& top) {
  std::map<std::string, std::string> found{{".", described(top)}};
  for (const auto& each : fs::recursive_directory_iterator(top)) {
    found[each.path().lexically_relative(top).string()] = described(each.path());
  }
  return found;
}

// Names, kinds, permissions, times and contents.
AssertionResult same_tree(const fs::path& a, const fs::path& b) {
  const auto expected = inventory(a);
  auto found = inventory(b);
  for (const auto& [name, description] : expected) {
    if (!found.contains(name)) return AssertionFailure() << "'" << name << "' is missing";
    if (found[name] != description) {
      return AssertionFailure() << "'" << name << "' was " << description << ", is " << found[name];
    }
    found.erase(name);
    if (!S_ISREG(status_of(a / name).st_mode)) continue;
    if (auto same = same_contents(a / name, b / name); !same) return same;
  }
  if (!found.empty()) return AssertionFailure() << "'" << found.begin()->first << "' is surplus";
  return AssertionSuccess();
}

bool is_file(const fs::directory_entry& entry) {
  return fs::is_regular_file(entry.symlink_status());
}

// For copies of which not all may be there: nothing has its final name before it is whole.
AssertionResult only_whole_files(const fs::path& source, const fs::path& copy) {
  for (const auto& each : fs::recursive_directory_iterator(copy)) {
    if (!is_file(each)) continue;
    const fs::path original = source / each.path().lexically_relative(copy);
    if (auto same = same_contents(original, each.path()); !same) return same;
  }
  return AssertionSuccess();
}

bool is_partial(const fs::path& path) { return path.filename().string().starts_with(".weir-"); }

words partial_copies(const fs::path& top) {
  words found;
  const auto options = fs::directory_options::skip_permission_denied;
  for (const auto& each : fs::recursive_directory_iterator(top, options)) {
    if (is_partial(each.path())) found.push_back(each.path());
  }
  return found;
}

bool is_whole(const fs::path& path) { return !is_partial(path); }

// In one directory, where a copy may be running meanwhile: entries come and go.
std::size_t count_entries(const fs::path& directory, bool (*wanted)(const fs::path&)) {
  std::error_code error;
  std::size_t count = 0;
  fs::directory_iterator at(directory, error);
  for (; !error && at != fs::directory_iterator{}; at.increment(error)) count += wanted(at->path());
  return count;
}

std::size_t files_in(const fs::path& top) {
  std::size_t count = 0;
  for (const auto& each : fs::recursive_directory_iterator(top)) count += is_file(each);
  return count;
}

// --- file systems of our own ---------------------------------------------------------------------

// This process gets a view of the file systems of its own: what is mounted there vanishes with it
// at the latest.
bool may_mount() {
  static const bool may = ::unshare(CLONE_NEWNS) == 0 &&
                          ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return may;
}

/// Mounted on a directory that it makes, until it goes.
class mounted {
 public:
  mounted(std::string directory, const char* type, const char* options,
          const std::string& device = "none")
      : directory_(std::move(directory)) {
    fs::create_directory(directory_);
    is_mounted_ = may_mount() && ::mount(device.c_str(), directory_.c_str(), type, 0, options) == 0;
    if (!is_mounted_) reason_ = std::string("may not mount: ") + std::strerror(errno);
  }
  mounted(const mounted&) = delete;
  mounted& operator=(const mounted&) = delete;
  ~mounted() {
    if (is_mounted_) ::umount2(directory_.c_str(), MNT_DETACH);
  }

  explicit operator bool() const noexcept { return is_mounted_; }
  const std::string& reason() const noexcept { return reason_; }

 private:
  std::string directory_;
  bool is_mounted_;
  std::string reason_;
};

/// A loop device with an ext4 file system; the kernel lets go of it when the last user does.
class ext4_device {
 public:
  ext4_device(const std::string& image, std::uint64_t size, const std::string& mkfs_options,
              unsigned sector = 512) {
    const descriptor file = make_file(image, size);
    const std::string make = "PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F " + mkfs_options + " '" +
                             image + "' >/dev/null 2>&1";
    // NOLINTNEXTLINE(cert-env33-c): the shell searches PATH
    if (std::system(make.c_str()) == 0) attach(file.get(), sector);
    ::unlink(image.c_str());
  }

  explicit operator bool() const noexcept { return static_cast<bool>(device_); }
  const std::string& path() const noexcept { return path_; }

 private:
  void attach(int file, unsigned sector) {
    loop_config config{};
    config.fd = static_cast<unsigned>(file);
    config.block_size = sector;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    const descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    // Between asking for a free device and taking it, someone else may.
    for (int attempt = 0; control && attempt < tries; ++attempt) {
      const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
      if (number < 0) return;
      path_ = "/dev/loop" + std::to_string(number);
      descriptor device(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
      if (!device) return;
      if (::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) {
        device_ = std::move(device);
        return;
      }
    }
  }

  std::string path_;
  descriptor device_;
};

// --- the command ---------------------------------------------------------------------------------

// A command that hangs is ended by SIGALRM, which no test expects.
constexpr unsigned patience_in_seconds = 100;

AssertionResult succeeded(const outcome& ended) {
  if (ended.exit_code == 0 && ended.out.empty() && ended.err.empty()) return AssertionSuccess();
  return AssertionFailure() << "exit code " << ended.exit_code << ", signal " << ended.signal
                            << ", said: " << ended.out << ended.err;
}

// One of the lines on standard error, which are sentences, has all of these words.
AssertionResult said(const outcome& ended, const words& expected) {
  std::istringstream lines(ended.err);
  for (std::string line; std::getline(lines, line);) {
    const auto in_line = [&line](const std::string& word) { return line.contains(word); };
    if (line.starts_with("weir cp: ") && std::ranges::all_of(expected, in_line)) {
      return AssertionSuccess();
    }
  }
  auto failure = AssertionFailure() << "no sentence with";
  for (const std::string& word : expected) failure << " \"" << word << '"';
  return failure << " in: " << ended.err;
}

AssertionResult failed_saying(const outcome& ended, const words& expected) {
  if (ended.exit_code != 1 || !ended.out.empty()) {
    return AssertionFailure() << "exit code " << ended.exit_code << ", signal " << ended.signal
                              << ", said: " << ended.out << ended.err;
  }
  return said(ended, expected);
}

AssertionResult said_no_more_than(const outcome& ended, std::ptrdiff_t sentences) {
  const auto lines = std::ranges::count(ended.err, '\n');
  if (lines == sentences) return AssertionSuccess();
  return AssertionFailure() << lines << " lines, not " << sentences << ": " << ended.err;
}

class cp : public ::testing::Test {
 protected:
  cp() : cp(std::string_view()) {}
  explicit cp(std::string_view driver) : driver_(driver) {
    ::umask(0022);  // what is made here is the same whoever runs this
  }
  // What is to be removed must be allowed to be, to those who are not root.
  ~cp() override {
    std::error_code ignored;
    fs::recursive_directory_iterator at(directory_.path(), ignored);
    for (; at != fs::recursive_directory_iterator{}; at.increment(ignored)) {
      if (at->symlink_status(ignored).type() == fs::file_type::directory) {
        ::chmod(at->path().c_str(), 0700);
      }
    }
  }

  words line(words arguments) const {
    words all{"cp"};
    if (!driver_.empty()) all.insert(all.end(), {"--driver", driver_});
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }

  command_options here(command_options options = {}) const {
    options.cwd = directory_.path();
    options.before_exec = [then = std::move(options.before_exec)] {
      ::alarm(patience_in_seconds);
      if (then) then();
    };
    return options;
  }

  outcome run(words arguments, command_options options = {}) const {
    return test::run(line(std::move(arguments)), here(std::move(options)));
  }

  outcome run_with(words options, const words& arguments) const {
    options.insert(options.end(), arguments.begin(), arguments.end());
    return run(std::move(options));
  }

  fs::path at(std::string_view name) const { return directory_ / name; }

  fs::path make(std::string_view name, std::string_view contents = "some text") const {
    write_file(at(name), contents);
    return at(name);
  }

  void make_directories(const words& names) const {
    for (const std::string& name : names) fs::create_directories(at(name));
  }

  temp_directory directory_;
  std::string driver_;
};

class cp_with : public cp, public ::testing::WithParamInterface<std::string_view> {
 protected:
  cp_with() : cp(GetParam()) {}
  void SetUp() override {
    const driver_report& report = report_of(GetParam());
    if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, cp_with, ::testing::ValuesIn(driver_names), name_of_driver);

bool has_ended(pid_t child) {
  siginfo_t info{};
  const int flags = WEXITED | WNOHANG | WNOWAIT;
  return ::waitid(P_PID, static_cast<id_t>(child), &info, flags) == 0 && info.si_pid == child;
}

/// Waits until `condition` or until the command has ended, whichever comes first.
bool reached(const running_command& command, const std::function<bool()>& condition) {
  bool met = false;
  eventually([&] { return (met = condition()) || has_ended(command.pid()); });
  return met;
}

// --- one file, and several -----------------------------------------------------------------------

TEST_P(cp_with, copies_a_file_with_its_permissions_and_times) {
  const fs::path source = make("source", bytes(12'345));
  ASSERT_EQ(::chmod(source.c_str(), 0640), 0);
  set_times(source, {1'111'111'111, 111'111'111}, {1'222'222'222, 222'222'222});
  EXPECT_TRUE(succeeded(run({"source", "copy"})));
  const timespec accessed = status_of(at("copy")).st_atim;  // before it is read here
  EXPECT_EQ(accessed.tv_sec, 1'111'111'111);
  EXPECT_EQ(accessed.tv_nsec, 111'111'111);
  EXPECT_EQ(described(at("copy")), described(source));
  EXPECT_TRUE(same_contents(source, at("copy")));
}

TEST_P(cp_with, copies_files_into_a_directory) {
  make_directories({"from/deep", "into"});
  make("from/deep/one", bytes(10, 1));
  make("two", bytes(100'000, 2));
  make("three", "");
  EXPECT_TRUE(succeeded(run({"from/deep/one", "into"})));
  EXPECT_TRUE(succeeded(run({"two", "three", "into/"})));
  EXPECT_EQ(files_in(at("into")), 3U);
  EXPECT_TRUE(same_contents(at("from/deep/one"), at("into/one")));
  EXPECT_TRUE(same_contents(at("two"), at("into/two")));
  EXPECT_TRUE(same_contents(at("three"), at("into/three")));
}

TEST_P(cp_with, replaces_a_file_that_is_there) {
  make("source", bytes(2'000'000, 1));
  make("copy", bytes(3'000'000, 2));
  EXPECT_TRUE(succeeded(run({"source", "copy"})));
  EXPECT_TRUE(same_contents(at("source"), at("copy")));
  EXPECT_EQ(partial_copies(at("")), words{});
}

// Half the block size, which is also that of the buffers, a page, and what lies around them.
TEST_P(cp_with, copies_files_of_all_sizes_through_and_past_the_page_cache) {
  make_directories({"sizes"});
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{511}, std::uint64_t{4095},
        std::uint64_t{4096}, std::uint64_t{4097}, 256 * kib, 512 * kib - 1, 512 * kib,
        512 * kib + 1, mib, mib + 17, 10 * mib + 3}) {
    make("sizes/" + std::to_string(size), bytes(size, static_cast<unsigned>(size % 251)));
  }
  age_tree(at("sizes"));
  for (const words& options : std::vector<words>{
           {}, {"--direct"}, {"--verify"}, {"--direct", "--verify"}, {"--drop-cache"}}) {
    const outcome ended = run_with(options, {"-r", "sizes", "copy"});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(same_tree(at("sizes"), at("copy"))) << ::testing::PrintToString(options);
    fs::remove_all(at("copy"));
  }
}

TEST_P(cp_with, a_single_large_file_needs_no_others_and_any_queue_depth_will_do) {
  make("source", bytes(5 * mib + 4097, 3));
  for (const char* depth : {"1", "2", "1024"}) {
    for (const char* option : {"--verify", "--direct"}) {
      const outcome ended =
          run({"--queue-depth", depth, "--threads", "1", option, "source", depth});
      EXPECT_EQ(ended.exit_code, 0) << ended.err;
      EXPECT_TRUE(same_contents(at("source"), at(depth))) << depth << option;
    }
  }
}

TEST_F(cp, gives_the_exact_permissions_whatever_the_umask_and_no_set_user_id) {
  make_directories({"source/directory", "source/sticky"});
  for (const unsigned mode : {0777U, 0444U, 0200U, 0U, 0640U}) {
    const fs::path file = make("source/" + std::to_string(mode));
    ASSERT_EQ(::chmod(file.c_str(), mode), 0);
  }
  if (::geteuid() != 0) {  // who may not read a file cannot copy it
    fs::remove(at("source/" + std::to_string(0200U)));
    fs::remove(at("source/0"));
  }
  ASSERT_EQ(::chmod(make("source/special").c_str(), 06755), 0);
  ASSERT_EQ(::chmod(at("source/directory").c_str(), 0555), 0);
  ASSERT_EQ(::chmod(at("source/sticky").c_str(), 01777), 0);
  EXPECT_TRUE(succeeded(run({"-r", "source", "copy"}, {.before_exec = [] { ::umask(0077); }})));
  EXPECT_TRUE(same_tree(at("source"), at("copy")));
  EXPECT_EQ(mode_of(at("copy/special")), 0755U);
  EXPECT_EQ(mode_of(at("copy/sticky")), 01777U);
}

// --- trees ---------------------------------------------------------------------------------------

const words odd_names{"a space",  "line\nbreak", "-r",  ".hidden",  "[a,b]", "++",
                      "\xff\xfe", "t\u00fcr",    "cp",  "back\\sl", "'",     std::string(255, 'n'),
                      "...",      "--",          "{}%s"};

void make_odd_tree(const fs::path& top) {
  fs::create_directories(top / "nested/deeper/still");
  fs::create_directories(top / "empty");
  fs::create_directories(top / std::string(255, 'd') / "inner");
  fs::create_directories(top / "read only/inner");
  unsigned seed = 0;
  for (const fs::path& directory :
       {top, top / "nested/deeper", top / std::string(255, 'd') / "inner"}) {
    for (const std::string& name : odd_names) {
      ++seed;
      write_file(directory / name, bytes(seed * 331, seed));
    }
  }
  write_file(top / "nested/empty file", "");
  write_file(top / "nested/deeper/still/large", bytes(3 * mib + 1, 7));
  write_file(top / "read only/inner/file", "text");
  fs::create_symlink(".hidden", top / "link to a file");
  fs::create_symlink("nested/deeper", top / "link to a directory");
  fs::create_symlink("../nowhere", top / "nested/dangling link");
  fs::create_symlink(std::string(2000, 'x'), top / "nested/long link");
  ASSERT_EQ(::chmod((top / "nested/deeper/still/large").c_str(), 0444), 0);
  ASSERT_EQ(::chmod((top / "nested").c_str(), 0775), 0);
  age_tree(top);
  // Last: who is not root makes nothing in them any more.
  ASSERT_EQ(::chmod((top / "read only/inner").c_str(), 0555), 0);
  ASSERT_EQ(::chmod((top / "read only").c_str(), 0555), 0);
}

TEST_P(cp_with, copies_a_tree_with_all_that_can_be_in_it) {
  make_odd_tree(at("source"));
  EXPECT_TRUE(succeeded(run({"-r", "source", "copy"})));
  EXPECT_TRUE(same_tree(at("source"), at("copy")));

  make_directories({"into"});
  EXPECT_TRUE(succeeded(run({"--recursive", "--verify", "source/", "into"})));
  EXPECT_TRUE(same_tree(at("source"), at("into/source")));
}

TEST_F(cp, takes_every_name_on_the_command_line) {
  make_directories({"into"});
  words arguments{"--"};
  for (const std::string& name : odd_names) {
    make(name, bytes(100, static_cast<unsigned>(arguments.size())));
    arguments.push_back(name);
  }
  arguments.emplace_back("into");
  EXPECT_TRUE(succeeded(run(arguments)));
  for (const std::string& name : odd_names) {
    EXPECT_TRUE(same_contents(at(name), at("into") / name));
  }
  EXPECT_TRUE(succeeded(run({"--", "cp", "-r"})));
  EXPECT_TRUE(same_contents(at("cp"), at("-r")));
}

TEST_P(cp_with, copies_ten_thousand_small_files) {
  for (unsigned directory = 0; directory < 10; ++directory) {
    const fs::path into = at("source/" + std::to_string(directory));
    fs::create_directories(into);
    for (unsigned file = 0; file < 1000; ++file) {
      write_file(into / std::to_string(file), bytes((directory * 1000 + file) % 2003, file));
    }
  }
  EXPECT_TRUE(succeeded(run({"-r", "source", "copy"})));
  EXPECT_TRUE(same_tree(at("source"), at("copy")));
}

TEST_P(cp_with, merges_a_tree_into_a_directory) {
  make_directories({"source/both", "source/only here", "into/source/both", "into/source/there"});
  make("source/both/replaced", "new");
  make("source/both/added", bytes(mib + 5));
  make("source/only here/file");
  make("into/source/both/replaced", "old, and longer");
  make("into/source/both/kept", "kept");
  ASSERT_EQ(::chmod(at("into/source/both").c_str(), 0710), 0);
  ASSERT_EQ(::chmod(at("source/only here").c_str(), 0711), 0);
  EXPECT_TRUE(succeeded(run({"-r", "source", "into"})));
  EXPECT_EQ(read_file(at("into/source/both/replaced")), "new");
  EXPECT_EQ(read_file(at("into/source/both/kept")), "kept");
  EXPECT_TRUE(same_contents(at("source/both/added"), at("into/source/both/added")));
  EXPECT_TRUE(same_tree(at("source/only here"), at("into/source/only here")));
  EXPECT_TRUE(fs::is_directory(at("into/source/there")));
  EXPECT_EQ(mode_of(at("into/source/both")), 0710U) << "it was there, and keeps what it has";
}

TEST_P(cp_with, copies_the_same_tree_to_the_same_place_again) {
  make_odd_tree(at("source"));
  for (const char* directory : {"source/read only", "source/read only/inner"}) {
    ASSERT_EQ(::chmod(at(directory).c_str(), 0755), 0);  // only root could write there again
  }
  EXPECT_TRUE(succeeded(run({"-r", "source/.", "copy"})));
  EXPECT_TRUE(succeeded(run({"-r", "source/.", "copy"})));
  age_tree(at("source"));
  EXPECT_TRUE(succeeded(run({"-r", "source/.", "copy"})));
  EXPECT_EQ(inventory(at("copy")).size(), inventory(at("source")).size());
  EXPECT_TRUE(only_whole_files(at("source"), at("copy")));
  EXPECT_EQ(fs::read_symlink(at("copy/link to a directory")), "nested/deeper");
}

TEST_F(cp, puts_what_has_no_name_of_its_own_straight_into_the_destination) {
  make_directories({"source/inner", "dot", "slashes", "parent", "current"});
  make("source/file");
  make("source/inner/file");
  EXPECT_TRUE(succeeded(run({"-r", "source/.", "dot"})));
  EXPECT_TRUE(same_contents(at("source/file"), at("dot/file")));
  EXPECT_TRUE(same_contents(at("source/inner/file"), at("dot/inner/file")));
  EXPECT_TRUE(succeeded(run({"-r", "source/inner/..", "parent"})));
  EXPECT_TRUE(same_contents(at("source/inner/file"), at("parent/inner/file")));
  EXPECT_TRUE(succeeded(run({"-r", "source//inner//", "slashes//"})));
  EXPECT_TRUE(same_contents(at("source/inner/file"), at("slashes/inner/file")));
  EXPECT_TRUE(succeeded(run({"-r", "source/", "new/"})));
  EXPECT_TRUE(same_contents(at("source/inner/file"), at("new/inner/file")));

  command_options inside = here();
  inside.cwd = at("source");
  EXPECT_TRUE(succeeded(test::run({"cp", "-r", ".", "../current"}, inside)));
  EXPECT_TRUE(same_contents(at("source/inner/file"), at("current/inner/file")));
}

TEST_F(cp, merges_the_contents_of_several_directories) {
  make_directories({"a/both", "b/both", "into"});
  make("a/both/one");
  make("b/both/two");
  EXPECT_TRUE(succeeded(run({"-r", "a/.", "b/.", "into"})));
  EXPECT_TRUE(fs::exists(at("into/both/one")));
  EXPECT_TRUE(fs::exists(at("into/both/two")));
}

TEST_F(cp, follows_a_link_that_is_named_unless_trees_are_copied) {
  make("file");
  fs::create_symlink("file", at("link"));
  EXPECT_TRUE(succeeded(run({"link", "followed"})));
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(at("followed"))));
  EXPECT_TRUE(same_contents(at("file"), at("followed")));
  EXPECT_TRUE(succeeded(run({"-r", "link", "kept"})));
  EXPECT_EQ(fs::read_symlink(at("kept")), "file");
}

// --- sparse files --------------------------------------------------------------------------------

void write_at(const fs::path& path, std::uint64_t offset, std::string_view what) {
  const descriptor file = open_file(path, O_WRONLY);
  ASSERT_EQ(::pwrite(file.get(), what.data(), what.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(what.size()));
}

// As many blocks as the original has, or a few more where its data does not begin with one.
AssertionResult keeps_the_holes_of(const fs::path& source, const fs::path& copy) {
  const auto had = status_of(source).st_blocks * 512;
  const auto has = status_of(copy).st_blocks * 512;
  if (has <= had + static_cast<off_t>(64 * kib)) return AssertionSuccess();
  return AssertionFailure() << copy << " takes " << has << " bytes, " << source << " " << had;
}

TEST_P(cp_with, keeps_the_holes_of_five_gibibytes) {
  make_file(at("source"), 5 * gib + 4095);
  for (const std::uint64_t offset : {std::uint64_t{0}, 3 * mib + 1, gib - 1, 2 * gib + 4096,
                                     4 * gib - 2048, 5 * gib + 4095 - 100}) {
    write_at(at("source"), offset, bytes(100, static_cast<unsigned>(offset % 253)));
  }
  write_at(at("source"), 3 * gib, bytes(2 * mib + 777));
  for (const words& options : std::vector<words>{{}, {"--direct"}}) {
    const outcome ended = run_with(options, {"source", "copy"});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(same_contents(at("source"), at("copy"))) << ::testing::PrintToString(options);
    EXPECT_TRUE(keeps_the_holes_of(at("source"), at("copy")));
    fs::remove(at("copy"));
  }
}

TEST_P(cp_with, keeps_holes_wherever_they_are) {
  make_directories({"source"});
  make_file(at("source/only a hole"), 20 * mib + 1);
  make_file(at("source/small hole"), 100);
  make_file(at("source/hole at the end"), 10 * mib);
  write_at(at("source/hole at the end"), 0, bytes(mib + 1));
  make_file(at("source/hole at the start"), 10 * mib + 3);
  write_at(at("source/hole at the start"), 9 * mib + 3, bytes(mib));
  make_file(at("source/hole within"), 4 * mib);
  write_at(at("source/hole within"), 0, bytes(5000, 1));
  write_at(at("source/hole within"), 3 * mib, bytes(mib, 2));
  for (const words& options :
       std::vector<words>{{}, {"--direct"}, {"--verify"}, {"--direct", "--verify"}}) {
    const outcome ended = run_with(options, {"-r", "source", "copy"});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(same_tree(at("source"), at("copy"))) << ::testing::PrintToString(options);
    for (const auto& each : fs::directory_iterator(at("source"))) {
      EXPECT_TRUE(keeps_the_holes_of(each.path(), at("copy") / each.path().filename()));
    }
    fs::remove_all(at("copy"));
  }
}

// In the child, before exec.
template <std::size_t count>
void filter_system_calls(sock_filter (&program)[count]) {
  const sock_fprog filter{.len = count, .filter = program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    ::_exit(126);
  }
}

// As a file system answers that cannot tell where its files have holes.
void refuse_to_find_data() {
  sock_filter program[] = {
      {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = offsetof(seccomp_data, nr)},
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 3, .k = SYS_lseek},
      {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = offsetof(seccomp_data, args[2])},
      {.code = BPF_JMP | BPF_JGE | BPF_K, .jt = 0, .jf = 1, .k = SEEK_DATA},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ERRNO | EINVAL},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ALLOW},
  };
  filter_system_calls(program);
}

TEST_P(cp_with, copies_a_sparse_file_whole_where_holes_cannot_be_found) {
  make_file(at("source"), 3 * mib + 5);
  write_at(at("source"), mib + 3, bytes(1000));
  for (const char* option : {"--verify", "--direct"}) {
    const outcome ended = run({option, "source", "copy"}, {.before_exec = refuse_to_find_data});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(same_contents(at("source"), at("copy"))) << option;
    fs::remove(at("copy"));
  }
}

// The data of a source need not begin where the destination's device can begin a block.
TEST_P(cp_with, copies_small_blocks_onto_large_sectors_past_the_page_cache) {
  if (!may_mount()) GTEST_SKIP() << "may not mount";
  const ext4_device small_blocks(at("image 1"), 16 * mib, "-b 1024");
  const ext4_device large_sectors(at("image 2"), 16 * mib, "-b 4096", 4096);
  if (!small_blocks || !large_sectors) GTEST_SKIP() << "no mkfs.ext4, or no loop device";
  const mounted from(at("from"), "ext4", nullptr, small_blocks.path());
  ASSERT_TRUE(from) << from.reason();
  const mounted to(at("to"), "ext4", nullptr, large_sectors.path());
  ASSERT_TRUE(to) << to.reason();
  make_file(at("from/source"), 40'000);
  write_at(at("from/source"), 1024, bytes(1024, 1));
  write_at(at("from/source"), 9 * kib, bytes(1500, 2));
  ::sync();
  const outcome ended = run({"--direct", "from/source", "to/copy"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(same_contents(at("from/source"), at("to/copy")));
}

// --- files whose size says little ----------------------------------------------------------------

TEST_P(cp_with, copies_files_of_proc_whole_though_they_have_no_size) {
  for (const char* source : {"/proc/filesystems", "/proc/kallsyms"}) {
    const std::string before = read_file(source);
    const outcome ended = run({source, "copy"});
    if (before != read_file(source)) continue;  // nobody could have copied it
    EXPECT_TRUE(succeeded(ended)) << source;
    EXPECT_EQ(read_file(at("copy")).size(), before.size()) << source;
    EXPECT_TRUE(read_file(at("copy")) == before) << source;
  }
}

// There, every file says that it has 4096 bytes, and none has.
TEST_P(cp_with, copies_no_more_of_a_file_of_sys_than_can_be_read) {
  const char* source = "/sys/devices/system/cpu/possible";
  const std::string contents = read_file(source);
  if (contents.empty()) GTEST_SKIP() << "no " << source;
  const outcome ended = run({source, "copy"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(read_file(at("copy")), contents);
}

/// Cuts a file and writes it again, as fast as it can: at each offset is what `bytes` says, or
/// nothing, or in between a hole.
class unsteady_file {
 public:
  unsteady_file(const fs::path& path, std::size_t least, std::size_t most)
      : contents_(bytes(most)), file_(make_file(path)), writer_([this, least] { change(least); }) {}
  unsteady_file(const unsteady_file&) = delete;
  unsteady_file& operator=(const unsteady_file&) = delete;
  ~unsteady_file() {
    done_ = true;
    writer_.join();
  }

  const std::string& longest() const noexcept { return contents_; }

 private:
  void change(std::size_t least) {
    std::minstd_rand random(1);
    while (!done_) {
      const std::size_t spread = contents_.size() - least;
      const auto size = least + (spread == 0 ? 0 : random() % (spread + 1));
      static_cast<void>(::ftruncate(file_.get(), static_cast<off_t>(least + (size - least) / 2)));
      static_cast<void>(::pwrite(file_.get(), contents_.data(), size, 0));
    }
  }

  const std::string contents_;
  const descriptor file_;
  std::atomic<bool> done_ = false;
  std::thread writer_;
};

TEST_P(cp_with, survives_files_that_shrink_and_grow_meanwhile) {
  const unsteady_file source(at("source"), 0, 4 * mib + 100);
  for (int i = 0; i < 12; ++i) {
    const std::string option = i % 3 == 0 ? "--direct" : i % 3 == 1 ? "--verify" : "--threads=2";
    const outcome ended = run({option, "source", "copy"});
    EXPECT_EQ(ended.signal, 0);
    EXPECT_EQ(partial_copies(at("")), words{});
    if (ended.exit_code != 0) {
      EXPECT_TRUE(failed_saying(ended, {"'source'"}));
      continue;
    }
    const std::string copy = read_file(at("copy"));
    ASSERT_LE(copy.size(), source.longest().size());
    ASSERT_EQ(right_or_zero(copy, source.longest()), copy.size())
        << option << ": what is there was never in the source";
  }
}

// --- past the page cache, and without a trace in it ----------------------------------------------

// Whatever O_DIRECT is answered there, the copy must be right, and a refusal must be told.
void expect_direct_copy_onto(const fs::path& directory, const outcome& ended,
                             const fs::path& source) {
  const bool refused = !open_direct(directory / "copy");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(same_contents(source, directory / "copy"));
  EXPECT_TRUE(said_no_more_than(ended, refused ? 1 : 0));
  if (refused) {
    EXPECT_TRUE(said(ended, {"through the page cache", "refuses O_DIRECT"}));
  }
  EXPECT_EQ(partial_copies(directory), words{});
}

TEST_P(cp_with, copies_onto_a_file_system_in_memory_that_knows_no_direct) {
  const mounted memory(at("memory"), "ramfs", nullptr);
  if (!memory) GTEST_SKIP() << memory.reason();
  make("source", bytes(3 * mib + 5));
  make("other", bytes(10));
  const outcome ended = run({"--direct", "--verify", "source", "memory/copy"});
  ASSERT_FALSE(open_direct(at("memory/copy"))) << "ramfs refuses O_DIRECT";
  expect_direct_copy_onto(at("memory"), ended, at("source"));

  make_directories({"memory/into"});
  const outcome two = run({"--direct", "source", "other", "memory/into"});
  EXPECT_EQ(two.exit_code, 0);
  EXPECT_TRUE(said_no_more_than(two, 1)) << "once is enough";
  EXPECT_TRUE(same_contents(at("source"), at("memory/into/source")));
  EXPECT_TRUE(same_contents(at("other"), at("memory/into/other")));
  EXPECT_EQ(partial_copies(at("memory")), words{});

  const outcome back = run({"--direct", "memory/copy", "back"});
  EXPECT_TRUE(said(back, {"'back'", "through the page cache"}));
  EXPECT_TRUE(same_contents(at("source"), at("back")));
}

TEST_P(cp_with, copies_onto_a_tmpfs_past_or_through_the_page_cache) {
  const mounted memory(at("memory"), "tmpfs", nullptr);
  if (!memory) GTEST_SKIP() << memory.reason();
  make("source", bytes(3 * mib + 5));
  const outcome ended = run({"--direct", "--verify", "source", "memory/copy"});
  expect_direct_copy_onto(at("memory"), ended, at("source"));
}

TEST_P(cp_with, copies_onto_an_ext4_that_keeps_data_in_its_journal) {
  if (!may_mount()) GTEST_SKIP() << "may not mount";
  const ext4_device device(at("image"), 64 * mib, "-b 4096");
  if (!device) GTEST_SKIP() << "no mkfs.ext4, or no loop device";
  const mounted disk(at("disk"), "ext4", "data=journal", device.path());
  ASSERT_TRUE(disk) << disk.reason();
  make("source", bytes(3 * mib + 5));
  const outcome ended = run({"--direct", "--verify", "source", "disk/copy"});
  expect_direct_copy_onto(at("disk"), ended, at("source"));
}

TEST_P(cp_with, copies_from_a_file_system_that_knows_no_direct) {
  const std::string contents = read_file("/proc/filesystems");
  const descriptor direct(::open("/proc/filesystems", O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (direct) GTEST_SKIP() << "/proc takes O_DIRECT here";
  const outcome ended = run({"--direct", "/proc/filesystems", "copy"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_TRUE(said(ended, {"'copy'", "through the page cache", "refuses O_DIRECT"}));
  EXPECT_TRUE(said_no_more_than(ended, 1));
  EXPECT_EQ(read_file(at("copy")), contents);
}

// How many pages of the file are in memory.
std::size_t resident_pages(const fs::path& path) {
  const descriptor file = open_file(path, O_RDONLY);
  const auto size = fs::file_size(path);
  void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapping == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap");
  std::vector<unsigned char> pages((size + 4095) / 4096);
  const int answer = ::mincore(mapping, size, pages.data());
  ::munmap(mapping, size);
  if (answer != 0) throw std::system_error(errno, std::system_category(), "mincore");
  return static_cast<std::size_t>(
      std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

// On the disk, and out of memory. False where the file system keeps its files there.
bool forget(const fs::path& path) {
  const descriptor file = open_file(path, O_RDWR);
  ::fsync(file.get());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  return resident_pages(path) == 0;
}

// The kernel may take its time with a page that someone looks at, as its own writeback does.
constexpr std::size_t a_few_pages = 16;

TEST_P(cp_with, leaves_nothing_in_the_page_cache_that_was_not_there) {
  for (const words& options : std::vector<words>{
           {"--drop-cache"}, {"--drop-cache", "--verify"}, {"--drop-cache", "--direct"}}) {
    make("source", bytes(8 * mib + 100));
    if (!forget(at("source"))) GTEST_SKIP() << "files stay in memory here";
    EXPECT_TRUE(succeeded(run_with(options, {"source", "copy"})));
    const std::string with = ::testing::PrintToString(options);
    EXPECT_LE(resident_pages(at("source")), a_few_pages) << with;
    EXPECT_LE(resident_pages(at("copy")), a_few_pages) << with;
    EXPECT_TRUE(same_contents(at("source"), at("copy"))) << with;
  }
}

TEST_P(cp_with, leaves_nothing_of_small_files_in_the_page_cache) {
  make_directories({"source"});
  for (unsigned i = 0; i < 50; ++i) {
    const fs::path file = make("source/" + std::to_string(i), bytes(4096 * (1 + i % 5), i));
    if (!forget(file)) GTEST_SKIP() << "files stay in memory here";
  }
  EXPECT_TRUE(succeeded(run({"--drop-cache", "--verify", "-r", "source", "copy"})));
  std::size_t resident = 0;
  for (unsigned i = 0; i < 50; ++i) {
    resident += resident_pages(at("source/" + std::to_string(i)));
    resident += resident_pages(at("copy/" + std::to_string(i)));
  }
  EXPECT_LE(resident, a_few_pages);
  EXPECT_TRUE(same_tree(at("source"), at("copy")));
}

bool takes_dontcache(const fs::path& path) {
  const descriptor file = open_file(path, O_RDONLY);
  char byte = 0;
  const iovec where{.iov_base = &byte, .iov_len = 1};
  constexpr int rwf_dontcache = 0x80;
  return ::preadv2(file.get(), &where, 1, 0, rwf_dontcache) >= 0;
}

TEST_P(cp_with, leaves_in_the_page_cache_what_others_use) {
  make("source", bytes(8 * mib));
  if (!takes_dontcache(at("source"))) GTEST_SKIP() << "no RWF_DONTCACHE here";
  ASSERT_TRUE(forget(at("source")));
  ASSERT_EQ(read_file(at("source")).size(), 8 * mib);
  const std::size_t before = resident_pages(at("source"));
  EXPECT_TRUE(succeeded(run({"--drop-cache", "--verify", "source", "copy"})));
  EXPECT_GE(resident_pages(at("source")) + a_few_pages, before);
}

// Only one of the two file systems may know RWF_DONTCACHE.
TEST_P(cp_with, drops_and_verifies_between_different_file_systems) {
  const mounted memory(at("memory"), "tmpfs", nullptr);
  if (!memory) GTEST_SKIP() << memory.reason();
  make("source", bytes(2 * mib + 100));
  if (!forget(at("source"))) GTEST_SKIP() << "files stay in memory here";
  EXPECT_TRUE(succeeded(run({"--drop-cache", "--verify", "source", "memory/there"})));
  EXPECT_TRUE(same_contents(at("source"), at("memory/there")));
  EXPECT_TRUE(succeeded(run({"--drop-cache", "--verify", "memory/there", "back"})));
  EXPECT_LE(resident_pages(at("back")), a_few_pages);
  EXPECT_TRUE(same_contents(at("source"), at("back")));
}

// --- verification --------------------------------------------------------------------------------

TEST_P(cp_with, removes_a_copy_that_differs_from_its_source) {
  constexpr std::size_t size = 4 * mib;
  make("source", bytes(size));
  make("existing", "old");
  std::atomic<bool> done = false;
  // A source that changes between being copied and being verified.
  std::thread writer([&] {
    const descriptor file = open_file(at("source"), O_RDWR);
    for (unsigned char value = 0; !done; ++value) {
      for (off_t offset = 0; offset < off_t{size}; offset += 64 * off_t{kib}) {
        static_cast<void>(::pwrite(file.get(), &value, 1, offset));
      }
    }
  });
  bool differed = false;
  for (int i = 0; i < tries && !differed; ++i) {
    const outcome ended = run({"--verify", "source", "copy"});
    EXPECT_EQ(partial_copies(at("")), words{});
    differed = ended.exit_code != 0;
    if (differed) {
      EXPECT_TRUE(failed_saying(ended, {"the copy of 'source' differs", "it is removed"}));
      EXPECT_FALSE(fs::exists(at("copy")));
    }
    fs::remove(at("copy"));
  }
  EXPECT_TRUE(differed) << "the source changed all the time, and that was not noticed";
  differed = false;
  for (int i = 0; i < tries && !differed; ++i) {
    make("existing", "old");
    differed = run({"--verify", "source", "existing"}).exit_code != 0;
  }
  done = true;
  writer.join();
  EXPECT_TRUE(differed);
  EXPECT_EQ(read_file(at("existing")), "old");
}

// --- full disks ----------------------------------------------------------------------------------

constexpr const char* no_space = "No space left on device";

class cp_onto_full_disk : public cp_with {
 protected:
  /// `disk` has less room than this tree wants, and more than one of its files does.
  void make_sources(std::size_t files, std::size_t size) const {
    make_directories({"source"});
    for (unsigned i = 0; i < files; ++i) make("source/" + std::to_string(i), bytes(size, i));
  }

  void expect_failure_without_damage(const words& options) const {
    make("small", "was here before");
    ASSERT_TRUE(succeeded(run({"small", "disk/before"})));
    const outcome ended = run_with(options, {"-r", "source", "disk"});
    EXPECT_TRUE(failed_saying(ended, {"cannot write 'disk/source/", no_space})) << ended.err;
    EXPECT_TRUE(said(ended, {"the destination is full"}));
    EXPECT_EQ(partial_copies(at("disk")), words{});
    EXPECT_TRUE(only_whole_files(at("source"), at("disk/source")));
    EXPECT_LT(files_in(at("disk/source")), files_in(at("source")));
    EXPECT_EQ(read_file(at("disk/before")), "was here before");
    fs::remove_all(at("disk/source"));
  }

  void expect_the_old_file_to_stay(const words& options) const {
    make("disk/replaced", "old");
    EXPECT_TRUE(failed_saying(run_with(options, {"too large", "disk/replaced"}),
                              {"'disk/replaced'", no_space, "partial copy"}));
    EXPECT_EQ(read_file(at("disk/replaced")), "old");
    EXPECT_TRUE(failed_saying(run_with(options, {"too large", "disk/new"}),
                              {"'disk/new'", no_space, "partial copy"}));
    EXPECT_FALSE(fs::exists(at("disk/new")));
    EXPECT_EQ(partial_copies(at("disk")), words{});
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, cp_onto_full_disk, ::testing::ValuesIn(driver_names),
                         name_of_driver);

TEST_P(cp_onto_full_disk, fails_without_damage_in_memory) {
  const mounted disk(at("disk"), "tmpfs", "size=8m");
  if (!disk) GTEST_SKIP() << disk.reason();
  make_sources(12, mib);
  make("too large", bytes(16 * mib));
  for (const words& options : std::vector<words>{{}, {"--verify", "--queue-depth", "4"}}) {
    expect_failure_without_damage(options);
    expect_the_old_file_to_stay(options);
  }
}

TEST_P(cp_onto_full_disk, fails_without_damage_on_ext4) {
  if (!may_mount()) GTEST_SKIP() << "may not mount";
  const ext4_device device(at("image"), 32 * mib, "-b 4096");
  if (!device) GTEST_SKIP() << "no mkfs.ext4, or no loop device";
  const mounted disk(at("disk"), "ext4", nullptr, device.path());
  ASSERT_TRUE(disk) << disk.reason();
  make_sources(48, mib);
  make("too large", bytes(48 * mib));
  for (const words& options : std::vector<words>{{}, {"--direct"}, {"--drop-cache"}}) {
    expect_failure_without_damage(options);
    expect_the_old_file_to_stay(options);
  }
}

TEST_P(cp_onto_full_disk, fails_where_there_is_room_but_no_inode) {
  const mounted disk(at("disk"), "tmpfs", "size=8m,nr_inodes=30");
  if (!disk) GTEST_SKIP() << disk.reason();
  make_sources(100, 10);
  expect_failure_without_damage({});
}

// --- interruptions -------------------------------------------------------------------------------

class cp_interrupted : public cp_with {
 protected:
  /// Starts the command, waits until `begun`, and sends the signal; again, where it had ended
  /// before that.
  outcome interrupt(const words& arguments, int signal, const std::function<void()>& prepare,
                    const std::function<bool()>& begun) const {
    for (int i = 0; i < tries; ++i) {
      prepare();
      running_command command(line(arguments), here());
      if (reached(command, begun)) command.kill(signal);
      outcome ended = command.wait();
      if (ended.exit_code != 0) return ended;
    }
    ADD_FAILURE() << "the command ended too early, " << tries << " times";
    return {};
  }

  std::function<void()> without(const char* copy) const {
    return [path = at(copy)] { fs::remove_all(path); };
  }

  std::function<bool()> partial_in(const char* directory) const {
    return [path = at(directory)] { return count_entries(path, is_partial) != 0; };
  }

  static void expect_end_by(int signal, const outcome& ended) {
    EXPECT_EQ(ended.signal, signal) << ended.err;
    EXPECT_TRUE(said(ended, {"interrupted: ", "partial copies were removed"}));
    EXPECT_TRUE(said_no_more_than(ended, 1));
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, cp_interrupted, ::testing::ValuesIn(driver_names),
                         name_of_driver);

TEST_P(cp_interrupted, within_a_large_file_leaves_no_part_of_it) {
  make_large_file(at("source"), 256 * mib);
  make_directories({"into"});
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const outcome ended =
        interrupt({"source", "into/copy"}, signal, without("into/copy"), partial_in("into"));
    expect_end_by(signal, ended);
    EXPECT_EQ(partial_copies(at("into")), words{});
    EXPECT_FALSE(fs::exists(at("into/copy")));
  }
}

TEST_P(cp_interrupted, leaves_the_file_that_was_to_be_replaced) {
  make_large_file(at("source"), 128 * mib);
  make_directories({"into"});
  const auto restore = [this] { make("into/copy", "old"); };
  expect_end_by(SIGINT, interrupt({"source", "into/copy"}, SIGINT, restore, partial_in("into")));
  EXPECT_EQ(read_file(at("into/copy")), "old");
  EXPECT_EQ(partial_copies(at("into")), words{});
}

TEST_P(cp_interrupted, past_the_page_cache_or_verifying_leaves_no_part) {
  make_large_file(at("source"), 128 * mib);
  make_directories({"into"});
  for (const char* option : {"--direct", "--verify", "--drop-cache"}) {
    const outcome ended = interrupt({option, "source", "into/copy"}, SIGINT, without("into/copy"),
                                    partial_in("into"));
    expect_end_by(SIGINT, ended);
    EXPECT_EQ(partial_copies(at("into")), words{});
    // The signal may have come when all was done, but for the name.
    if (fs::exists(at("into/copy"))) {
      EXPECT_TRUE(same_contents(at("source"), at("into/copy")));
    }
  }
}

TEST_P(cp_interrupted, within_a_tree_leaves_only_whole_files) {
  make_directories({"source/directory"});
  for (unsigned i = 0; i < 3000; ++i) {
    make("source/directory/" + std::to_string(i), bytes(1 + i * 3, i));
  }
  for (const auto& [signal, files] : std::vector<std::pair<int, std::size_t>>{
           {SIGINT, 1}, {SIGTERM, 1}, {SIGINT, 500}, {SIGTERM, 1500}}) {
    const auto begun = [this, wanted = files] {
      return count_entries(at("copy/directory"), is_whole) >= wanted;
    };
    const outcome ended = interrupt({"-r", "source", "copy"}, signal, without("copy"), begun);
    expect_end_by(signal, ended);
    EXPECT_EQ(partial_copies(at("copy")), words{});
    EXPECT_TRUE(only_whole_files(at("source"), at("copy")));
    EXPECT_GE(files_in(at("copy")), files);
  }
}

// As nohup(1) does, and shells do to what they start in the background.
TEST_P(cp_interrupted, does_not_listen_to_signals_that_it_was_told_to_ignore) {
  make_large_file(at("source"), 128 * mib);
  make_directories({"into"});
  for (const int signal : {SIGHUP, SIGINT}) {
    bool in_time = false;
    for (int i = 0; i < tries && !in_time; ++i) {
      fs::remove(at("into/copy"));
      running_command command(line({"source", "into/copy"}),
                              here({.before_exec = [signal] { std::signal(signal, SIG_IGN); }}));
      in_time = reached(command, partial_in("into"));
      command.kill(signal);
      EXPECT_TRUE(succeeded(command.wait()));
      EXPECT_TRUE(same_contents(at("source"), at("into/copy")));
    }
    EXPECT_TRUE(in_time) << "the command ended too early, " << tries << " times";
  }
}

// --- others at work in the destination -----------------------------------------------------------

TEST_P(cp_with, fails_where_the_destination_directory_moves_away) {
  make_large_file(at("source"), 128 * mib);
  outcome ended;
  for (int i = 0; i < tries && ended.exit_code != 1; ++i) {
    fs::remove_all(at("moved"));
    fs::remove_all(at("into"));
    make_directories({"into"});
    running_command command(line({"source", "into/copy"}), here());
    if (reached(command, [this] { return count_entries(at("into"), is_partial) != 0; })) {
      fs::rename(at("into"), at("moved"));
    }
    ended = command.wait();
  }
  EXPECT_TRUE(failed_saying(ended, {"'into/copy'", "No such file or directory"}));
  EXPECT_FALSE(fs::exists(at("moved/copy")));
}

TEST_P(cp_with, does_not_replace_what_another_program_puts_into_a_new_directory) {
  make_directories({"source"});
  make_large_file(at("source/file"), 128 * mib);
  bool intruded = false;
  for (int i = 0; i < tries && !intruded; ++i) {
    fs::remove_all(at("copy"));
    running_command command(line({"-r", "source", "copy"}), here());
    if (reached(command, [this] { return count_entries(at("copy"), is_partial) != 0; })) {
      const descriptor theirs(
          ::open(at("copy/file").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      intruded = static_cast<bool>(theirs);
    }
    const outcome ended = command.wait();
    if (!intruded) continue;
    EXPECT_TRUE(failed_saying(ended, {"cannot write 'copy/file'", "File exists"}));
    EXPECT_EQ(fs::file_size(at("copy/file")), 0U);
    EXPECT_EQ(partial_copies(at("copy")), words{});
  }
  EXPECT_TRUE(intruded) << "the command ended too early, " << tries << " times";
}

// --- without permission --------------------------------------------------------------------------

constexpr uid_t nobody = 65534;
constexpr int could_not_execute = 127;

void become_nobody() {
  if (::geteuid() != 0) return;
  if (::setgroups(0, nullptr) != 0 || ::setgid(nobody) != 0 || ::setuid(nobody) != 0) ::_exit(126);
}

/// Runs the command as someone who is not root, in a directory that belongs to them.
class cp_not_root : public cp_with {
 protected:
  cp_not_root() {
    make_directories({"source", "into"});
    give_away("");
    give_away("into");
  }

  void SetUp() override {
    cp_with::SetUp();
    if (IsSkipped()) return;
    make("probe");
    const outcome ended = as_nobody({"probe", "into"});
    if (ended.exit_code == could_not_execute) GTEST_SKIP() << "nobody may run the command";
    if (ended.err.contains(" is not available: ")) GTEST_SKIP() << ended.err;
    ASSERT_TRUE(succeeded(ended));
  }

  void give_away(std::string_view name) const {
    if (::geteuid() != 0) return;
    ASSERT_EQ(::chown(at(name).c_str(), nobody, nobody), 0);
  }

  outcome as_nobody(words arguments) const {
    return run(std::move(arguments), {.before_exec = become_nobody});
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, cp_not_root, ::testing::ValuesIn(driver_names), name_of_driver);

TEST_P(cp_not_root, names_what_may_not_be_read_and_copies_the_rest) {
  make_directories({"source/secret directory", "source/open"});
  make("source/secret directory/hidden");
  make("source/secret file");
  make("source/open/file", bytes(mib + 1));
  ASSERT_EQ(::chmod(at("source/secret file").c_str(), 0), 0);
  ASSERT_EQ(::chmod(at("source/secret directory").c_str(), 0), 0);
  const outcome ended = as_nobody({"-r", "source", "into"});
  EXPECT_TRUE(failed_saying(ended, {"cannot open 'source/secret file'", "Permission denied"}));
  EXPECT_TRUE(failed_saying(ended, {"cannot list 'source/secret directory'", "Permission denied"}));
  EXPECT_TRUE(said_no_more_than(ended, 2));
  EXPECT_TRUE(same_tree(at("source/open"), at("into/source/open")));
  EXPECT_FALSE(fs::exists(at("into/source/secret file")));
  EXPECT_EQ(partial_copies(at("into")), words{});
}

TEST_P(cp_not_root, fails_in_a_directory_that_may_not_be_written_to) {
  make("source/file");
  make_directories({"source/directory"});
  give_away("into");
  ASSERT_EQ(::chmod(at("into").c_str(), 0555), 0);
  EXPECT_TRUE(failed_saying(as_nobody({"source/file", "into"}),
                            {"cannot write 'into/file'", "Permission denied"}));
  EXPECT_TRUE(failed_saying(as_nobody({"-r", "source/directory", "into"}),
                            {"make directory 'into/directory'", "Permission denied"}));
  EXPECT_FALSE(fs::exists(at("into/file")));
}

TEST_P(cp_not_root, copies_trees_that_may_only_be_read) {
  make_odd_tree(at("source/tree"));
  EXPECT_TRUE(succeeded(as_nobody({"-r", "source/tree", "into/tree"})));
  EXPECT_TRUE(same_tree(at("source/tree"), at("into/tree")));
}

// Not as root, so that a mistake here does not cost the machine its /dev/null.
TEST_P(cp_not_root, does_not_replace_a_device) {
  make("source/file");
  EXPECT_TRUE(failed_saying(as_nobody({"source/file", "/dev/null"}),
                            {"will not replace '/dev/null'", "not a regular file"}));
  EXPECT_TRUE(S_ISCHR(status_of("/dev/null").st_mode));
}

// --- what makes no sense -------------------------------------------------------------------------

TEST_P(cp_with, names_a_missing_source_and_copies_the_others) {
  make_directories({"into"});
  make("there");
  const outcome ended = run({"missing", "there", "into"});
  EXPECT_TRUE(failed_saying(ended, {"'missing'", "No such file or directory"}));
  EXPECT_TRUE(said_no_more_than(ended, 1));
  EXPECT_TRUE(same_contents(at("there"), at("into/there")));
}

TEST_P(cp_with, fails_where_the_destinations_directory_is_missing) {
  make("file");
  make_directories({"directory"});
  for (const char* destination : {"missing/copy", "missing/"}) {
    EXPECT_TRUE(failed_saying(run({"file", destination}),
                              {"'" + std::string(destination), "No such file or directory"}));
  }
  EXPECT_TRUE(failed_saying(run({"-r", "directory", "missing/copy"}),
                            {"'missing/copy'", "No such file or directory"}));
  EXPECT_FALSE(fs::exists(at("missing")));
}

TEST_F(cp, several_sources_need_a_directory) {
  make("one", "1");
  make("two", "2");
  make("file", "old");
  for (const char* destination : {"file", "missing"}) {
    EXPECT_TRUE(failed_saying(run({"one", "two", destination}),
                              {"several sources", "'" + std::string(destination) + "'"}));
  }
  EXPECT_EQ(read_file(at("file")), "old");
  EXPECT_FALSE(fs::exists(at("missing")));
}

TEST_F(cp, copies_a_directory_only_when_it_is_told_to) {
  make_directories({"directory", "into"});
  make("directory/file");
  make("file");
  const outcome ended = run({"directory", "file", "into"});
  EXPECT_TRUE(failed_saying(ended, {"'directory' is a directory", "-r"}));
  EXPECT_FALSE(fs::exists(at("into/directory")));
  EXPECT_TRUE(same_contents(at("file"), at("into/file")));
}

TEST_P(cp_with, does_not_copy_a_file_onto_itself) {
  make_directories({"directory"});
  make("directory/file", "text");
  fs::create_symlink("directory/file", at("link"));
  fs::create_hard_link(at("directory/file"), at("other name"));
  for (const words& arguments : std::vector<words>{{"directory/file", "directory/file"},
                                                   {"directory/file", "directory"},
                                                   {"directory/file", "link"},
                                                   {"link", "directory/file"},
                                                   {"directory/file", "other name"}}) {
    EXPECT_TRUE(failed_saying(run(arguments), {"same file"}));
    EXPECT_EQ(read_file(at("directory/file")), "text");
  }
  EXPECT_TRUE(failed_saying(run({"-r", "directory", "."}), {"'directory'"}));
  EXPECT_EQ(read_file(at("directory/file")), "text");
}

TEST_F(cp, does_not_copy_a_directory_into_itself) {
  make_directories({"directory/inner"});
  fs::create_directory_symlink("directory", at("link"));
  const auto before = inventory(at(""));
  for (const words& arguments : std::vector<words>{{"directory", "directory"},
                                                   {"directory", "directory/inner"},
                                                   {"directory", "directory/new"},
                                                   {"directory", "link/inner"},
                                                   {"directory/", "directory/inner/.."},
                                                   {".", "directory/inner"},
                                                   {"directory/..", "directory"}}) {
    EXPECT_TRUE(failed_saying(run_with({"-r"}, arguments),
                              {"will not copy directory '" + arguments[0] + "' into itself"}));
    EXPECT_EQ(inventory(at("")), before) << ::testing::PrintToString(arguments);
  }
}

TEST_F(cp, does_not_write_two_sources_of_one_name) {
  make_directories({"a", "b", "into"});
  make("a/file", "a");
  make("b/file", "b");
  make("b/other");
  const outcome ended = run({"a/file", "b/file", "b/other", "into"});
  EXPECT_TRUE(failed_saying(ended, {"'into/file'", "'b/file'"}));
  EXPECT_TRUE(said_no_more_than(ended, 1));
  EXPECT_EQ(read_file(at("into/file")), "a");
  EXPECT_TRUE(fs::exists(at("into/other")));
}

// Found only while directories are walked, when the first may be in flight already.
TEST_P(cp_with, leaves_one_whole_file_where_two_of_one_name_meet) {
  make_directories({"a", "b", "into"});
  make("a/file", bytes(3 * mib, 1));
  make("b/file", bytes(2 * mib, 2));
  const outcome ended = run({"-r", "a/.", "b/file", "into"});
  EXPECT_TRUE(succeeded(ended) || failed_saying(ended, {"'into/file'"}));
  EXPECT_TRUE(same_contents(at("a/file"), at("into/file")) ||
              same_contents(at("b/file"), at("into/file")));
  EXPECT_EQ(partial_copies(at("into")), words{});
}

TEST_P(cp_with, does_not_exchange_files_and_directories) {
  make_directories({"source/x", "source/y", "into/source/x", "into/source/file", "directory"});
  make("source/x/file");
  make("source/file");
  make("into/source/y", "a file");
  const outcome ended = run({"-r", "source", "into"});
  EXPECT_TRUE(failed_saying(ended, {"'into/source/file'", "not a regular file"}));
  EXPECT_TRUE(failed_saying(ended, {"'into/source/y'", "File exists"}));
  EXPECT_TRUE(said_no_more_than(ended, 2));
  EXPECT_TRUE(same_contents(at("source/x/file"), at("into/source/x/file")));
  EXPECT_TRUE(fs::is_directory(at("into/source/file")));
  EXPECT_EQ(read_file(at("into/source/y")), "a file");

  make("plain", "text");
  EXPECT_TRUE(failed_saying(run({"-r", "directory", "plain"}), {"'plain'", "File exists"}));
  EXPECT_TRUE(failed_saying(run({"source/file", "plain/"}), {"'plain/'", "Not a directory"}));
  EXPECT_EQ(read_file(at("plain")), "text");
}

TEST_P(cp_with, writes_through_a_link_to_a_file) {
  make_directories({"elsewhere"});
  make("source", bytes(mib + 1));
  make("elsewhere/target", "old");
  fs::create_symlink("elsewhere/target", at("link"));
  EXPECT_TRUE(succeeded(run({"source", "link"})));
  EXPECT_EQ(fs::read_symlink(at("link")), "elsewhere/target");
  EXPECT_TRUE(same_contents(at("source"), at("elsewhere/target")));
  EXPECT_EQ(partial_copies(at("")), words{});
}

TEST_P(cp_with, does_not_write_through_a_link_that_leads_nowhere) {
  make("source");
  make_directories({"directory"});
  fs::create_symlink("nowhere", at("dangling"));
  fs::create_symlink("loop", at("loop"));
  EXPECT_TRUE(
      failed_saying(run({"source", "dangling"}), {"'dangling'", "No such file or directory"}));
  EXPECT_TRUE(failed_saying(run({"-r", "directory", "dangling"}), {"'dangling'", "File exists"}));
  EXPECT_TRUE(failed_saying(run({"source", "loop"}), {"'loop'", "symbolic links"}));
  EXPECT_FALSE(fs::exists(at("nowhere")));
  EXPECT_TRUE(fs::is_symlink(at("dangling")));
}

void make_socket(const fs::path& directory, const char* name) {
  // A socket's name has little room: it is made from within the directory.
  const fs::path before = fs::current_path();
  fs::current_path(directory);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, name, sizeof address.sun_path - 1);
  const descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int bound =
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  fs::current_path(before);
  ASSERT_EQ(bound, 0);
}

TEST_P(cp_with, refuses_what_is_no_file_and_copies_the_rest) {
  make_directories({"source"});
  ASSERT_EQ(::mkfifo(at("source/fifo").c_str(), 0600), 0);
  make_socket(at("source"), "socket");
  const dev_t null = ::makedev(1, 3);
  words refused{"source/fifo", "source/socket"};
  if (::mknod(at("source/device").c_str(), S_IFCHR | 0600, null) == 0) {
    refused.emplace_back("source/device");
  }
  make("source/file", bytes(mib + 1));
  const outcome ended = run({"-r", "source", "copy"});
  for (const std::string& each : refused) {
    EXPECT_TRUE(failed_saying(ended, {"'" + each + "' is not copied"}));
    EXPECT_TRUE(failed_saying(run({each, "alone"}), {"'" + each + "' is not copied"}));
  }
  EXPECT_TRUE(said_no_more_than(ended, std::ssize(refused)));
  EXPECT_EQ(std::distance(fs::directory_iterator(at("copy")), {}), 1);
  EXPECT_TRUE(same_contents(at("source/file"), at("copy/file")));
  EXPECT_FALSE(fs::exists(at("alone")));
  EXPECT_TRUE(failed_saying(run({"/dev/null", "copy"}), {"'/dev/null' is not copied"}));
}

TEST_P(cp_with, does_not_replace_a_fifo) {
  make("source");
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(failed_saying(run({"source", "fifo"}), {"will not replace 'fifo'"}));
  EXPECT_TRUE(fs::is_fifo(at("fifo")));
}

// --- limits --------------------------------------------------------------------------------------

std::function<void()> limited_to(__rlimit_resource what, rlim_t count) {
  return [what, count] {
    const rlimit limit{.rlim_cur = count, .rlim_max = count};
    ::setrlimit(what, &limit);
  };
}

TEST_P(cp_with, copies_or_fails_cleanly_with_few_descriptors) {
  // It looks at memory by means of a pipe, and takes what it cannot look at for broken.
  if (address_sanitizer) GTEST_SKIP() << "the undefined behaviour sanitizer needs descriptors";
  make_directories({"source/directory"});
  for (unsigned i = 0; i < 200; ++i) {
    make("source/directory/" + std::to_string(i), bytes(100 * i, i));
  }
  make("source/large", bytes(5 * mib));
  for (const rlim_t limit : {6U, 8U, 10U, 12U, 20U, 40U, 100U}) {
    const outcome ended =
        run({"-r", "source", "copy"}, {.before_exec = limited_to(RLIMIT_NOFILE, limit)});
    EXPECT_EQ(ended.signal, 0) << limit;
    if (ended.exit_code == 0) {
      EXPECT_TRUE(same_tree(at("source"), at("copy"))) << limit;
    } else {
      // A library that the command needs may be the first not to be opened.
      EXPECT_TRUE(ended.exit_code == could_not_execute || ended.exit_code == 1) << limit;
      EXPECT_TRUE(ended.err.contains("Too many open files")) << limit << ": " << ended.err;
      if (fs::exists(at("copy"))) {
        EXPECT_TRUE(only_whole_files(at("source"), at("copy")));
        EXPECT_EQ(partial_copies(at("copy")), words{});
      }
    }
    fs::remove_all(at("copy"));
  }
}

// 1024 is what most systems allow a program, unless it asks for more.
TEST_P(cp_with, reaches_the_highest_queue_depth_with_the_usual_number_of_descriptors) {
  rlimit ours{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &ours), 0);
  if (ours.rlim_max < 4096) GTEST_SKIP() << "no more descriptors to be had";
  make_directories({"source"});
  for (unsigned i = 0; i < 2500; ++i) make("source/" + std::to_string(i), bytes(i, i));
  const outcome ended = run({"--queue-depth", "1024", "-r", "source", "copy"},
                            {.before_exec = [hard = ours.rlim_max] {
                              const rlimit usual{.rlim_cur = 1024, .rlim_max = hard};
                              ::setrlimit(RLIMIT_NOFILE, &usual);
                            }});
  EXPECT_EQ(ended.exit_code, 0) << ended.err.substr(0, 1000);
  EXPECT_TRUE(same_tree(at("source"), at("copy")));
}

TEST_P(cp_with, reports_a_limit_on_the_size_of_files) {
  make_directories({"into"});
  make("large", bytes(3 * mib));
  make("small", bytes(100));
  for (const words& options : std::vector<words>{{}, {"--direct"}}) {
    words arguments = options;
    arguments.insert(arguments.end(), {"large", "small", "into"});
    const outcome ended = run(arguments, {.before_exec = limited_to(RLIMIT_FSIZE, mib)});
    EXPECT_TRUE(failed_saying(ended, {"cannot write 'into/large'", "File too large"}));
    EXPECT_FALSE(fs::exists(at("into/large")));
    EXPECT_TRUE(same_contents(at("small"), at("into/small")));
    EXPECT_EQ(partial_copies(at("into")), words{});
  }
}

// --- the command line ----------------------------------------------------------------------------

TEST_F(cp, misuse_ends_with_2_and_copies_nothing) {
  make("file");
  for (const words& arguments : std::vector<words>{{},
                                                   {"file"},
                                                   {"--steam", "file", "copy"},
                                                   {"--queue-depth", "0", "file", "copy"},
                                                   {"--queue-depth", "1025", "file", "copy"},
                                                   {"--queue-depth", "-1", "file", "copy"},
                                                   {"--queue-depth", "ten", "file", "copy"},
                                                   {"--threads", "0", "file", "copy"},
                                                   {"--driver"}}) {
    const outcome ended = run(arguments);
    EXPECT_EQ(ended.exit_code, 2) << ::testing::PrintToString(arguments);
    EXPECT_TRUE(said_no_more_than(ended, 1));
    EXPECT_TRUE(said(ended, {"see weir cp --help"}));
    EXPECT_EQ(ended.out, "");
  }
  EXPECT_FALSE(fs::exists(at("copy")));
}

TEST_F(cp, help_names_every_option) {
  const outcome ended = run({"--help"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.err, "");
  for (const char* option : {"--recursive", "--verify", "--direct", "--drop-cache", "--driver",
                             "--queue-depth", "--threads", "SOURCE", "DEST"}) {
    EXPECT_TRUE(ended.out.contains(option)) << option;
  }
}

TEST_F(cp, fails_with_a_driver_that_does_not_exist) {
  make("file");
  const outcome ended = run({"--driver", "steam", "file", "copy"});
  EXPECT_TRUE(failed_saying(ended, {"'steam'", "weir doctor"}));
  EXPECT_TRUE(failed_saying(run({"file", "copy"}, {.env = {"WEIR_DRIVER=steam"}}), {"steam"}));
  EXPECT_FALSE(fs::exists(at("copy")));
}

TEST_F(cp, copies_without_io_uring_where_that_is_refused) {
  if (!report_of("uring").available) GTEST_SKIP() << "no io_uring to be refused";
  const command_options refused{
      .before_exec = [] { refuse_system_call(SYS_io_uring_setup, EPERM); }};
  make("file", bytes(2 * mib + 1));
  EXPECT_TRUE(succeeded(run({"--verify", "file", "copy"}, refused)));
  EXPECT_TRUE(same_contents(at("file"), at("copy")));

  const words expected{"driver uring is not available", "Operation not permitted", "seccomp"};
  EXPECT_TRUE(failed_saying(run({"--driver", "uring", "file", "other"}, refused), expected));
  command_options by_environment = refused;
  by_environment.env = {"WEIR_DRIVER=uring"};
  EXPECT_TRUE(failed_saying(run({"file", "other"}, by_environment), expected));
  EXPECT_FALSE(fs::exists(at("other")));
}

// --- progress ------------------------------------------------------------------------------------

/// A terminal for a command's standard error, of this many columns.
class terminal {
 public:
  explicit terminal(unsigned short columns) : ours_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    const winsize size{.ws_row = 25, .ws_col = columns};
    if (!ours_ || ::grantpt(ours_.get()) != 0 || ::unlockpt(ours_.get()) != 0 ||
        ::ptsname_r(ours_.get(), name_.data(), name_.size()) != 0 ||
        ::ioctl(ours_.get(), TIOCSWINSZ, &size) != 0) {
      throw std::system_error(errno, std::system_category(), "posix_openpt");
    }
  }

  command_options for_errors() const {
    return {.before_exec = [this] {
      ::dup2(::open(name_.data(), O_RDWR | O_NOCTTY | O_CLOEXEC), STDERR_FILENO);
    }};
  }

  /// What it shows until the time is over, or until the command has closed it.
  void watch(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    for (;;) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      if (left.count() <= 0 || !readable(ours_.get(), static_cast<int>(left.count()))) return;
      std::array<char, 4096> some{};
      const ssize_t count = ::read(ours_.get(), some.data(), some.size());
      if (count <= 0) return;  // EIO: nobody has it open any more
      shown_.append(some.data(), static_cast<std::size_t>(count));
    }
  }

  const std::string& shown() const noexcept { return shown_; }

 private:
  descriptor ours_;
  std::array<char, 64> name_{};
  std::string shown_;
};

TEST_F(cp, shows_its_progress_on_a_terminal) {
  make_large_file(at("source"), 256 * mib);
  make_directories({"into"});
  const std::regex wide(R"(\[#*\.*\] +\d+% \d/1 files, \d+\.\d [KMG]iB/s, \d+:\d\d left)");
  const std::regex narrow(R"( \d/1 files, \d)");
  for (const unsigned short columns : std::array<unsigned short, 2>{100, 30}) {
    std::string shown;
    for (int i = 0; i < tries && shown.empty(); ++i) {
      terminal screen(columns);
      running_command command(line({"source", "into/copy"}), here(screen.for_errors()));
      if (reached(command, [this] { return count_entries(at("into"), is_partial) != 0; })) {
        // A copy that is over within a tenth of a second has no progress to show. This one is not.
        command.kill(SIGSTOP);
        screen.watch(std::chrono::milliseconds(150));
        command.kill(SIGCONT);
      }
      screen.watch(std::chrono::seconds(patience_in_seconds));
      EXPECT_EQ(command.wait().exit_code, 0);
      shown = screen.shown();
      fs::remove(at("into/copy"));
    }
    EXPECT_TRUE(std::regex_search(shown, columns == 100 ? wide : narrow)) << shown;
    EXPECT_TRUE(shown.ends_with("\r\033[K")) << "in the end it is taken away";
    EXPECT_FALSE(shown.contains('\n'));
    const std::regex erase("\033\\[K");
    std::istringstream draws(std::regex_replace(shown, erase, ""));
    for (std::string draw; std::getline(draws, draw, '\r');) {
      EXPECT_LT(draw.size(), columns) << "it would wrap: " << draw;
    }
  }
}

TEST_F(cp, takes_the_progress_away_before_a_failure_is_told) {
  make_large_file(at("source"), 256 * mib);
  make_directories({"into"});
  std::string shown;
  for (int i = 0; i < tries && !shown.contains("left"); ++i) {
    terminal screen(100);
    running_command command(line({"source", "into/copy"}), here(screen.for_errors()));
    if (reached(command, [this] { return count_entries(at("into"), is_partial) != 0; })) {
      command.kill(SIGSTOP);
      screen.watch(std::chrono::milliseconds(150));
      fs::create_directory(at("into/copy"));  // which a file cannot replace
      command.kill(SIGCONT);
    }
    screen.watch(std::chrono::seconds(patience_in_seconds));
    command.wait();
    shown = screen.shown();
    fs::remove(at("into/copy"));
  }
  const std::regex sentence("left\033\\[K\r\033\\[Kweir cp: cannot write 'into/copy'[^\r\n]*\r\n$");
  EXPECT_TRUE(std::regex_search(shown, sentence)) << shown;
}

}  // namespace
}  // namespace weir::testing
