#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace weir::fuzzing {

/// What must hold for every input. Where it does not, the program ends, and libFuzzer keeps the
/// input.
inline void promise(bool kept,
                    const std::source_location& where = std::source_location::current()) {
  if (kept) return;
  std::fprintf(stderr, "%s:%u: a promise is broken in %s\n", where.file_name(), where.line(),
               where.function_name());
  std::abort();
}

}  // namespace weir::fuzzing
