#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/support.hpp"
#include "tools/command.hpp"
#include <weir/driver.hpp>

namespace {

using nlohmann::json;
using weir::test::command_options;
using weir::test::outcome;
using weir::test::run;

namespace fs = std::filesystem;

constexpr long tmpfs_magic = 0x01021994;

/// A directory of its own for each test.
class doctor : public testing::Test {
 protected:
  doctor() {
    std::string name = (fs::temp_directory_path() / "weir-doctor-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::system_error(errno, std::system_category(), "mkdtemp");
    }
    directory_ = name;
  }
  ~doctor() override {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }

  fs::path make_file(const std::string& name, const std::string& contents = "some text") const {
    std::ofstream(directory_ / name) << contents;
    return directory_ / name;
  }

  std::ptrdiff_t entries() const {
    return std::distance(fs::directory_iterator(directory_), fs::directory_iterator());
  }

  fs::path directory_;
};

json report_on(const fs::path& path, const command_options& options = {}) {
  const outcome ended = run({"doctor", "--json", path.string()}, options);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.err, "");
  return json::parse(ended.out);
}

json driver_named(const json& report, const std::string& name) {
  for (const json& each : report.at("drivers")) {
    if (each.at("name") == name) return each;
  }
  ADD_FAILURE() << "no driver " << name;
  return {};
}

bool is_one_sentence(const std::string& text) {
  return std::ranges::count(text, '\n') == 1 && text.ends_with('\n');
}

/// A file without a name in `directory`, or -1.
int temporary_file(const fs::path& directory, int flags = 0) {
  return ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
}

// --- what a command is started without -----------------------------------------------------------

// In the child, before exec.
template <std::size_t count>
void filter_system_calls(sock_filter (&program)[count]) {
  const sock_fprog filter{.len = count, .filter = program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    ::_exit(126);
  }
}

void refuse_io_uring() {
  sock_filter program[] = {
      {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = offsetof(seccomp_data, nr)},
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 1, .k = SYS_io_uring_setup},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ERRNO | EPERM},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ALLOW},
  };
  filter_system_calls(program);
}

// As a file system does that lacks it. Of the flags, those of openat(2) in its third argument.
void refuse_unnamed_files() {
  constexpr unsigned tmpfile_bit = O_TMPFILE & ~O_DIRECTORY;
  sock_filter program[] = {
      {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = offsetof(seccomp_data, nr)},
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 3, .k = SYS_openat},
      {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = offsetof(seccomp_data, args[2])},
      {.code = BPF_JMP | BPF_JSET | BPF_K, .jt = 0, .jf = 1, .k = tmpfile_bit},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ERRNO | EOPNOTSUPP},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ALLOW},
  };
  filter_system_calls(program);
}

// --- what the report says ------------------------------------------------------------------------

TEST_F(doctor, shows_every_section_within_a_hundred_columns) {
  const outcome ended = run({"doctor"}, {.cwd = directory_.string()});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.err, "");
  for (const char* heading :
       {"Machine\n", "\nLimits\n", "\nDrivers\n", "\nFile system\n", "\nWhat weir does here\n"}) {
    EXPECT_NE(ended.out.find(heading), std::string::npos) << heading;
  }
  std::istringstream lines(ended.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  EXPECT_EQ(ended.out.find('\x1b'), std::string::npos) << "colour, and not on a terminal";
}

TEST_F(doctor, json_has_the_documented_keys) {
  const json report = report_on(directory_);
  EXPECT_EQ(report.at("weir"), "0.1.0");
  for (const char* key : {"release", "machine"}) {
    EXPECT_TRUE(report.at("kernel").at(key).is_string()) << key;
  }
  for (const char* key : {"memlock", "nofile", "nproc"}) {
    EXPECT_TRUE(report.at("limits").at(key).contains("soft")) << key;
    EXPECT_TRUE(report.at("limits").at(key).contains("hard")) << key;
  }
  for (const char* key : {"aio_nr", "aio_max_nr", "io_uring_disabled", "seccomp",
                          "cgroup_memory_max", "cgroup_cpu_max"}) {
    EXPECT_TRUE(report.at("limits").contains(key)) << key;
  }
  for (const char* key : {"driver", "why"}) EXPECT_TRUE(report.at("choice").contains(key)) << key;
}

