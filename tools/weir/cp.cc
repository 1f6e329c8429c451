#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "copier.hpp"
#include "copy_plan.hpp"
#include "failures.hpp"
#include "interrupts.hpp"
#include "progress.hpp"
#include "subcommands.hpp"
#include "weir/weir.hpp"

namespace weir::tools {
namespace {

constexpr unsigned max_lanes = 1024;

struct cp_arguments {
  std::vector<std::string> paths;  // sources, then the destination
  std::string driver;
  unsigned queue_depth = 0;  // 0: the defaults below
  unsigned threads = 0;
  bool recursive = false;
  copy_options copy;
};

// Each lane has two files open; some descriptors are the driver's and the standard streams'.
unsigned lanes_for_descriptors() {
  constexpr rlim_t others = 32;
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return 1;
  const rlim_t left = std::max(descriptors.rlim_cur, others + 2) - others;
  return static_cast<unsigned>(std::min<rlim_t>(left / 2, max_lanes));
}

// Many files at once hide the waits of each. A few blocks of one file keep a disk busy when it is
// read and written past the page cache; more in flight only make reads and writes wait for each
// other there (docs/performance.md).
copy_options limits_of(const cp_arguments& arguments) {
  copy_options limited = arguments.copy;
  if (arguments.queue_depth != 0) {
    limited.lanes = limited.lanes_on_one_file = arguments.queue_depth;
  } else if (limited.direct) {
    limited.lanes_on_one_file = 3;
  }
  limited.lanes = std::min(limited.lanes, lanes_for_descriptors());
  return limited;
}

// Through the page cache a copy is bound by the processors, and by the lock of the directory that
// files are made in: more threads than there are processors to spare spin on that lock. io_uring
// keeps this program's own thread busy besides. O_DIRECT waits for the disk, and wants many.
unsigned threads_for(const cp_arguments& arguments) {
  if (arguments.threads != 0 || arguments.copy.direct) return arguments.threads;
  const unsigned processors = std::max(std::thread::hardware_concurrency(), 2U);
  // Whatever it is wrapped in: "merging:uring", "merging:".
  const std::string driver = arguments.driver.substr(arguments.driver.rfind(':') + 1);
  const bool uring = driver.empty() || driver == "uring";
  return uring ? processors - 1 : processors;
}

// Each lane has one operation in flight.
std::unique_ptr<driver> opened_driver(const cp_arguments& arguments, unsigned lanes,
                                      failures& failed) {
  const driver_options options{
      .name = arguments.driver, .queue_depth = lanes, .threads = threads_for(arguments)};
  std::vector<driver_report> tried;
  auto opened = open_driver(options, tried);
  if (opened) return std::move(*opened);
  for (const driver_report& each : tried) {
    const std::string which =
        each.name.empty() ? "" : "driver " + std::string(each.name) + " is not available: ";
    failed.add(which + each.reason + "; " + each.advice);
  }
  return nullptr;
}

// CLI11 would write the two kinds of path as "PATH(2x)".
class cp_help : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return "Usage: weir cp [OPTIONS] SOURCE... DEST\n";
  }
};

int copy(const cp_arguments& arguments) {
  progress shown;
  failures failed([&shown] { shown.clear(); });
  std::vector<std::string> sources = arguments.paths;
  std::string destination = std::move(sources.back());
  sources.pop_back();

  const copy_options options = limits_of(arguments);
  auto driver = opened_driver(arguments, options.lanes, failed);
  if (!driver) return 1;
  copy_plan plan(std::move(sources), std::move(destination), arguments.recursive, failed);
  if (!plan.sensible()) return 1;

  ::umask(0);  // copies get exactly the permissions of their sources
  listen_for_interrupts();
  io_context context(std::move(driver));
  copier copier(context, options, plan, shown, failed, interrupted);
  copier.run();
  shown.clear();
  if (interrupted) {
    failed.warn("interrupted: " + std::to_string(copier.files_copied()) +
                " files were copied; partial copies were removed");
    return end_by_signal();
  }
  return failed.any() ? 1 : 0;
}

}  // namespace

void add_cp(CLI::App& app, action& chosen) {
  CLI::App* cp = app.add_subcommand("cp", "Copy files, many files and many blocks at a time");
  auto arguments = std::make_shared<cp_arguments>();
  cp->formatter(std::make_shared<cp_help>());
  cp->add_option("PATH", arguments->paths, "What to copy, and where to")
      ->option_text("SOURCE... DEST")
      ->required()
      ->expected(2, 1 << 20);
  cp->add_flag("-r,--recursive", arguments->recursive,
               "Copy directories with all that is in them; symbolic links stay links");
  cp->add_flag("--verify", arguments->copy.verify,
               "Read original and copy back and compare their checksums (XXH3, 128 bits)");
  cp->add_flag("--direct", arguments->copy.direct,
               "Past the page cache (O_DIRECT), where the file systems offer it");
  cp->add_flag("--drop-cache", arguments->copy.drop_cache,
               "Leave nothing of the files in the page cache; copies reach the disk first");
  cp->add_option("--driver", arguments->driver,
                 "uring, linux_aio, threads or sync; the best available by default")
      ->type_name("D");
  cp->add_option("--queue-depth", arguments->queue_depth,
                 "Blocks in flight at most; 32 by default, of one file under --direct 3")
      ->type_name("N")
      ->check(CLI::Range(1U, max_lanes));
  cp->add_option("--threads", arguments->threads,
                 "Threads, of the kernel or of weir, for what cannot be done asynchronously")
      ->type_name("N")
      ->check(CLI::Range(1U, 1024U));
  cp->callback([arguments, &chosen] { chosen = [arguments] { return copy(*arguments); }; });
}

}  // namespace weir::tools
