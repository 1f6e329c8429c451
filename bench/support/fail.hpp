#pragma once

#include <cerrno>
#include <string>
#include <system_error>

namespace weir::bench {

/// A benchmark that cannot do its work ends: main says what this throws.
[[noreturn]] inline void fail(const std::string& what, int error = errno) {
  throw std::system_error(error, std::system_category(), what);
}

/// For calls that return -1 and set errno, and for those that return a negative errno.
inline int checked(const std::string& call, int answer) {
  if (answer < 0) fail(call, answer == -1 ? errno : -answer);
  return answer;
}

/// A transfer's answer, which must be all of it.
inline void expect_whole(const char* call, long long answer, std::size_t expected) {
  if (answer < 0) fail(call, static_cast<int>(-answer));
  if (static_cast<std::size_t>(answer) != expected) fail(std::string(call) + " came short", EIO);
}

}  // namespace weir::bench