TEST_F(doctor, json_describes_the_file_system_and_every_feature) {
  const json path = report_on(directory_).at("path");
  EXPECT_EQ(path.at("name"), directory_.string());
  EXPECT_EQ(path.at("kind"), "directory");
  for (const char* key : {"type", "source", "mount_point", "device", "read_only", "size", "free",
                          "block_size", "tried_on", "policy"}) {
    EXPECT_TRUE(path.contains(key)) << key;
  }
  for (const char* key : {"direct", "nowait_read", "nowait_write", "dontcache", "atomic_write",
                          "temporary_file", "reflink", "copy_range", "allocate", "holes"}) {
    const json& available = path.at(key).at("available");
    EXPECT_TRUE(available.is_boolean() || available.is_null()) << key;
    EXPECT_TRUE(available == true || path.at(key).at("reason") != "") << key;
  }
}

TEST_F(doctor, drivers_are_those_that_the_library_finds) {
  const json drivers = report_on(directory_).at("drivers");
  const std::vector<weir::driver_report> probed = weir::probe_drivers();
  ASSERT_EQ(drivers.size(), probed.size());
  for (std::size_t i = 0; i < probed.size(); ++i) {
    EXPECT_EQ(drivers[i].at("name"), probed[i].name);
    EXPECT_EQ(drivers[i].at("available"), probed[i].available);
    EXPECT_EQ(drivers[i].at("errno"), probed[i].error.value());
    EXPECT_EQ(drivers[i].at("reason"), probed[i].reason);
    EXPECT_EQ(drivers[i].at("advice"), probed[i].advice);
  }
}

TEST_F(doctor, features_are_those_that_the_file_system_has) {
  const int fd = temporary_file(directory_);
  if (fd < 0) GTEST_SKIP() << "no O_TMPFILE in the directory for temporary files";
  char byte = 0;
  const iovec where{.iov_base = &byte, .iov_len = 1};
  constexpr int rwf_dontcache = 0x80;
  const bool dontcache = ::preadv2(fd, &where, 1, 0, rwf_dontcache) >= 0;
  const int direct = temporary_file(directory_, O_DIRECT);
  const bool allocate = ::fallocate(fd, 0, 0, 4096) == 0;

  const json path = report_on(directory_).at("path");
  EXPECT_EQ(path.at("temporary_file").at("available"), true);
  EXPECT_EQ(path.at("dontcache").at("available"), dontcache);
  EXPECT_EQ(path.at("direct").at("available"), direct >= 0);
  EXPECT_EQ(path.at("allocate").at("available"), allocate);
  ::close(fd);
  if (direct >= 0) ::close(direct);
}

TEST_F(doctor, knows_a_tmpfs) {
  struct statfs system{};
  if (::statfs("/dev/shm", &system) != 0 || system.f_type != tmpfs_magic ||
      ::access("/dev/shm", W_OK) != 0) {
    GTEST_SKIP() << "no tmpfs at /dev/shm to write to";
  }
  const json path = report_on("/dev/shm").at("path");
  EXPECT_EQ(path.at("type"), "tmpfs");
  EXPECT_EQ(path.at("mount_point"), "/dev/shm");
  EXPECT_EQ(path.at("holes").at("available"), true);
  // Memory has no blocks to share, and the system says so.
  EXPECT_EQ(path.at("reflink").at("available"), false);
  EXPECT_NE(path.at("reflink").at("errno"), 0);
}

TEST_F(doctor, leaves_nothing_behind) {
  make_file("present");
  report_on(directory_);
  run({"doctor", directory_.string()});
  EXPECT_EQ(entries(), 1);
}

TEST_F(doctor, leaves_nothing_behind_where_files_must_have_names) {
  const json with_names = report_on(directory_, {.before_exec = refuse_unnamed_files}).at("path");
  EXPECT_EQ(with_names.at("temporary_file").at("available"), false);
  EXPECT_EQ(with_names.at("temporary_file").at("errno"), EOPNOTSUPP);
  EXPECT_NE(with_names.at("tried_on").get<std::string>().find("unlinked"), std::string::npos);
  const json without = report_on(directory_).at("path");
  for (const char* key : {"direct", "dontcache", "reflink", "allocate", "holes"}) {
    EXPECT_EQ(with_names.at(key), without.at(key)) << key;
  }
  EXPECT_EQ(entries(), 0);
}

// --- which driver, and why -----------------------------------------------------------------------

TEST_F(doctor, tells_that_the_environment_chose_the_driver) {
  const json choice = report_on(directory_, {.env = {"WEIR_DRIVER=sync"}}).at("choice");
  EXPECT_EQ(choice.at("driver"), "sync");
  EXPECT_NE(choice.at("why").get<std::string>().find("WEIR_DRIVER"), std::string::npos);
}

