// weir bench as a user runs it: how it ends, what it says, and that it leaves everything as it was.
// What it measures is nobody's business here: a test must not depend on how fast a machine is.

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/command.hpp"
#include <weir/driver.hpp>

namespace {

using nlohmann::json;
using weir::test::command_options;
using weir::test::outcome;
using weir::test::run;
using weir::test::running_command;
using words = std::vector<std::string>;

namespace fs = std::filesystem;

constexpr std::size_t mib = std::size_t{1} << 20;

class scratch_directory {
 public:
  scratch_directory() {
    std::string name = (fs::temp_directory_path() / "weir-bench-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::system_error(errno, std::system_category(), "mkdtemp");
    }
    path_ = name;
  }
  scratch_directory(const scratch_directory&) = delete;
  scratch_directory& operator=(const scratch_directory&) = delete;
  ~scratch_directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  const fs::path& path() const noexcept { return path_; }
  std::string at(const std::string& name) const { return (path_ / name).string(); }

  std::set<std::string> entries() const {
    std::set<std::string> names;
    for (const auto& each : fs::directory_iterator(path_)) names.insert(each.path().filename());
    return names;
  }

 private:
  fs::path path_;
};

std::string contents_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream contents;
  contents << in.rdbuf();
  return contents.str();
}

class bench : public testing::Test {
 protected:
  std::string make_file(const std::string& name, std::size_t size) const {
    std::string part(std::min(size, mib), '\0');
    for (std::size_t i = 0; i < part.size(); ++i) part[i] = static_cast<char>(i * 31 + i / 4096);
    std::ofstream file(directory_.at(name), std::ios::binary);
    for (std::size_t at = 0; at < size; at += part.size()) {
      file << std::string_view(part).substr(0, size - at);
    }
    return directory_.at(name);
  }

  scratch_directory directory_;
};

testing::AssertionResult failed_saying(const outcome& ended, int exit_code, const words& expected) {
  if (ended.exit_code != exit_code) {
    return testing::AssertionFailure() << "exit code " << ended.exit_code << ": " << ended.err;
  }
  if (!ended.out.empty()) return testing::AssertionFailure() << "wrote " << ended.out;
  if (std::ranges::count(ended.err, '\n') != 1 || !ended.err.starts_with("weir bench: ")) {
    return testing::AssertionFailure() << "not one sentence: " << ended.err;
  }
  for (const std::string& each : expected) {
    if (!ended.err.contains(each)) return testing::AssertionFailure() << ended.err;
  }
  return testing::AssertionSuccess();
}

std::set<std::string> available_drivers() {
  std::set<std::string> names;
  for (const weir::driver_report& each : weir::probe_drivers()) {
    if (each.available) names.emplace(each.name);
  }
  return names;
}

std::set<std::string> contestants_in(const json& regime) {
  std::set<std::string> names;
  for (const json& each : regime.at("contestants")) names.insert(each.at("contestant"));
  return names;
}

// --- one run on a scratch file, looked at from all sides -----------------------------------------

class bench_on_scratch : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new scratch_directory;
    ended_ = new outcome(run(
        {"bench", "--quick", "--size", "48MiB", "--json", "report.json", "--html", "report.html"},
        {.cwd = directory_->path()}));
  }
  static void TearDownTestSuite() {
    delete std::exchange(ended_, nullptr);
    delete std::exchange(directory_, nullptr);
  }

  void SetUp() override { ASSERT_EQ(ended_->exit_code, 0) << ended_->err; }

  static json report() { return json::parse(contents_of(directory_->at("report.json"))); }
  static const std::string& text() { return ended_->out; }
  static const std::string& errors() { return ended_->err; }
  static std::string html() { return contents_of(directory_->at("report.html")); }
  static const scratch_directory& directory() { return *directory_; }

 private:
  static inline scratch_directory* directory_ = nullptr;
  static inline outcome* ended_ = nullptr;
};

TEST_F(bench_on_scratch, leaves_only_its_reports) {
  EXPECT_EQ(directory().entries(), (std::set<std::string>{"report.html", "report.json"}));
}

TEST_F(bench_on_scratch, says_nothing_on_standard_error_that_is_no_terminal) {
  EXPECT_EQ(errors(), "");
}

