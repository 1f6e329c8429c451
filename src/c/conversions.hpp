#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <system_error>

#include "weir/driver.hpp"
#include "weir/result.hpp"

// What every part of the C interface converts.
namespace weir::detail {

/// The system's errno is the caller's own, whatever is called in between.
class errno_kept {
 public:
  errno_kept() noexcept : value_(errno) {}
  errno_kept(const errno_kept&) = delete;
  errno_kept& operator=(const errno_kept&) = delete;
  ~errno_kept() { errno = value_; }

 private:
  int value_;
};

/// A negative errno, or 0. Of weir's own errors: what has no driver is ENOENT, and a write that
/// gets nowhere EIO.
inline int errno_of(const std::error_code& error) noexcept {
  if (!error || error.category() == std::system_category()) return -error.value();
  return error == errc::no_driver ? -ENOENT : -EIO;
}

/// Reads what the caller's version of a struct of options has, which begins with its size: 0, or
/// -EINVAL, or -E2BIG where it asks for what this version does not know.
template <class Options>
int read_options(const Options* given, Options& known) noexcept {
  known = {};
  if (given == nullptr) return 0;
  if (given->size < sizeof(given->size)) return -EINVAL;
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof known; i < given->size; ++i) {
    if (bytes[i] != 0) return -E2BIG;
  }
  std::memcpy(&known, given, std::min(given->size, sizeof known));
  return 0;
}

/// Which driver options of C ask for. Zero means the default.
template <class Options>
driver_options driver_options_of(const Options& known) noexcept {
  driver_options options;
  if (known.driver != nullptr) options.name = known.driver;
  if (known.queue_depth != 0) options.queue_depth = known.queue_depth;
  options.threads = known.threads;
  return options;
}

/// No exception leaves for C.
template <class Call>
auto without_exceptions(Call call) noexcept -> decltype(call()) {
  const errno_kept kept;
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (const std::system_error& refused) {
    return errno_of(refused.code());
  }
}

}  // namespace weir::detail
