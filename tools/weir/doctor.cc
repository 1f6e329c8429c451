// weir doctor: what this machine, this user and a file system offer, what weir makes of it, and
// what is refused, why, and how to mend it. First everything is found out, then it is shown: as
// text, or as JSON.

#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <fstream>
#include <iomanip>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "file_system.hpp"
#include "subcommands.hpp"
#include "text_page.hpp"
#include <weir/driver.hpp>

namespace weir::tools {
namespace {

// --- Finding out ---------------------------------------------------------------------------------

/// No value: unlimited.
struct limit {
  std::optional<std::uint64_t> soft;
  std::optional<std::uint64_t> hard;
};

/// No value: the system does not say.
using setting = std::optional<std::int64_t>;

struct limits_report {
  limit memlock;
  limit nofile;
  limit nproc;
  setting aio_nr;
  setting aio_max_nr;
  setting io_uring_disabled;
  setting seccomp;                        ///< 0 none, 1 strict, 2 a filter
  std::optional<std::string> memory_max;  ///< of the cgroup: bytes, or "max"
  std::optional<std::string> cpu_max;     ///< "QUOTA PERIOD" in microseconds, or "max PERIOD"
};

struct choice_report {
  std::string driver;  ///< "" if none could be opened
  std::string why;
};

struct doctor_report {
  utsname kernel{};
  limits_report limits;
  std::vector<driver_report> drivers;
  choice_report choice;
  std::expected<file_system_report, std::string> path;
};

limit limit_on(__rlimit_resource resource) noexcept {
  rlimit raw{};
  limit found;
  if (::getrlimit(resource, &raw) != 0) return found;
  if (raw.rlim_cur != RLIM_INFINITY) found.soft = raw.rlim_cur;
  if (raw.rlim_max != RLIM_INFINITY) found.hard = raw.rlim_max;
  return found;
}

setting read_setting(const char* file) {
  std::int64_t value = 0;
  if (std::ifstream(file) >> value) return value;
  return std::nullopt;
}

// What follows the first `key` at the beginning of a line.
std::optional<std::string> line_after(const char* file, std::string_view key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key)) return line.substr(key.size());
  }
  return std::nullopt;
}

setting seccomp_mode() {
  const auto mode = line_after("/proc/self/status", "Seccomp:");
  if (!mode) return std::nullopt;
  return std::strtol(mode->c_str(), nullptr, 10);
}

std::optional<std::string> cgroup_limit(const char* file) {
  const auto group = line_after("/proc/self/cgroup", "0::");
  if (!group) return std::nullopt;
  return line_after(("/sys/fs/cgroup" + *group + "/" + file).c_str(), "");
}

limits_report find_limits() {
  return {
      .memlock = limit_on(RLIMIT_MEMLOCK),
      .nofile = limit_on(RLIMIT_NOFILE),
      .nproc = limit_on(RLIMIT_NPROC),
      .aio_nr = read_setting("/proc/sys/fs/aio-nr"),
      .aio_max_nr = read_setting("/proc/sys/fs/aio-max-nr"),
      .io_uring_disabled = read_setting("/proc/sys/kernel/io_uring_disabled"),
      .seccomp = seccomp_mode(),
      .memory_max = cgroup_limit("memory.max"),
      .cpu_max = cgroup_limit("cpu.max"),
  };
}

std::string joined(const std::vector<driver_report>& drivers, std::size_t count) {
  std::string names;
  for (const driver_report& each : std::span(drivers).first(count)) {
    names += (names.empty() ? "" : ", ") + std::string(each.name);
  }
  return names;
}

std::string why_none(const std::error_code& error, const std::vector<driver_report>& tried,
                     const std::string& asked) {
  const std::string request = asked.empty() ? "" : "WEIR_DRIVER asks for '" + asked + "': ";
  if (tried.empty()) return request + error.message();
  const driver_report& last = tried.back();
  if (last.name.empty()) return request + last.reason + "; " + last.advice;
  return request + std::string(last.name) + ": " + last.reason;
}

// What open_driver does in this environment, and why.
choice_report find_choice() {
  const char* environment = std::getenv("WEIR_DRIVER");
  const std::string asked = environment != nullptr ? environment : "";
  std::vector<driver_report> tried;
  const auto opened = open_driver({}, tried);
  if (!opened) return {.driver = "", .why = why_none(opened.error(), tried, asked)};
  choice_report choice{.driver = std::string(tried.back().name)};
  if (!asked.empty()) {
    choice.why = "WEIR_DRIVER asks for it";
  } else if (tried.size() == 1) {
    choice.why = "the first choice, and it is available";
  } else {
    choice.why = "the best that is available; refused: " + joined(tried, tried.size() - 1);
  }
  return choice;
}

