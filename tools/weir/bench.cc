// weir bench: how fast a disk is with each of weir's drivers, beside plain pread(2), and what suits
// it. First everything is measured, then it is shown: as text, JSON, HTML.
//
//   bench/regime.*       the conditions under which is measured
//   bench/target.*       the file: the user's, or a scratch file
//   bench/slice.*        what one contestant does before it is another's turn
//   bench/contestants.*  pread(2), and the drivers
//   bench/measure.*      everybody in turn, in every regime, again and again
//   bench/results.*      what the numbers are: medians, ratios, noise
//   bench/advice.*       what they say
//   bench/text.cc, json.cc, shown.*   how that is shown

#include <langinfo.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "bench/summary.hpp"
#include "failures.hpp"
#include "file_system.hpp"
#include "interrupts.hpp"
#include "subcommands.hpp"

namespace weir::tools {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr std::string_view to_stdout = "-";

struct bench_arguments {
  std::optional<std::string> file;
  std::uint64_t size = 0;
  bool quick = false;
  std::string json;
  std::string html;
};

/// A line on standard error that says what is being done, where that is a terminal.
class status_line {
 public:
  status_line() = default;
  status_line(const status_line&) = delete;
  status_line& operator=(const status_line&) = delete;
  ~status_line() { clear(); }

  void show(const std::string& step) const noexcept {
    if (!shown_) return;
    std::fprintf(stderr, "\r%.79s\033[K", step.c_str());
    std::fflush(stderr);
  }
  void clear() const noexcept {
    if (shown_) std::fputs("\r\033[K", stderr);
  }

 private:
  const bool shown_ = ::isatty(STDERR_FILENO) == 1;
};

int fail(const std::string& sentence) {
  std::fprintf(stderr, "weir bench: %s\n", sentence.c_str());
  return 1;
}

bool is_directory(const std::string& path) {
  struct stat about{};
  return ::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode);
}

bench::scratch_options scratch_asked_for(const bench_arguments& arguments) {
  return {.size = arguments.size,
          .most = (arguments.quick ? 64 : 1024) * std::uint64_t{bench::mib},
          .patience = 10s};
}

// Where nothing can be written in the current directory: where temporary files belong.
std::expected<bench::target, std::string> scratch_anywhere(const bench::scratch_options& options) {
  auto here = bench::target::scratch_in(".", options);
  const char* const elsewhere = std::getenv("TMPDIR");
  if (here || elsewhere == nullptr || *elsewhere == '\0' || interrupted) return here;
  return bench::target::scratch_in(elsewhere, options);
}

std::expected<bench::target, std::string> find_target(const bench_arguments& arguments) {
  const bench::scratch_options options = scratch_asked_for(arguments);
  if (!arguments.file) return scratch_anywhere(options);
  if (is_directory(*arguments.file)) return bench::target::scratch_in(*arguments.file, options);
  return bench::target::existing(*arguments.file);
}

// Under two minutes, on a slow disk with fewer rounds.
bench::pace pace_for(const bench_arguments& arguments, steady::time_point started) {
  if (arguments.quick) return {.slice = 5ms, .rounds = 3, .until = started + 10s};
  return {.slice = 100ms, .rounds = 7, .until = started + 105s};
}

std::string describe_kernel() {
  utsname name{};
  ::uname(&name);
  return std::string(name.sysname) + " " + name.release + ", " + name.machine;
}

bool locale_is_utf8() {
  const locale_t locale = ::newlocale(LC_CTYPE_MASK, "", nullptr);
  if (locale == nullptr) return false;  // it names a locale that is not installed
  const bool utf8 = std::string_view(::nl_langinfo_l(CODESET, locale)) == "UTF-8";
  ::freelocale(locale);
  return utf8;
}

bench::bars bars_for_terminal() {
  if (::isatty(STDOUT_FILENO) != 1) return bench::bars::none;
  return locale_is_utf8() ? bench::bars::unicode : bench::bars::ascii;
}

/// Where a report is written: a file, or standard output, whose errors main looks at. It is opened
/// before anything is measured, so that nobody waits for a report that cannot be written.
class output {
 public:
  static std::expected<output, std::string> open(const std::string& path) {
    if (path == to_stdout) return output(nullptr, path);
    std::FILE* const opened = std::fopen(path.c_str(), "we");
    if (opened == nullptr) return std::unexpected(cannot_write(path));
    return output(opened, path);
  }

