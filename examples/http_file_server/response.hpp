// The text of responses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "conditions.hpp"

namespace http_file_server {

struct served_file;

/// Appends each part.
template <class... Parts>
void append(std::string& text, const Parts&... parts) {
  (text.append(parts), ...);
}

std::string hexadecimal(std::uint64_t number);

/// "HTTP/1.1 200 OK" and its line's end.
std::string_view status_line(unsigned status) noexcept;

/// What 200, 206, 304, 412 and 416 say about a file, up to the fields that all responses share.
void append_file_head(std::string& text, const served_file& file, const selection& part);

/// What every response says last: when, and whether the connection goes on. `now` is that second.
void append_common_fields(std::string& text, std::string_view date_line, bool keep_alive);

/// A response with a short page that says what the status says, all but its common fields; the page
/// itself follows these.
struct short_page {
  std::string head;
  std::string body;
};
short_page status_page(unsigned status, std::string_view more_fields = {});
short_page html_page(std::string body);

}  // namespace http_file_server
