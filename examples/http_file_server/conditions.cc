#include "conditions.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "http_date.hpp"

namespace http_file_server {
namespace {

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blank = " \t";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

enum class comparison { strong, weak };

// Whether a list of entity tags has this one, or is "*".
bool lists(std::string_view tags, std::string_view etag, comparison how) noexcept {
  if (trimmed(tags) == "*") return true;
  while (!tags.empty()) {
    const auto comma = tags.find(',');
    auto tag = trimmed(tags.substr(0, comma));
    if (how == comparison::weak && tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == etag) return true;
    tags = comma == std::string_view::npos ? std::string_view{} : tags.substr(comma + 1);
  }
  return false;
}

// A date that cannot be read is as if it had not been sent.
bool modified_after(std::string_view date, const validators& current) {
  const auto since = parse_http_date(date);
  return !since || current.modified > *since;
}

bool precondition_failed(const request& asked, const validators& current) {
  if (!asked.if_match.empty()) return !lists(asked.if_match, current.etag, comparison::strong);
  if (asked.if_unmodified_since.empty()) return false;
  return parse_http_date(asked.if_unmodified_since) &&
         modified_after(asked.if_unmodified_since, current);
}

bool not_modified(const request& asked, const validators& current) {
  if (!asked.if_none_match.empty()) {
    return lists(asked.if_none_match, current.etag, comparison::weak);
  }
  return !asked.if_modified_since.empty() && !modified_after(asked.if_modified_since, current);
}

// An exact match, as a cache makes it that has what it asks to be completed.
bool if_range_holds(std::string_view validator, const validators& current) noexcept {
  return validator.empty() || validator == current.etag || validator == current.last_modified;
}

std::optional<std::uint64_t> number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  // More than fits is beyond any file all the same.
  if (error == std::errc::result_out_of_range && rest == end) return UINT64_MAX;
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

constexpr selection unsatisfiable{.status = 416};

selection last_bytes(std::uint64_t count, std::uint64_t size) noexcept {
  const std::uint64_t length = std::min(count, size);
  if (length == 0) return unsatisfiable;
  return {.status = 206, .first = size - length, .length = length};
}

// Nothing for what is to be overlooked: another unit, several ranges, or no range at all.
std::optional<selection> select_range(std::string_view range, std::uint64_t size) noexcept {
  constexpr std::string_view unit = "bytes=";
  if (!range.starts_with(unit)) return std::nullopt;
  range = trimmed(range.substr(unit.size()));
  const auto dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = number(range.substr(0, dash));
  const auto last = number(range.substr(dash + 1));
  if (dash == 0) return last ? std::optional(last_bytes(*last, size)) : std::nullopt;
  const bool open_ended = dash + 1 == range.size();
  if (!first || (!last && !open_ended) || (last && *last < *first)) return std::nullopt;
  if (*first >= size) return unsatisfiable;
  const std::uint64_t end = last ? std::min(*last, size - 1) : size - 1;
  return selection{.status = 206, .first = *first, .length = end - *first + 1};
}

}  // namespace

selection select(const request& asked, const validators& current, std::uint64_t size) {
  if (precondition_failed(asked, current)) return {.status = 412};
  if (not_modified(asked, current)) return {.status = 304};
  // A range is defined for GET only.
  if (asked.method == method::get && !asked.range.empty() &&
      if_range_holds(asked.if_range, current)) {
    if (const auto part = select_range(asked.range, size)) return *part;
  }
  return {.status = 200, .first = 0, .length = size};
}

}  // namespace http_file_server
