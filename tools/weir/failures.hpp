#pragma once

#include <cerrno>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace weir::tools {

/// What errno says.
inline std::error_code last_error() { return {errno, std::system_category()}; }

inline std::string in_quotes(const std::string& path) { return "'" + path + "'"; }

/// Says on standard error what went wrong, a sentence each, and remembers that something did.
class failures {
 public:
  /// `before_each` runs first: a progress line is taken away there.
  explicit failures(std::function<void()> before_each) : before_each_(std::move(before_each)) {}

  /// "weir cp: cannot VERB 'PATH': what the system said; AFTER".
  void add(std::string_view verb, std::string_view path, std::error_code error,
           std::string_view after = {});
  /// "weir cp: SENTENCE".
  void add(std::string_view sentence);
  /// The same, of something that a person should know and that is no failure.
  void warn(std::string_view sentence);

  bool any() const noexcept { return count_ != 0; }

 private:
  std::function<void()> before_each_;
  std::size_t count_ = 0;
};

}  // namespace weir::tools
