#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/results.hpp"

namespace weir::tools::bench {

/// How a file is best read that is in the page cache only by chance.
enum class route { buffered, direct };

/// One question, what the numbers answer, and why.
struct advice_line {
  std::string question;  ///< "Driver"
  std::string answer;    ///< "uring"
  std::string why;       ///< a sentence or some
};

/// What the numbers say about this disk. What they say nothing about is empty.
struct advice {
  std::string driver;
  std::optional<unsigned> queue_depth;
  std::optional<route> streams;  ///< large blocks one after the other
  std::optional<route> random;   ///< small blocks here and there
  std::optional<bool> merging;   ///< of neighbours
  std::vector<advice_line> lines;
};

/// From the numbers alone. The drivers are those that do not stop the thread; sync(2)'s calls and
/// the plain ones do, so they are advised only where there is nothing else.
advice advise(const std::vector<row>& measured);

}  // namespace weir::tools::bench
