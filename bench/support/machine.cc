#include "support/machine.hpp"

#include <sched.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "support/fail.hpp"
#include "support/scratch_file.hpp"

namespace weir::bench {
namespace {

std::string kernel() {
  utsname name{};
  checked("uname", ::uname(&name));
  return std::string(name.sysname) + " " + name.release + ", " + name.machine;
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string memory() {
  const double pages = static_cast<double>(::sysconf(_SC_PHYS_PAGES));
  const double bytes = pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
  return report::digits_of(bytes / (1 << 30)) + " GiB";
}

std::string file_system() {
  static const std::map<long, std::string> names{{0xef53, "ext4"},
                                                 {0x58465342, "xfs"},
                                                 {0x9123683e, "btrfs"},
                                                 {0x01021994, "tmpfs"},
                                                 {0x794c7630, "overlayfs"}};
  struct statfs status{};
  checked("statfs", ::statfs(scratch_directory().c_str(), &status));
  const auto found = names.find(static_cast<long>(status.f_type));
  return found != names.end() ? found->second : "of type " + std::to_string(status.f_type);
}

}  // namespace

std::vector<report::fact> machine_facts() {
  return {{.label = "kernel", .text = kernel()},
          {.label = "processors",
           .text = std::to_string(std::thread::hardware_concurrency()) + ", " + processor()},
          {.label = "memory", .text = memory()},
          {.label = "file system", .text = file_system()},
          {.label = "compiler", .text = std::string("g++ ") + __VERSION__}};
}

double load_average() {
  double load = 0;
  return ::getloadavg(&load, 1) == 1 ? load : 0;
}

void stay_on_one_core() {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  CPU_SET(static_cast<unsigned>(checked("sched_getcpu", ::sched_getcpu())), &mine);
  checked("sched_setaffinity", ::sched_setaffinity(0, sizeof mine, &mine));
}

}  // namespace weir::bench
