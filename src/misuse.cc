#include "misuse.hpp"

#include <cstdio>
#include <cstdlib>

namespace weir::detail {

void misuse(const char* sentence) noexcept {
  std::fprintf(stderr, "weir: %s\n", sentence);
  std::abort();
}

}  // namespace weir::detail
