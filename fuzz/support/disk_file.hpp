#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "support/promise.hpp"

namespace weir::fuzzing {

/// A descriptor of a new file without a name, below TMPDIR or in /var/tmp, which is on a disk.
inline int disk_file() {
  const char* const wanted = std::getenv("TMPDIR");
  std::string path = std::string(wanted != nullptr ? wanted : "/var/tmp") + "/weir_fuzz.XXXXXX";
  const int file = ::mkstemp(path.data());
  promise(file >= 0 && ::unlink(path.c_str()) == 0);
  return file;
}

}  // namespace weir::fuzzing
