#include "response.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "file_cache.hpp"

namespace http_file_server {
namespace {

struct status_text {
  unsigned status;
  std::string_view line;
};

constexpr std::array status_texts = {
    status_text{200, "HTTP/1.1 200 OK\r\n"},
    status_text{206, "HTTP/1.1 206 Partial Content\r\n"},
    status_text{301, "HTTP/1.1 301 Moved Permanently\r\n"},
    status_text{304, "HTTP/1.1 304 Not Modified\r\n"},
    status_text{400, "HTTP/1.1 400 Bad Request\r\n"},
    status_text{403, "HTTP/1.1 403 Forbidden\r\n"},
    status_text{404, "HTTP/1.1 404 Not Found\r\n"},
    status_text{405, "HTTP/1.1 405 Method Not Allowed\r\n"},
    status_text{412, "HTTP/1.1 412 Precondition Failed\r\n"},
    status_text{413, "HTTP/1.1 413 Content Too Large\r\n"},
    status_text{416, "HTTP/1.1 416 Range Not Satisfiable\r\n"},
    status_text{431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
    status_text{500, "HTTP/1.1 500 Internal Server Error\r\n"},
    status_text{503, "HTTP/1.1 503 Service Unavailable\r\n"},
};

void append_length(std::string& text, std::uint64_t length) {
  append(text, "Content-Length: ", std::to_string(length), "\r\n");
}

short_page page(unsigned status, std::string body, std::string_view more_fields) {
  short_page made{.head = {}, .body = std::move(body)};
  append(made.head, status_line(status), "Content-Type: text/html; charset=utf-8\r\n", more_fields);
  append_length(made.head, made.body.size());
  return made;
}

}  // namespace

std::string hexadecimal(std::uint64_t number) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), number, 16).ptr;
  return {digits.data(), end};
}

std::string_view status_line(unsigned status) noexcept {
  const auto found = std::ranges::find(status_texts, status, &status_text::status);
  return found != status_texts.end() ? found->line : "HTTP/1.1 500 Internal Server Error\r\n";
}

void append_file_head(std::string& text, const served_file& file, const selection& part) {
  if (part.status == 200) return append(text, file.ok_head);
  append(text, status_line(part.status), file.fields);
  const std::string size = std::to_string(file.status.size);
  if (part.status == 206) {
    append(text, "Content-Range: bytes ", std::to_string(part.first), "-",
           std::to_string(part.first + part.length - 1), "/", size, "\r\n");
  }
  if (part.status == 416) append(text, "Content-Range: bytes */", size, "\r\n");
  if (part.status != 304) append_length(text, part.length);
}

void append_common_fields(std::string& text, std::string_view date_line, bool keep_alive) {
  append(text, date_line,
         keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
}

short_page status_page(unsigned status, std::string_view more_fields) {
  auto sentence = status_line(status).substr(std::string_view("HTTP/1.1 ").size());
  sentence.remove_suffix(2);
  std::string body;
  append(body, "<!DOCTYPE html><title>", sentence, "</title><h1>", sentence, "</h1>\n");
  return page(status, std::move(body), more_fields);
}

short_page html_page(std::string body) { return page(200, std::move(body), {}); }

}  // namespace http_file_server