TEST_F(doctor, fails_where_the_environment_asks_for_a_driver_that_does_not_exist) {
  const outcome ended =
      run({"doctor", "--json", directory_.string()}, {.env = {"WEIR_DRIVER=steam"}});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(is_one_sentence(ended.err)) << ended.err;
  EXPECT_NE(ended.err.find("WEIR_DRIVER asks for 'steam'"), std::string::npos) << ended.err;
  EXPECT_TRUE(json::parse(ended.out).at("choice").at("driver").is_null());
}

TEST_F(doctor, explains_a_seccomp_filter_and_what_is_used_instead) {
  if (!weir::probe_drivers().front().available) GTEST_SKIP() << "no io_uring to be refused";
  const json report = report_on(directory_, {.before_exec = refuse_io_uring});
  const json uring = driver_named(report, "uring");
  EXPECT_EQ(uring.at("available"), false);
  EXPECT_EQ(uring.at("errno"), EPERM);
  EXPECT_NE(uring.at("reason").get<std::string>().find("seccomp"), std::string::npos) << uring;
  EXPECT_NE(uring.at("advice").get<std::string>().find("seccomp"), std::string::npos) << uring;
  EXPECT_NE(report.at("choice").at("driver"), "uring");
  EXPECT_NE(report.at("choice").at("why").get<std::string>().find("uring"), std::string::npos);
  EXPECT_EQ(report.at("limits").at("seccomp"), 2);

  const outcome shown = run({"doctor", directory_.string()}, {.before_exec = refuse_io_uring});
  EXPECT_EQ(shown.exit_code, 0);
  EXPECT_NE(shown.out.find("no: io_uring_setup"), std::string::npos) << shown.out;
}

// --- paths of all kinds --------------------------------------------------------------------------

TEST_F(doctor, names_the_path_the_call_and_the_cause_where_there_is_no_such_file) {
  const fs::path missing = directory_ / "missing";
  const outcome ended = run({"doctor", missing.string()});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_EQ(ended.err, "weir doctor: cannot examine '" + missing.string() +
                           "': statx: No such file or directory\n");
  EXPECT_NE(ended.out.find("\nDrivers\n"), std::string::npos) << "the rest is still of use";

  const outcome in_json = run({"doctor", "--json", missing.string()});
  EXPECT_EQ(in_json.exit_code, 1);
  const json path = json::parse(in_json.out).at("path");
  EXPECT_EQ(path.at("name"), missing.string());
  EXPECT_TRUE(path.at("error").is_string());
}

TEST_F(doctor, only_reads_a_file) {
  const fs::path file = make_file("read me", std::string(10000, 'x'));
  const fs::file_time_type before = fs::last_write_time(file);
  const json path = report_on(file).at("path");
  EXPECT_EQ(path.at("kind"), "file");
  EXPECT_TRUE(path.at("nowait_write").at("available").is_null());
  EXPECT_TRUE(path.at("dontcache").at("available").is_boolean());
  EXPECT_EQ(fs::file_size(file), 10000U);
  EXPECT_EQ(fs::last_write_time(file), before);
}

TEST_F(doctor, takes_an_empty_file) {
  EXPECT_EQ(report_on(make_file("empty", "")).at("path").at("kind"), "file");
}

TEST_F(doctor, does_not_wait_for_a_writer_of_a_fifo) {
  const fs::path fifo = directory_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const json path = report_on(fifo).at("path");
  EXPECT_EQ(path.at("kind"), "FIFO");
  EXPECT_TRUE(path.at("direct").at("available").is_null());
}

TEST_F(doctor, writes_json_for_a_path_that_is_not_utf8) {
  EXPECT_EQ(report_on(make_file("\xff")).at("path").at("kind"), "file");
}

TEST_F(doctor, takes_the_name_of_a_subcommand_for_a_path) {
  make_file("cp");
  EXPECT_EQ(report_on("cp", {.cwd = directory_.string()}).at("path").at("name"), "cp");
}

// A view of the file system for the command alone, where this directory is read-only.
bool mount_read_only(const char* directory) {
  const unsigned long read_only = MS_BIND | MS_REMOUNT | MS_RDONLY;
  const bool separate = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
  return separate && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount(directory, directory, nullptr, MS_BIND, nullptr) == 0 &&
         ::mount(nullptr, directory, nullptr, read_only, nullptr) == 0;
}

