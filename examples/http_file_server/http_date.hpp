#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

namespace http_file_server {

/// "Sun, 06 Nov 1994 08:49:37 GMT": the form of RFC 9110 5.6.7 that is sent.
std::string http_date(std::time_t time);

/// Reads this form, and the two obsolete ones that are still to be understood.
std::optional<std::time_t> parse_http_date(std::string_view text);

}  // namespace http_file_server