TEST_F(bench_on_scratch, shows_what_it_measured_and_what_suits_the_disk) {
  for (const char* part :
       {"Measured\n", "Reading what is in the page cache\n", "\nWriting\n",
        "\nWhat suits this disk\n", "4 KiB random reads, 32 at a time", "48 MiB", "Noise"}) {
    EXPECT_TRUE(text().contains(part)) << part;
  }
  for (const std::string& driver : available_drivers()) {
    EXPECT_TRUE(text().contains("\n    " + driver + " ")) << driver;
  }
}

TEST_F(bench_on_scratch, draws_and_colours_nothing_where_nobody_looks) {
  EXPECT_FALSE(text().contains('\x1b'));
  EXPECT_FALSE(text().contains('#'));
  EXPECT_TRUE(std::ranges::all_of(text(), [](char each) { return each > 0; })) << "not ASCII";
  std::istringstream lines(text());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100U) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST_F(bench_on_scratch, every_available_driver_and_pread_are_measured_in_every_regime) {
  std::set<std::string> expected = available_drivers();
  expected.insert("pread");
  std::size_t asking_about_merging = 0;
  const json done = report();
  for (const json& regime : done.at("regimes")) {
    std::set<std::string> found = contestants_in(regime);
    if (regime.at("neighbours") == true) {
      asking_about_merging += std::erase_if(
          found, [](const std::string& name) { return name.starts_with("merging:"); });
    }
    EXPECT_EQ(found, expected) << regime.at("title");
  }
  const auto refused = std::ranges::any_of(done.at("remarks"), [](const json& each) {
    return each.get<std::string>().contains("O_DIRECT is refused");
  });
  EXPECT_EQ(asking_about_merging, refused ? 0U : 1U);
}

TEST_F(bench_on_scratch, every_number_lies_within_what_it_varied_between) {
  const json done = report();
  ASSERT_GE(done.at("rounds"), 1U);
  EXPECT_EQ(done.at("size"), 48 * mib) << "what was asked for takes as long as it takes";
  for (const json& regime : done.at("regimes")) {
    EXPECT_GT(regime.at("noise"), 0.0);
    for (const json& each : regime.at("contestants")) {
      ASSERT_EQ(each.at("rounds").size(), done.at("rounds"));
      EXPECT_GT(each.at("cpu_seconds"), 0.0);
      for (const char* what : {"per_second", "times_pread"}) {
        const json& spread = each.at(what);
        EXPECT_GT(spread.at("least"), 0.0);
        EXPECT_LE(spread.at("least"), spread.at("median"));
        EXPECT_LE(spread.at("median"), spread.at("most"));
      }
      if (each.at("contestant") == "pread") {
        EXPECT_EQ(each.at("times_pread").at("median"), 1.0);
      }
    }
  }
}

TEST_F(bench_on_scratch, all_kinds_of_work_are_measured) {
  const json done = report();
  std::set<std::string> kinds;
  for (const json& regime : done.at("regimes")) {
    kinds.insert(regime.at("cache").get<std::string>() + " " +
                 regime.at("work").get<std::string>());
  }
  for (const char* each : {"warm read", "warm write", "warm durable_write"}) {
    EXPECT_TRUE(kinds.contains(each)) << each;
  }
}

TEST_F(bench_on_scratch, advises_a_driver_that_it_measured_with_reasons) {
  const json advice = report().at("advice");
  EXPECT_TRUE(available_drivers().contains(advice.at("driver").get<std::string>()));
  EXPECT_GE(advice.at("why").size(), 3U);
  for (const json& each : advice.at("why")) EXPECT_NE(each.at("why"), "") << each;
  EXPECT_TRUE(text().contains(advice.at("why").at(0).at("answer").get<std::string>()));
}

TEST_F(bench_on_scratch, the_page_needs_no_network_and_has_a_chart_for_each_regime) {
  const std::string page = html();
  EXPECT_TRUE(page.starts_with("<!"));
  EXPECT_FALSE(page.contains("<script"));
  EXPECT_FALSE(page.contains("src="));
  EXPECT_FALSE(page.contains("http"));
  std::size_t charts = 0;
  for (std::size_t at = page.find("<svg"); at != std::string::npos;
       at = page.find("<svg", at + 1)) {
    ++charts;
  }
  EXPECT_EQ(charts, report().at("regimes").size());
}

// --- other files ---------------------------------------------------------------------------------

