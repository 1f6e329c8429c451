// A line of /proc/self/mountinfo, in which those who mount choose names, types and sources: as the
// daemon reads it, which trusts no file system of somebody's own, and as `weir doctor` does.

#include "daemon/server/mounts.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "mount_table.hpp"
#include "support/promise.hpp"

namespace {

using weir::fuzzing::promise;

std::string_view word(std::string_view line, int number) {
  for (; number > 0; --number) line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
  return line.substr(0, line.find(' '));
}

// One blank between words, what else is blank escaped, paths that begin with a slash,
// and some options.
bool is_as_the_kernel_writes(std::string_view line) {
  return line.find_first_of(std::string_view("\\\t\n\v\f\r\0", 7)) == line.npos &&
         line.find("  ") == line.npos && !line.starts_with(' ') && word(line, 3).starts_with('/') &&
         word(line, 4).starts_with('/') && word(line, 5) != "-";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly that size, so that a byte too far is seen.
  const std::string line(reinterpret_cast<const char*>(data), size);
  using weir::detail::daemon::trust_told_by;
  promise(!trust_told_by(line, "a device that no line names"));
  const auto mounted = weir::tools::mount_of(line);
  if (!mounted) return 0;
  promise(!mounted->id.empty());
  promise(mounted->point.size() + mounted->type.size() + mounted->source.size() < line.size());
  if (!is_as_the_kernel_writes(line)) return 0;
  // Both take the same word for the type.
  promise(trust_told_by(line, word(line, 2)) == !mounted->type.starts_with("fuse"));
  return 0;
}
