#pragma once

#include <cstdint>
#include <string>

#include "bench/advice.hpp"
#include "bench/measure.hpp"
#include "report/page.hpp"

namespace weir::tools::bench {

/// All that there is to say in the end.
struct summary {
  std::string target;       ///< "a scratch file in '.'"
  std::uint64_t size = 0;   ///< of that, in bytes
  std::string file_system;  ///< "ext4 on /dev/sda1"; "" if not known
  std::string kernel;       ///< "Linux 6.18.0, x86_64"
  unsigned processors = 0;
  pace measured_at;
  double seconds = 0;  ///< all in all
  findings found;
  advice advised;
};

/// How text is written: with bars where somebody looks at it, of characters that the locale has.
enum class bars { none, ascii, unicode };

std::string text_of(const summary& done, bars drawn);
std::string json_of(const summary& done);
weir::report::page page_of(const summary& done);

}  // namespace weir::tools::bench
