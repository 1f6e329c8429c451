#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <system_error>

namespace weir {

/// A value, or the reason why there is none. Operating errors are errno values in
/// `std::system_category()`, or weir's own `errc`. End of file is 0 bytes, not an error.
template <class T>
using result = std::expected<T, std::error_code>;

/// What can go wrong that no errno names.
enum class errc {
  short_read = 1,  ///< the file ended before the whole range was read
  daemon_lost,     ///< the daemon went away with the operation unanswered
  no_driver,       ///< no driver of that name exists
  no_progress,     ///< a write moved no byte and gave no reason
  too_long,        ///< no delimiter came within the limit
};

}  // namespace weir

template <>
struct std::is_error_code_enum<weir::errc> : std::true_type {};

namespace weir {

/// The category "weir"; a static object, comparable and usable from any thread.
const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), error_category()};
}

/// The answer of a whole transfer (`read_exactly_at`, `write_all_at`): a `result` that also says,
/// on failure, how many bytes had been moved before.
struct transfer_result : result<std::size_t> {
  transfer_result(const result<std::size_t>& outcome, std::size_t moved) noexcept
      : result<std::size_t>(outcome), transferred(moved) {}

  std::size_t transferred;  ///< bytes moved, in success and in failure
};

namespace detail {

/// An answer, negated, is an errno, below this; or this and one of weir's own errors.
inline constexpr int own_errors = 4096;

/// How an answer says one of weir's own.
constexpr std::int32_t answer_of(errc error) noexcept {
  return -own_errors - static_cast<int>(error);
}

inline std::error_code errno_code(int error) noexcept {
  if (error > own_errors) return static_cast<errc>(error - own_errors);
  return {error, std::system_category()};
}

/// Turns a driver's answer (a count, or a negative errno) into a `result`. The one conversion.
template <class T>
result<T> to_result(std::int32_t answer) noexcept {
  if (answer < 0) return std::unexpected(errno_code(-answer));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return static_cast<T>(answer);
  }
}

}  // namespace detail
}  // namespace weir