TEST_F(doctor, reads_a_file_of_a_read_only_file_system) {
  make_file("something");
  const std::string directory = directory_.string();
  constexpr int not_permitted = 126;
  const command_options read_only{.before_exec = [&directory] {
    if (!mount_read_only(directory.c_str())) ::_exit(not_permitted);
  }};
  const outcome ended = run({"doctor", "--json", directory}, read_only);
  if (ended.exit_code == not_permitted) GTEST_SKIP() << "may not mount";
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  const json path = json::parse(ended.out).at("path");
  EXPECT_EQ(path.at("read_only"), true);
  EXPECT_EQ(path.at("tried_on"), "reading " + directory + "/something");
  EXPECT_TRUE(path.at("allocate").at("available").is_null());
  EXPECT_NE(path.at("allocate").at("reason").get<std::string>().find("Read-only file system"),
            std::string::npos);
}

TEST_F(doctor, survives_a_limit_on_the_size_of_files) {
  if (weir::testing::thread_sanitizer)
    GTEST_SKIP() << "the sanitizer's runtime writes a file before main";
  const outcome ended = run({"doctor", "--json", directory_.string()}, {.before_exec = [] {
                              const rlimit none{.rlim_cur = 0, .rlim_max = 0};
                              // Standard output is a file, too.
                              ::setrlimit(RLIMIT_FSIZE, &none);
                              ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
                            }});
  EXPECT_EQ(ended.signal, 0);
  EXPECT_EQ(ended.exit_code, 0);
}

// --- the command line ----------------------------------------------------------------------------

TEST(command_line, help_and_version_go_to_standard_output) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"--help"}, {"doctor", "--help"}, {"cp", "--help"}, {"doctor", "-h"}}) {
    const outcome ended = run(args);
    EXPECT_EQ(ended.exit_code, 0);
    EXPECT_NE(ended.out.find("Usage: "), std::string::npos) << ended.out;
    EXPECT_EQ(ended.err, "");
  }
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"--version"}, {"doctor", "--version"}, {"cp", "--version"}}) {
    const outcome ended = run(args);
    EXPECT_EQ(ended.exit_code, 0);
    EXPECT_EQ(ended.out, "weir 0.1.0\n");
  }
}

TEST(command_line, without_a_subcommand_it_shows_its_usage_and_fails) {
  const outcome ended = run({});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_EQ(ended.out, "");
  EXPECT_NE(ended.err.find("Usage: "), std::string::npos) << ended.err;
}

TEST(command_line, misuse_is_a_sentence_that_names_what_was_not_understood) {
  struct misuse {
    std::vector<std::string> args;
    std::string named;
    std::string help;
  };
  for (const misuse& each : std::vector<misuse>{
           {{"steam"}, "steam", "see weir --help"},
           {{"--steam"}, "--steam", "see weir --help"},
           {{"doctor", "--steam"}, "--steam", "see weir doctor --help"},
           {{"doctor", ".", "surplus"}, "surplus", "see weir doctor --help"},
           {{"cp", "--queue-depth", "many", "a", "b"}, "--queue-depth", "see weir cp --help"},
           {{"cp", "--", "[b,c]"}, "", "see weir cp --help"},  // a name, not a list of two
           {{"cp", "a"}, "", "see weir cp --help"}}) {
    const outcome ended = run(each.args);
    EXPECT_EQ(ended.exit_code, 2) << ended.err;
    EXPECT_EQ(ended.out, "");
    EXPECT_TRUE(is_one_sentence(ended.err)) << ended.err;
    EXPECT_NE(ended.err.find(each.named), std::string::npos) << ended.err;
    EXPECT_NE(ended.err.find(each.help), std::string::npos) << ended.err;
  }
}

// Otherwise the next file to be opened would be the stream, and be written to.
TEST(command_line, a_stream_that_was_closed_is_occupied) {
  for (const int stream : {STDIN_FILENO, STDERR_FILENO}) {
    const std::string path = "/proc/self/fd/" + std::to_string(stream);
    const json report = report_on(path, {.before_exec = [stream] { ::close(stream); }});
    EXPECT_EQ(report.at("path").at("kind"), "directory") << "it stands for the root directory";
  }
}

TEST(command_line, output_that_does_not_arrive_is_a_failure) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"doctor"}, {"doctor", "--json"}, {"--help"}, {"--version"}}) {
    const outcome full = run(args, {.out_to = "/dev/full"});
    EXPECT_EQ(full.exit_code, 1);
    EXPECT_EQ(full.err, "weir: cannot write to standard output: No space left on device\n");
    const outcome closed = run(args, {.before_exec = [] { ::close(STDOUT_FILENO); }});
    EXPECT_EQ(closed.exit_code, 1);
    EXPECT_EQ(closed.err, "weir: cannot write to standard output: Bad file descriptor\n");
  }
}

}  // namespace