TEST_F(bench, a_file_of_the_users_is_only_read) {
  const std::string file = make_file("data", 20 * mib);
  const std::string before = contents_of(file);
  struct stat then{};
  ASSERT_EQ(::stat(file.c_str(), &then), 0);
  ASSERT_EQ(::chmod(file.c_str(), 0400), 0);

  const outcome ended = run({"bench", "--quick", "--json", "-", file});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  struct stat now{};
  ASSERT_EQ(::stat(file.c_str(), &now), 0);
  EXPECT_EQ(now.st_mtim.tv_sec, then.st_mtim.tv_sec);
  EXPECT_EQ(now.st_mtim.tv_nsec, then.st_mtim.tv_nsec);
  EXPECT_TRUE(contents_of(file) == before);
  EXPECT_EQ(directory_.entries(), std::set<std::string>{"data"});

  const json report = json::parse(ended.out);  // and nothing besides
  EXPECT_EQ(report.at("size"), 20 * mib);
  for (const json& regime : report.at("regimes")) EXPECT_EQ(regime.at("work"), "read");
  EXPECT_TRUE(report.at("remarks").dump().contains("writes are measured only"));
}

TEST_F(bench, a_file_with_holes_is_remarked_upon) {
  const std::string file = directory_.at("holes");
  std::ofstream(file).close();
  ASSERT_EQ(::truncate(file.c_str(), 20 * mib), 0);
  const outcome ended = run({"bench", "--quick", file});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(ended.out.contains("has holes")) << ended.out;
}

