#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace append_log {

inline constexpr std::string_view segment_suffix = ".log";
inline constexpr std::size_t segment_digits = 16;

/// "000000000000002a.log", so that the order of names is that of records.
inline std::string segment_name(std::uint64_t first) {
  std::string digits(segment_digits, '0');
  for (auto digit = digits.rbegin(); first != 0; ++digit, first /= 16) {
    *digit = "0123456789abcdef"[first % 16];
  }
  return digits.append(segment_suffix);
}

/// The number of its first record; nothing for another file's name.
inline std::optional<std::uint64_t> first_record_of(std::string_view name) {
  std::uint64_t first = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), first, 16);
  if (error != std::errc{} || segment_name(first) != name) return std::nullopt;
  return first;
}

}  // namespace append_log