doctor_report find_out(const std::string& path) {
  doctor_report report;
  ::uname(&report.kernel);
  report.limits = find_limits();
  report.drivers = probe_drivers();
  report.choice = find_choice();
  report.path = examine(path);
  return report;
}

// --- What weir makes of it -----------------------------------------------------------------------

bool offers(const feature& what) { return what.available == true; }

std::string buffered_policy(const choice_report& choice, const file_system_report& found) {
  if (choice.driver.empty()) return "no driver, no transfers";
  if (!found.nowait_read.available.has_value()) return choice.driver;
  if (choice.driver == "uring" && offers(found.nowait_read)) {
    return "io_uring: reads of what is in memory at once, others without a thread";
  }
  if (choice.driver == "uring") return "io_uring, on threads of the kernel";
  if (choice.driver == "sync") return "blocking calls, one at a time";
  return "blocking calls on threads";
}

std::string direct_policy(const choice_report& choice, const file_system_report& found) {
  if (!found.direct.available.has_value()) return "not known";
  if (!offers(found.direct)) return "not here: weir cp --direct says so, and copies buffered";
  const std::string offset = std::to_string(found.direct_offset_alignment);
  const std::string memory =
      found.direct_memory_alignment != 0 ? std::to_string(found.direct_memory_alignment) : offset;
  const std::string alignment =
      "offsets and lengths in multiples of " + offset + ", buffers at multiples of " + memory;
  return (choice.driver == "linux_aio" ? "Linux AIO; " : "") + alignment;
}

std::string drop_cache_policy(const file_system_report& found) {
  if (!found.dontcache.available.has_value()) return "not known";
  return offers(found.dontcache) ? "RWF_DONTCACHE with each transfer"
                                 : "posix_fadvise(POSIX_FADV_DONTNEED) after the transfers";
}

// --- As JSON -------------------------------------------------------------------------------------

using json = nlohmann::ordered_json;

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json to_json(const limit& l) { return {{"soft", or_null(l.soft)}, {"hard", or_null(l.hard)}}; }

json to_json(const limits_report& limits) {
  return {
      {"memlock", to_json(limits.memlock)},
      {"nofile", to_json(limits.nofile)},
      {"nproc", to_json(limits.nproc)},
      {"aio_nr", or_null(limits.aio_nr)},
      {"aio_max_nr", or_null(limits.aio_max_nr)},
      {"io_uring_disabled", or_null(limits.io_uring_disabled)},
      {"seccomp", or_null(limits.seccomp)},
      {"cgroup_memory_max", or_null(limits.memory_max)},
      {"cgroup_cpu_max", or_null(limits.cpu_max)},
  };
}

json to_json(const driver_report& driver) {
  return {
      {"name", driver.name},
      {"available", driver.available},
      {"errno", driver.error.category() == std::system_category() ? driver.error.value() : 0},
      {"error", driver.error ? driver.error.message() : ""},
      {"reason", driver.reason},
      {"advice", driver.advice},
  };
}

json to_json(const choice_report& choice) {
  return {{"driver", choice.driver.empty() ? json(nullptr) : json(choice.driver)},
          {"why", choice.why}};
}

json to_json(const feature& what) {
  return {{"available", or_null(what.available)}, {"errno", what.error}, {"reason", what.reason}};
}

/// A feature, as both renderings name it.
struct feature_name {
  const char* key;
  const char* label;
  feature file_system_report::* which;
};

constexpr auto feature_names = std::to_array<feature_name>({
    {.key = "direct", .label = "O_DIRECT", .which = &file_system_report::direct},
    {.key = "nowait_read",
     .label = "RWF_NOWAIT, reading",
     .which = &file_system_report::nowait_read},
    {.key = "nowait_write",
     .label = "RWF_NOWAIT, writing",
     .which = &file_system_report::nowait_write},
    {.key = "dontcache", .label = "RWF_DONTCACHE", .which = &file_system_report::dontcache},
    {.key = "atomic_write", .label = "RWF_ATOMIC", .which = &file_system_report::atomic_write},
    {.key = "temporary_file", .label = "O_TMPFILE", .which = &file_system_report::temporary_file},
    {.key = "reflink", .label = "FICLONE (reflink)", .which = &file_system_report::reflink},
    {.key = "copy_range", .label = "copy_file_range", .which = &file_system_report::copy_range},
    {.key = "allocate", .label = "fallocate", .which = &file_system_report::allocate},
    {.key = "holes", .label = "SEEK_HOLE", .which = &file_system_report::holes},
});