  std::optional<std::string> write(const std::string& text) {
    std::FILE* const to = file_ ? file_.get() : stdout;
    const bool written = std::fwrite(text.data(), 1, text.size(), to) == text.size();
    if (!file_) return {};
    if (!written || std::fclose(file_.release()) != 0) return cannot_write(path_);
    return {};
  }

 private:
  using handle = std::unique_ptr<std::FILE, decltype([](std::FILE* open) { std::fclose(open); })>;

  output(std::FILE* opened, std::string path) : file_(opened), path_(std::move(path)) {}
  static std::string cannot_write(const std::string& path) {
    return "cannot write " + in_quotes(path) + ": " + last_error().message();
  }

  handle file_;
  std::string path_;
};

std::string describe_file_system(const bench::target& target) {
  const auto found = examine(target.path_to_reopen());
  if (!found) return {};
  return found->type + (found->source.empty() ? "" : " on " + found->source);
}

std::expected<bench::summary, std::string> measure(const bench_arguments& arguments) {
  const auto started = steady::now();
  const status_line status;
  status.show("preparing the file");
  auto target = find_target(arguments);
  if (!target) return std::unexpected(target.error());
  const bench::pace pace = pace_for(arguments, started);
  auto found =
      bench::measure(*target, pace, [&status](const std::string& step) { status.show(step); });
  if (!found) return std::unexpected(found.error());

  bench::summary done{.target = target->description(),
                      .size = target->size(),
                      .file_system = describe_file_system(*target),
                      .kernel = describe_kernel(),
                      .processors = std::thread::hardware_concurrency(),
                      .measured_at = pace,
                      .found = *std::move(found)};
  done.advised = bench::advise(done.found.rows);
  done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return done;
}

/// The reports that are asked for, each with how it is written.
class outputs {
 public:
  std::optional<std::string> open(const bench_arguments& arguments) {
    for (const auto& [path, to] : {std::pair{&arguments.json, &json_}, {&arguments.html, &html_}}) {
      if (path->empty()) continue;
      auto opened = output::open(*path);
      if (!opened) return opened.error();
      *to = *std::move(opened);
    }
    return {};
  }

  std::optional<std::string> write(const bench::summary& done) {
    if (json_) {
      if (auto error = json_->write(bench::json_of(done))) return error;
    }
    if (html_) {
      if (auto error = html_->write(report::html_of(bench::page_of(done)))) return error;
    }
    return {};
  }

 private:
  std::optional<output> json_;
  std::optional<output> html_;
};

int measure_and_show(const bench_arguments& arguments) {
  outputs reports;
  if (const auto error = reports.open(arguments)) return fail(*error);
  listen_for_interrupts();
  const auto done = measure(arguments);
  if (interrupted) return end_by_signal();
  if (!done) return fail(done.error());
  if (arguments.json != to_stdout && arguments.html != to_stdout) {
    const std::string text = bench::text_of(*done, bars_for_terminal());
    std::fwrite(text.data(), 1, text.size(), stdout);  // main looks whether it arrived
  }
  const auto error = reports.write(*done);
  return error ? fail(*error) : 0;
}

}  // namespace

void add_bench(CLI::App& app, action& chosen) {
  CLI::App* bench_app = app.add_subcommand(
      "bench", "Measure a disk with every driver, beside plain pread, and tell what suits it");
  auto arguments = std::make_shared<bench_arguments>();
  bench_app
      ->add_option("FILE", arguments->file,
                   "A file, which is only read, or a directory for a scratch file, which is "
                   "removed; the current directory by default")
      ->type_name("");
  bench_app->add_flag("--quick", arguments->quick, "Some seconds in place of some ninety")
      ->disable_flag_override();
  bench_app
      ->add_option("--size", arguments->size,
                   "Of the scratch file; by default 1 GiB, or less where there is little room")
      ->type_name("BYTES")
      ->transform(CLI::AsSizeValue(false));
  bench_app->add_option("--json", arguments->json, "Write a report for programs; - for stdout")
      ->type_name("F");
  bench_app->add_option("--html", arguments->html, "Write a page with charts; - for stdout")
      ->type_name("F");
  bench_app->callback([arguments, &chosen] {
    if (arguments->json == to_stdout && arguments->html == to_stdout) {
      throw CLI::ValidationError("--html", "only one report can go to standard output");
    }
    chosen = [arguments] { return measure_and_show(*arguments); };
  });
}

}  // namespace weir::tools
