#include "drivers/refusal.hpp"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

namespace weir::detail {
namespace {

// The first word of a file under /proc, or "" where it cannot be read.
std::string setting(const char* path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

// A line such as "Seccomp:	2" of this thread's status: each may have a filter of its own.
std::string status_of_thread(std::string_view key) {
  std::ifstream status("/proc/thread-self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return line.substr(line.find_first_not_of(":\t ", key.size()));
  }
  return {};
}

std::string limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return "unknown";
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limit.rlim_cur);
}

bool seccomp_filtered() { return status_of_thread("Seccomp") == "2"; }

struct cause {
  std::string reason;
  std::string advice;
};

cause forbidden() {
  const std::string disabled = setting("/proc/sys/kernel/io_uring_disabled");
  if (disabled == "1" || disabled == "2") {
    return {"kernel.io_uring_disabled is " + disabled,
            "set it to 0 (sysctl kernel.io_uring_disabled=0), or for 1 join the group named in "
            "kernel.io_uring_group"};
  }
  if (seccomp_filtered()) {
    return {"a seccomp filter of this process or container refuses it",
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp "
            "profile"};
  }
  return {"the kernel or a security module forbids it", "ask who administers this machine"};
}

cause missing() {
  if (seccomp_filtered()) {
    return {"a seccomp filter of this process or container hides the system call",
            "allow it in the container's seccomp profile"};
  }
  return {"this kernel was built without it", "use a kernel that has it; io_uring needs 5.10"};
}

cause out_of_memory() {
  return {
      "memory, or locked memory, ran out: RLIMIT_MEMLOCK is " + limit_of(RLIMIT_MEMLOCK) + " bytes",
      "raise the limit (ulimit -l, or LimitMEMLOCK= of the service), or ask for a smaller queue "
      "depth"};
}

cause out_of_descriptors() {
  return {"no descriptor is left: RLIMIT_NOFILE is " + limit_of(RLIMIT_NOFILE),
          "raise the limit (ulimit -n, or LimitNOFILE= of the service), or close files"};
}

cause aio_exhausted() {
  return {"fs.aio-nr is " + setting("/proc/sys/fs/aio-nr") + " of fs.aio-max-nr " +
              setting("/proc/sys/fs/aio-max-nr"),
          "raise fs.aio-max-nr (sysctl), or ask for a smaller queue depth"};
}

cause threads_exhausted() {
  return {"no thread could be started: RLIMIT_NPROC is " + limit_of(RLIMIT_NPROC),
          "raise the limit on processes (ulimit -u, or TasksMax= of the service)"};
}

cause unreachable(const refusal& why) {
  switch (why.error) {
    case ENOENT:
    case ECONNREFUSED:
      return {"no daemon listens there",
              "start one (weir serve --root DIR --name NAME), or name the one that runs"};
    case EACCES:
    case EPERM:
      return {"the daemon serves its own user, and those that it was told to",
              "start it with --allow-uid, or use one of your own"};
    case ECONNRESET:
    case EAGAIN:
      return {"the daemon did not answer", "look at what it says, or start it again"};
    case EMFILE:
    case ENFILE:
      return out_of_descriptors();
    default:
      return {"the daemon, or the system, would not have it", "see docs/daemon.md"};
  }
}

bool is_io_setup(const refusal& why) { return std::strcmp(why.call, "io_setup") == 0; }

cause likely_cause(const refusal& why) {
  switch (why.error) {
    case EPERM:
    case EACCES:
      return forbidden();
    case ENOSYS:
      return missing();
    case EINVAL:
      return {"this kernel is too old for what weir needs of it", "use Linux 5.10 or later"};
    case ENOMEM:
      return out_of_memory();
    case EMFILE:
    case ENFILE:
      return out_of_descriptors();
    case EAGAIN:
      return is_io_setup(why) ? aio_exhausted() : threads_exhausted();
    default:
      return {"the cause is not known to weir", "see the system call's manual page"};
  }
}

}  // namespace

bool means_unavailable(const refusal& why) noexcept {
  switch (why.error) {
    case EPERM:
    case EACCES:
    case ENOSYS:
    case EINVAL:
    case EOPNOTSUPP:
      return true;
    case EAGAIN:
      return is_io_setup(why);
    default:
      return false;
  }
}

driver_report explain(std::string_view driver, const refusal& why) {
  const auto error = errno_code(why.error);
  cause likely = likely_cause(why);
  return {.name = driver,
          .available = false,
          .error = error,
          .reason = std::string(why.call) + ": " + error.message() + "; " + likely.reason,
          .advice = std::move(likely.advice)};
}

driver_report explain_client(const std::string& path, const refusal& why) {
  const auto error = errno_code(why.error);
  cause likely = unreachable(why);
  return {.name = "daemon",
          .available = false,
          .error = error,
          .reason = path + ": " + why.call + ": " + error.message() + "; " + likely.reason,
          .advice = std::move(likely.advice)};
}

}  // namespace weir::detail
