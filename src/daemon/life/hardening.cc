#include "daemon/life/hardening.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIR_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEIR_SANITIZED true
#endif
#endif
#ifndef WEIR_SANITIZED
#define WEIR_SANITIZED false
#endif

namespace weir::life {

const bool is_sanitized = WEIR_SANITIZED;

outcome<> raise_descriptor_limit() {
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return failed("limits cannot be asked for");
  descriptors.rlim_cur = descriptors.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &descriptors) != 0) {
    return failed("the limit of descriptors could not be raised");
  }
  return {};
}

outcome<> harden() {
  ::umask(0);
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) return failed("core files could not be forbidden");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return failed("new privileges could not be forbidden");
  }
  // A sanitizer looks at its own process as a debugger does.
  if (!is_sanitized && ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return failed("debuggers could not be forbidden");
  }
  return {};
}

outcome<> clear_environment() {
  return ::clearenv() == 0 ? outcome<>() : failed("the environment could not be cleared", ENOMEM);
}

}  // namespace weir::life