TEST_F(bench, where_pages_cannot_be_dropped_nothing_is_called_cold) {
  struct statfs about{};
  if (::statfs("/dev/shm", &about) != 0 || about.f_type != TMPFS_MAGIC ||
      ::access("/dev/shm", W_OK) != 0) {
    GTEST_SKIP() << "/dev/shm is no tmpfs that may be written to";
  }
  const outcome ended = run({"bench", "--quick", "--size", "20MiB", "--json", "-", "/dev/shm"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const json report = json::parse(ended.out);
  EXPECT_FALSE(report.at("regimes").empty());
  for (const json& regime : report.at("regimes")) EXPECT_NE(regime.at("cache"), "cold");
  EXPECT_TRUE(report.at("remarks").dump().contains("keeps the pages"));
}

TEST_F(bench, the_scratch_file_has_another_place_where_the_current_directory_takes_none) {
  const std::string elsewhere = "TMPDIR=" + directory_.path().string();
  const outcome ended =
      run({"bench", "--quick", "--size", "16MiB"}, {.cwd = "/proc", .env = {elsewhere}});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(ended.out.contains("a scratch file in '" + directory_.path().string() + "'"));
}

// --- failures ------------------------------------------------------------------------------------

TEST_F(bench, a_file_that_cannot_be_measured_is_refused_with_a_sentence) {
  const std::string missing = directory_.at("missing");
  EXPECT_TRUE(failed_saying(run({"bench", missing}), 1, {missing, "No such file or directory"}));

  const std::string small = make_file("small", mib);
  EXPECT_TRUE(failed_saying(run({"bench", small}), 1, {small, "too small", "1 MiB"}));

  const std::string fifo = directory_.at("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_TRUE(failed_saying(run({"bench", fifo}), 1, {fifo, "neither a file nor"}));

  EXPECT_TRUE(failed_saying(run({"bench", ""}), 1, {"''", "No such file or directory"}));
}

TEST_F(bench, a_scratch_file_without_room_is_refused_with_a_sentence) {
  const std::string where = directory_.path();
  EXPECT_TRUE(
      failed_saying(run({"bench", "--size", "1000TiB", where}), 1, {"not enough room", where}));
  EXPECT_TRUE(failed_saying(run({"bench", "--size", "1MiB", where}), 1, {"at least 16 MiB"}));
}

TEST_F(bench, a_scratch_file_that_cannot_be_written_is_refused_with_a_sentence) {
  const command_options limited{.before_exec = [] {
    const rlimit few{.rlim_cur = 18 * mib, .rlim_max = 18 * mib};
    ::setrlimit(RLIMIT_FSIZE, &few);
  }};
  EXPECT_TRUE(failed_saying(run({"bench", "--size", "32MiB", directory_.path()}, limited), 1,
                            {"cannot write a scratch file in", "File too large"}));
  EXPECT_TRUE(directory_.entries().empty());
}

TEST_F(bench, a_report_that_cannot_be_written_is_refused_before_anything_is_measured) {
  const std::string nowhere = directory_.at("nowhere/report");
  for (const char* option : {"--json", "--html"}) {
    EXPECT_TRUE(failed_saying(run({"bench", option, nowhere, directory_.path()}), 1,
                              {"cannot write '" + nowhere + "'", "No such file or directory"}));
  }
}

TEST_F(bench, a_report_that_does_not_arrive_is_a_failure) {
  const outcome ended =
      run({"bench", "--quick", "--size", "16MiB", "--json", "/dev/full", directory_.path()});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.err.contains("cannot write '/dev/full': No space left on device")) << ended.err;
}

TEST_F(bench, what_is_not_understood_ends_with_2) {
  for (const words& misuse :
       {words{"bench", "--size", "some"}, words{"bench", "--slowly"}, words{"bench", "a", "b"},
        words{"bench", "--json"}, words{"bench", "--json", "-", "--html", "-"}}) {
    EXPECT_TRUE(failed_saying(run(misuse), 2, {"see weir bench --help"}));
  }
}

// --- interruptions, terminals --------------------------------------------------------------------

/// Whether the process has a file of that directory open that nobody else can see.
bool has_scratch_file(pid_t process, const fs::path& directory) {
  std::error_code gone;
  const fs::path descriptors = "/proc/" + std::to_string(process) + "/fd";
  for (const auto& each : fs::directory_iterator(descriptors, gone)) {
    const std::string opened = fs::read_symlink(each.path(), gone).string();
    if (opened.starts_with(directory.string()) && opened.ends_with(" (deleted)")) return true;
  }
  return false;
}

TEST_F(bench, interrupted_it_ends_by_the_signal_and_leaves_nothing) {
  for (const int signal : {SIGINT, SIGTERM}) {
    running_command command({"bench", directory_.path()});
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!has_scratch_file(command.pid(), directory_.path())) {
      ASSERT_LT(std::chrono::steady_clock::now(), patience);
      std::this_thread::yield();
    }
    const auto told = std::chrono::steady_clock::now();
    command.kill(signal);
    const outcome ended = command.wait();
    EXPECT_EQ(ended.signal, signal) << ended.err;
    EXPECT_EQ(ended.out, "");
    EXPECT_LT(std::chrono::steady_clock::now() - told, std::chrono::seconds(30));
    EXPECT_TRUE(directory_.entries().empty());
  }
}

/// A terminal for a command's output and errors; what it shows is read afterwards.
class terminal {
 public:
  terminal() : ours_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (ours_ < 0 || ::grantpt(ours_) != 0 || ::unlockpt(ours_) != 0 ||
        ::ptsname_r(ours_, name_.data(), name_.size()) != 0) {
      throw std::system_error(errno, std::system_category(), "posix_openpt");
    }
  }
  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;
  ~terminal() { ::close(ours_); }

  /// In the child.
  void attach() const {
    const int theirs = ::open(name_.data(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ::dup2(theirs, STDOUT_FILENO);
    ::dup2(theirs, STDERR_FILENO);
  }

  /// All that is shown until the command has ended.
  std::string watch() const {
    std::string shown;
    std::array<char, 4096> some{};
    for (ssize_t count = 0; (count = ::read(ours_, some.data(), some.size())) > 0;) {  // or EIO
      shown.append(some.data(), static_cast<std::size_t>(count));
    }
    return shown;
  }

 private:
  int ours_;
  std::array<char, 64> name_{};
};

TEST_F(bench, on_a_terminal_it_draws_bars_of_what_the_locale_has_and_shows_its_progress) {
  for (const auto& [locale, full] :
       {std::pair{"LC_ALL=C.UTF-8", "\u2588\u2588"}, std::pair{"LC_ALL=C", "##"}}) {
    const terminal screen;
    running_command command({"bench", "--quick", "--size", "16MiB", directory_.path()},
                            {.env = {locale}, .before_exec = [&screen] { screen.attach(); }});
    const std::string shown = screen.watch();
    EXPECT_EQ(command.wait().exit_code, 0);
    EXPECT_TRUE(shown.contains(full)) << locale;
    EXPECT_TRUE(shown.contains("\rround 1 of 3: ")) << locale;
    const std::size_t table = shown.rfind("\033[K");
    ASSERT_NE(table, std::string::npos);
    EXPECT_LT(table, shown.find("Measured")) << "the progress is taken away before the table";
    const bool ascii = std::ranges::all_of(shown, [](char each) { return each > 0; });
    EXPECT_EQ(ascii, std::string_view(locale) == "LC_ALL=C");
  }
}

}  // namespace