json to_json(const choice_report& choice, const file_system_report& found) {
  json shown = {
      {"name", found.path},
      {"kind", found.kind},
      {"type", found.type},
      {"source", found.source},
      {"mount_point", found.mount_point},
      {"device", found.device},
      {"read_only", found.read_only},
      {"size", found.size},
      {"free", found.free},
      {"block_size", found.block_size},
      {"tried_on", found.tried_on},
  };
  for (const feature_name& each : feature_names) shown[each.key] = to_json(found.*each.which);
  shown["direct"]["memory_alignment"] = found.direct_memory_alignment;
  shown["direct"]["offset_alignment"] = found.direct_offset_alignment;
  shown["atomic_write"]["min"] = found.atomic_min;
  shown["atomic_write"]["max"] = found.atomic_max;
  shown["policy"] = {{"buffered", buffered_policy(choice, found)},
                     {"direct", direct_policy(choice, found)},
                     {"drop_cache", drop_cache_policy(found)}};
  return shown;
}

std::string as_json(const doctor_report& report, const std::string& path) {
  json drivers = json::array();
  for (const driver_report& each : report.drivers) drivers.push_back(to_json(each));
  const json shown = {
      {"weir", WEIR_VERSION},
      {"kernel", {{"release", report.kernel.release}, {"machine", report.kernel.machine}}},
      {"limits", to_json(report.limits)},
      {"drivers", std::move(drivers)},
      {"choice", to_json(report.choice)},
      {"path", report.path ? to_json(report.choice, *report.path)
                           : json{{"name", path}, {"error", report.path.error()}}},
  };
  // A path need not be UTF-8; what is not becomes U+FFFD.
  return shown.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// --- As text -------------------------------------------------------------------------------------

std::string shown_count(std::uint64_t count) { return std::to_string(count); }

std::string shown_limit(const limit& l, const char* name, std::string (*shown)(std::uint64_t)) {
  const auto one = [shown](std::optional<std::uint64_t> value) {
    return value ? shown(*value) : "unlimited";
  };
  const std::string raised = l.soft == l.hard ? "" : "; may be raised to " + one(l.hard);
  return one(l.soft) + " (" + name + raised + ")";
}

std::string shown_setting(const setting& value) {
  return value ? std::to_string(*value) : "not known";
}

std::string shown_seccomp(const setting& mode) {
  if (!mode) return "not known";
  return *mode == 0 ? "no filter" : "a filter decides about system calls";
}

// "50000 100000": half a CPU.
std::string shown_cpus(const std::string& quota_and_period) {
  double quota = 0;
  double period = 0;
  if (!(std::istringstream(quota_and_period) >> quota >> period) || period <= 0) {
    return "unlimited";
  }
  std::ostringstream text;
  text << quota / period;
  return text.str();
}

std::string shown_memory(const std::string& bytes) {
  std::uint64_t count = 0;
  return std::istringstream(bytes) >> count ? shown_bytes(count) : "unlimited";
}

void show(text_page& out, const limits_report& limits) {
  out.heading("Limits");
  out.row("locked memory", shown_limit(limits.memlock, "RLIMIT_MEMLOCK", shown_bytes));
  out.row("open files", shown_limit(limits.nofile, "RLIMIT_NOFILE", shown_count));
  out.row("processes, threads", shown_limit(limits.nproc, "RLIMIT_NPROC", shown_count));
  out.row("AIO requests", shown_setting(limits.aio_nr) + " of " + shown_setting(limits.aio_max_nr) +
                              " in use (fs.aio-nr, fs.aio-max-nr)");
  out.row("io_uring disabled", shown_setting(limits.io_uring_disabled) +
                                   " (kernel.io_uring_disabled; 0: nobody is kept out)");
  out.row("seccomp", shown_seccomp(limits.seccomp));
  if (limits.memory_max) out.row("cgroup memory", shown_memory(*limits.memory_max));
  if (limits.cpu_max) out.row("cgroup CPUs", shown_cpus(*limits.cpu_max));
}

void show(text_page& out, const std::vector<driver_report>& drivers, const choice_report& choice) {
  out.heading("Drivers");
  for (const driver_report& each : drivers) {
    const std::string name(each.name);
    out.row(name, each.available ? "yes" : "no: " + each.reason);
    if (!each.advice.empty()) out.row("", "advice: " + each.advice);
  }
  const bool none = choice.driver.empty();
  out.row("weir chooses", (none ? "none" : choice.driver) + ": " + choice.why);
}

// What a yes is worth.
std::string detail_of(const feature_name& name, const file_system_report& found) {
  if (name.which == &file_system_report::direct) {
    const unsigned memory = found.direct_memory_alignment;
    return "offsets at multiples of " + std::to_string(found.direct_offset_alignment) + " bytes" +
           (memory != 0 ? ", memory of " + std::to_string(memory) : "");
  }
  if (name.which == &file_system_report::atomic_write) {
    return shown_bytes(found.atomic_min) + " to " + shown_bytes(found.atomic_max);
  }
  return {};
}

std::string shown_feature(const feature_name& name, const file_system_report& found) {
  const feature& what = found.*name.which;
  if (!what.available.has_value()) return "not tried: " + what.reason;
  if (!*what.available) return "no: " + what.reason;
  std::string text = "yes";
  for (const std::string& part : {detail_of(name, found), what.reason}) {
    if (!part.empty()) text += (text.size() == 3 ? ": " : "; ") + part;
  }
  return text;
}

void show(text_page& out, const file_system_report& found) {
  out.heading("File system");
  out.row("path", found.path + " (" + found.kind + ")");
  std::string mounted = found.source + " (" + found.device + ")";
  if (!found.mount_point.empty()) mounted += " on " + found.mount_point;
  out.row("type", found.type);
  out.row("device", mounted + (found.read_only ? ", read-only" : ""));
  out.row("size", shown_bytes(found.size) + ", " + shown_bytes(found.free) + " free, blocks of " +
                      shown_bytes(found.block_size));
  if (found.tried_on.empty()) {
    out.row("features", "not tried: " + found.direct.reason);
    return;
  }
  out.row("tried on", found.tried_on);
  for (const feature_name& each : feature_names) out.row(each.label, shown_feature(each, found));
}

void show_policy(text_page& out, const choice_report& choice, const file_system_report& found) {
  if (found.tried_on.empty()) return;
  out.heading("What weir does here");
  out.row("buffered", buffered_policy(choice, found));
  out.row("direct", direct_policy(choice, found));
  out.row("cp --drop-cache", drop_cache_policy(found));
}

std::string as_text(const doctor_report& report) {
  text_page out;
  out.heading("Machine");
  out.row("weir", WEIR_VERSION);
  out.row("kernel", std::string("Linux ") + report.kernel.release + ", " + report.kernel.machine);
  show(out, report.limits);
  show(out, report.drivers, report.choice);
  if (report.path) {
    show(out, *report.path);
    show_policy(out, report.choice, *report.path);
  }
  return out.text();
}

// --- The subcommand ------------------------------------------------------------------------------

struct doctor_arguments {
  std::string path = ".";
  bool json = false;
};

int doctor(const doctor_arguments& arguments) {
  const doctor_report report = find_out(arguments.path);
  const std::string text = arguments.json ? as_json(report, arguments.path) : as_text(report);
  std::fwrite(text.data(), 1, text.size(), stdout);  // main looks whether it arrived
  int status = 0;
  if (report.choice.driver.empty()) {
    std::fprintf(stderr, "weir doctor: no driver can be opened: %s\n", report.choice.why.c_str());
    status = 1;
  }
  if (!report.path) {
    std::fprintf(stderr, "weir doctor: %s\n", report.path.error().c_str());
    status = 1;
  }
  return status;
}

}  // namespace

void add_doctor(CLI::App& app, action& chosen) {
  CLI::App* doctor_app = app.add_subcommand(
      "doctor", "Tell what this machine offers, what it refuses, and how to mend that");
  auto arguments = std::make_shared<doctor_arguments>();
  doctor_app
      ->add_option("PATH", arguments->path,
                   "What to examine; at best a directory that may be written to")
      ->capture_default_str()
      ->type_name("");
  doctor_app->add_flag("--json", arguments->json, "For programs; the keys are in weir(1)")
      ->disable_flag_override();
  doctor_app->callback(
      [arguments, &chosen] { chosen = [arguments] { return doctor(*arguments); }; });
}

}  // namespace weir::tools
